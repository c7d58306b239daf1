import type { CatalogModel } from '../../contract/catalog.ts';
import type {
  AuditEntry,
  DeploymentRow,
  DeploymentSettings,
  EnqueuedTokens,
  QuotaGroup,
  Resource,
  Sku,
} from '../../contract/control.ts';
import type { Scope } from '../../contract/scope.ts';

/**
 * The operations of operators. Callers decide before who may do them. Every refusal is an `ApiError` that says what is
 * wrong, where, and what to do.
 */
export interface ControlPlane {
  listResources(filter: {
    readonly subscriptionId?: string;
    readonly resourceGroup?: string;
  }): Promise<Resource[]>;
  getResource(resourceId: string): Promise<Resource | undefined>;
  putResource(actor: string, wanted: ResourceWanted): Promise<{ created: boolean; resource: Resource }>;
  /** Resolves to false when there is none. */
  deleteResource(actor: string, resourceId: string): Promise<boolean>;
  /** Makes the keys that are missing. A key is shown once: `value` is null unless the key was made just now. */
  listKeys(actor: string, resourceId: string): Promise<KeyShown[]>;
  regenerateKey(actor: string, resourceId: string, slot: 1 | 2): Promise<KeyShown[]>;
  listDeployments(scope: Scope): Promise<DeploymentView[]>;
  getDeployment(scope: Scope, name: string): Promise<DeploymentView | undefined>;
  putDeployment(
    scope: Scope,
    wanted: DeploymentWanted,
  ): Promise<{ created: boolean; deployment: DeploymentView }>;
  /** Resolves to false when there is none. */
  deleteDeployment(scope: Scope, name: string): Promise<boolean>;
  /** Every location that has a resource or that the catalog names. */
  listLocations(): Promise<string[]>;
  /** Models that a location has, with the SKUs that can be had there. */
  listModels(location: string): Promise<ModelOffered[]>;
  /** One entry for each model and SKU of the location that has a quota or a deployment. */
  listUsages(subscriptionId: string, location: string): Promise<UsageView[]>;
  listAudit(query: {
    readonly resourceId: string | null;
    readonly before?: number;
    readonly limit: number;
  }): Promise<AuditEntry[]>;
}

export interface ResourceWanted extends Pick<Resource, 'id' | 'subscriptionId' | 'resourceGroup'> {
  /** A new resource needs it. On an existing one it must be the same. */
  readonly location?: string;
  readonly offer?: Resource['offer'];
  readonly keyAuthDisabled?: boolean;
  readonly tags?: Resource['tags'];
}

/** An absent field keeps its value on an existing deployment, and gets the default on a new one. */
export interface DeploymentWanted
  extends
    Pick<DeploymentRow, 'name'>,
    Partial<DeploymentSettings & Pick<DeploymentRow, 'enqueuedTokensMax'>> {}

export interface KeyShown {
  readonly slot: 1 | 2;
  readonly value: string | null;
  readonly hint: string;
}

export interface DeploymentView extends DeploymentRow {
  readonly tokens: EnqueuedTokens;
  /** Upstreams that serve it just now, by name. */
  readonly servedBy: readonly string[];
}

export interface ModelOffered {
  readonly model: CatalogModel;
  readonly skus: readonly Sku[];
}

export interface UsageView extends QuotaGroup {
  readonly allocatedTokens: number;
  readonly heldTokens: number;
  /** The limit of the quota. Null: there is none. */
  readonly limitTokens: number | null;
  /** Tokens that a new deployment can have, with those that shares of the configuration would give up. Null: any number. */
  readonly availableTokens: number | null;
}
