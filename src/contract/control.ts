/** The words of the control plane: resources, deployments, quota, and who may do what. Source: docs/contract.md §5–§8. */

export const SKUS = [
  'GlobalBatch',
  'DataZoneBatch',
  'GlobalStandard',
  'DataZoneStandard',
  'Standard',
] as const;
export type Sku = (typeof SKUS)[number];

/** The other SKUs serve single requests. */
export const BATCH_SKUS: readonly Sku[] = ['GlobalBatch', 'DataZoneBatch'];

/** Subscription offers, which decide the quota; `unlimited` is ours, for people with their own GPUs. */
export const OFFERS = ['enterprise', 'default', 'monthly', 'msdn', 'students', 'unlimited'] as const;
export type Offer = (typeof OFFERS)[number];

export const VERSION_UPGRADE_OPTIONS = [
  'OnceNewDefaultVersionAvailable',
  'OnceCurrentVersionExpired',
  'NoAutoUpgrade',
] as const;
export type VersionUpgradeOption = (typeof VERSION_UPGRADE_OPTIONS)[number];

/** Who may change an object: what the configuration declares is read-only over the API. */
export type Owner = 'configuration' | 'api';

/** What happens to a batch for which its deployment has no room now. */
export const WHEN_FULL = ['fail', 'wait'] as const;
export type WhenFull = (typeof WHEN_FULL)[number];

/** One capacity unit of a batch SKU, in enqueued tokens (docs/contract.md §0). */
export const TOKENS_PER_CAPACITY = 1_000;

/** For this time younger batches may pass a batch that waits for room. From then on the room is kept for it. */
export const QUEUE_PASS_S = 15 * 60;

/** The tenant. */
export interface Resource {
  /** Its name: a DNS label, unique over the service. */
  readonly id: string;
  /** Region, such as `koreacentral`. */
  readonly location: string;
  readonly subscriptionId: string;
  readonly resourceGroup: string;
  readonly offer: Offer;
  /** Whether the resource accepts tokens only. */
  readonly keyAuthDisabled: boolean;
  readonly owner: Owner;
  readonly tags: Readonly<Record<string, string>>;
  /** Unix seconds. */
  readonly createdAt: number;
}

/** One of the two keys of a resource. The key itself was shown once, and is kept nowhere. */
export interface ResourceKey {
  readonly slot: 1 | 2;
  /** HMAC-SHA256 (hex). */
  readonly digest: string;
  /** Its last four characters, so that people can tell keys apart. */
  readonly hint: string;
}

/** What a deployment has besides its name and its share of the quota, whoever declares it. */
export interface DeploymentSettings {
  /** Base model, as in the catalog. */
  readonly model: string;
  /** Version of the model. Null in a configuration: the default one. Null elsewhere: a model of the operator's own has none. */
  readonly version: string | null;
  readonly sku: Sku;
  /** May go beyond its share while the quota that it belongs to is idle. */
  readonly dynamicQuota: boolean;
  readonly whenFull: WhenFull;
  readonly versionUpgradeOption: VersionUpgradeOption;
  /** Name of a content filter; null: the default one. */
  readonly contentFilter: string | null;
  /** Requests in flight at most, over all upstreams. */
  readonly concurrencyMax: number;
  /** Upstreams by name; null: every one that serves the model and that the SKU allows. */
  readonly upstreams: readonly string[] | null;
  readonly tags: Readonly<Record<string, string>>;
}

/** What a deployment is that says no more than its name and model. */
export const DEPLOYMENT_DEFAULTS = {
  sku: 'GlobalBatch',
  dynamicQuota: false,
  whenFull: 'fail',
  versionUpgradeOption: 'OnceNewDefaultVersionAvailable',
  contentFilter: null,
  upstreams: null,
  tags: {},
} as const satisfies Partial<DeploymentSettings>;

export const ENQUEUED_TOKENS_MAX = 1e15;
/** The limit of one deployment. */
export const CONCURRENCY_MAX = 10_000;
export const UPSTREAMS_NAMED_MAX = 100;
/** The limit of a resource or deployment. */
export const TAGS_MAX = 50;

/** A deployment as it is stored. `deployments/port.ts` has what it is while it serves. */
export interface DeploymentRow extends DeploymentSettings {
  readonly resourceId: string;
  /** What callers put in `model`. Unique in its resource, case-sensitive. */
  readonly name: string;
  /** Input tokens that its live batches may hold together: its share of the quota. */
  readonly enqueuedTokensMax: number;
  readonly owner: Owner;
  readonly createdAt: number;
  readonly updatedAt: number;
}

/** All deployments of one subscription, region, model and SKU share one quota. */
export interface QuotaGroup {
  readonly subscriptionId: string;
  readonly location: string;
  readonly model: string;
  readonly sku: Sku;
}

/** Tokens of one deployment at one moment. */
export interface EnqueuedTokens {
  /** Tokens of live batches. They count against the limit. */
  readonly held: number;
  /** Tokens that waiting batches need, and how many of these batches there are. */
  readonly waiting: number;
  readonly waitingBatches: number;
}

export interface AuditEntry {
  /** Order of the log; also the cursor of its pages. */
  readonly seq: number;
  readonly atS: number;
  /** The resource that was changed. Null: it was the service as a whole. */
  readonly resourceId: string | null;
  /** Who called, as in `Scope.actor`. */
  readonly actor: string;
  readonly action: AuditAction;
  /** The object of the action: a deployment's name, the id of a batch or file, `key1`. */
  readonly target: string;
  /** What changed, by field. It never has a secret. */
  readonly detail: Readonly<Record<string, unknown>>;
}

export const AUDIT_ACTIONS = [
  'resource.create',
  'resource.update',
  'resource.delete',
  'key.create',
  'key.regenerate',
  'key.delete',
  'deployment.create',
  'deployment.update',
  'deployment.delete',
  'batch.cancel',
  'file.delete',
] as const;
export type AuditAction = (typeof AUDIT_ACTIONS)[number];

/**
 * What a caller may do, by the names that Azure gives it under `Microsoft.CognitiveServices/` (docs/contract.md §8).
 * Those under `accounts/OpenAI/` are data actions; the others belong to the control plane.
 */
export const ACTIONS = [
  'accounts/OpenAI/files/read',
  'accounts/OpenAI/files/write',
  'accounts/OpenAI/files/delete',
  'accounts/OpenAI/batch-jobs/write',
  'accounts/OpenAI/batches/read',
  'accounts/OpenAI/batches/cancel/action',
  'accounts/OpenAI/deployments/read',
  'accounts/OpenAI/deployments/chat/completions/action',
  'accounts/OpenAI/models/read',
  'accounts/OpenAI/usages/read',
  'accounts/read',
  'accounts/write',
  'accounts/delete',
  'accounts/listKeys/action',
  'accounts/regenerateKey/action',
  'accounts/deployments/read',
  'accounts/deployments/write',
  'accounts/deployments/delete',
  'accounts/models/read',
  'accounts/usages/read',
  'locations/models/read',
  'locations/usages/read',
  'audit/read',
] as const;
export type Action = (typeof ACTIONS)[number];
export type DataAction = Extract<Action, `accounts/OpenAI/${string}`>;

export const ROLES = [
  'Cognitive Services OpenAI User',
  'Cognitive Services OpenAI Contributor',
  'Cognitive Services Contributor',
  'Cognitive Services Usages Reader',
  'Reader',
] as const;
export type Role = (typeof ROLES)[number];
