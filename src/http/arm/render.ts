/** Rows as ARM shows them. `offpeak` has what ARM does not have. */
import { createHash } from 'node:crypto';
import { TOKENS_PER_CAPACITY, type EnqueuedTokens, type Resource, type Sku } from '../../contract/control.ts';
import type { DeploymentView, KeyShown, UsageView } from '../../deployments/control/port.ts';
import { DEFAULT_CONTENT_FILTER, KIND, PROVIDER } from './words.ts';

interface ResourcePath {
  readonly subscriptionId: string;
  readonly resourceGroup: string;
  readonly id: string;
}

const accountId = ({ subscriptionId, resourceGroup, id }: ResourcePath): string =>
  `/subscriptions/${subscriptionId}/resourceGroups/${resourceGroup}/providers/${PROVIDER}/accounts/${id}`;

export const renderAccount = (resource: Resource, endpoint: string) => ({
  id: accountId(resource),
  name: resource.id,
  type: `${PROVIDER}/accounts`,
  location: resource.location,
  kind: KIND,
  sku: { name: 'S0' },
  etag: etagOf(resource),
  tags: resource.tags,
  systemData: { createdAt: isoTime(resource.createdAt) },
  properties: {
    provisioningState: 'Succeeded',
    endpoint,
    endpoints: { 'OpenAI Language Model Instance API': endpoint, 'OpenAI Batch API': endpoint },
    customSubDomainName: resource.id,
    disableLocalAuth: resource.keyAuthDisabled,
    publicNetworkAccess: 'Enabled',
    dateCreated: isoTime(resource.createdAt),
    offpeak: { offer: resource.offer, owner: resource.owner },
  },
});

/** A key that was shown before is kept nowhere. Only its last characters are shown. */
export function renderKeys(keys: readonly KeyShown[]): { key1: string | null; key2: string | null } {
  const shown = (slot: 1 | 2): string | null => {
    const key = keys.find((candidate) => candidate.slot === slot);
    return key === undefined ? null : (key.value ?? `shown-once-ends-in-${key.hint}`);
  };
  return { key1: shown(1), key2: shown(2) };
}

export function renderDeployment(deployment: DeploymentView, resource: Resource) {
  const { name, model, version, sku } = deployment;
  return {
    id: `${accountId(resource)}/deployments/${name}`,
    name,
    type: `${PROVIDER}/accounts/deployments`,
    sku: { name: sku, capacity: toCapacity(deployment.enqueuedTokensMax) },
    etag: etagOf({ ...deployment, tokens: null, servedBy: null }),
    tags: deployment.tags,
    systemData: {
      createdAt: isoTime(deployment.createdAt),
      lastModifiedAt: isoTime(deployment.updatedAt),
    },
    properties: {
      provisioningState: 'Succeeded',
      model: { format: KIND, name: model, version },
      versionUpgradeOption: deployment.versionUpgradeOption,
      currentCapacity: toCapacity(deployment.enqueuedTokensMax),
      raiPolicyName: deployment.contentFilter ?? DEFAULT_CONTENT_FILTER,
      dynamicThrottlingEnabled: deployment.dynamicQuota,
      offpeak: {
        whenFull: deployment.whenFull,
        concurrency: deployment.concurrencyMax,
        upstreams: deployment.upstreams,
        enqueued_tokens: renderTokens(deployment.tokens, deployment.enqueuedTokensMax),
        servedBy: deployment.servedBy,
        owner: deployment.owner,
      },
    },
  };
}

/** The `enqueued_tokens` object is the same wherever it is shown. */
export const renderTokens = ({ held, waiting, waitingBatches }: EnqueuedTokens, limit: number) => ({
  held,
  waiting,
  waiting_batches: waitingBatches,
  limit,
  available: Math.max(0, limit - held),
});

export const renderUsage = (usage: UsageView) => ({
  name: {
    value: usageName(usage),
    localizedValue: `Enqueued tokens (thousands) - ${usage.model} - ${usage.sku}`,
  },
  currentValue: toCapacity(usage.allocatedTokens),
  limit: usage.limitTokens === null ? null : toCapacity(usage.limitTokens),
  unit: 'Count',
  offpeak: {
    allocated_tokens: usage.allocatedTokens,
    held_tokens: usage.heldTokens,
    limit_tokens: usage.limitTokens,
    available_tokens: usage.availableTokens,
  },
});

export const usageName = ({ sku, model }: { readonly sku: Sku; readonly model: string }): string =>
  `${KIND}.${sku}.${model}`;

/** ARM counts whole thousands. The exact figures stand under `offpeak`. */
export const toCapacity = (tokens: number): number => Math.floor(tokens / TOKENS_PER_CAPACITY);

const isoTime = (atS: number): string => new Date(atS * 1000).toISOString();

const etagOf = (row: object): string =>
  `"${createHash('sha256').update(JSON.stringify(row)).digest('hex').slice(0, 32)}"`;
