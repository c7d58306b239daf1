/** The model catalog as ARM shows it: what can be deployed where, and how much of it. */
import { BATCH_SKUS, type Sku } from '../../contract/control.ts';
import type { CatalogModel } from '../../contract/catalog.ts';
import type { ModelOffered, UsageView } from '../../deployments/control/port.ts';
import { CAPACITY_MAX } from './bodies.ts';
import { toCapacity, usageName } from './render.ts';
import { KIND, PROVIDER } from './words.ts';

const CAPACITY_DEFAULT = 10;

/** A deployment may take all that the subscription has of a model and SKU. */
export function capacityRange({ model, sku }: ModelSku, usages: readonly UsageView[]) {
  const limit = usageOf({ model, sku }, usages)?.limitTokens ?? null;
  const maximum = limit === null ? CAPACITY_MAX : toCapacity(limit);
  return {
    minimum: Math.min(1, maximum),
    maximum,
    step: 1,
    default: Math.min(CAPACITY_DEFAULT, maximum),
  };
}

/** What the subscription has left of a model and SKU. */
function availableCapacity({ model, sku }: ModelSku, usages: readonly UsageView[]): number {
  const usage = usageOf({ model, sku }, usages);
  return usage?.availableTokens == null ? CAPACITY_MAX : toCapacity(usage.availableTokens);
}

export interface ModelSku {
  readonly model: string;
  readonly sku: Sku;
}

const usageOf = ({ model, sku }: ModelSku, usages: readonly UsageView[]): UsageView | undefined =>
  usages.find((usage) => usage.model === model && usage.sku === sku);

export function renderAccountModel({ model, skus }: ModelOffered, usages: readonly UsageView[]) {
  const offers = skus.map((sku) => ({
    name: sku,
    usageName: usageName({ sku, model: model.name }),
    capacity: capacityRange({ model: model.name, sku }, usages),
  }));
  return {
    format: KIND,
    name: model.name,
    version: model.version,
    isDefaultVersion: model.isDefault,
    skus: offers,
    maxCapacity: Math.max(0, ...offers.map(({ capacity }) => capacity.maximum)),
    capabilities: capabilitiesOf(model, skus),
    lifecycleStatus: 'GenerallyAvailable',
    offpeak: {
      inputs: model.inputs,
      batchPrice: model.batchPrice && { ...model.batchPrice, unit: 'USD per million tokens' },
    },
  };
}

export const renderModel = (offered: ModelOffered, usages: readonly UsageView[]) => ({
  kind: KIND,
  skuName: 'S0',
  model: renderAccountModel(offered, usages),
});

/** ARM's capabilities are strings. Those that a model lacks are absent. */
function capabilitiesOf(model: CatalogModel, skus: readonly Sku[]): Record<string, string> {
  return {
    [isEmbedding(model) ? 'embeddings' : 'chatCompletion']: 'true',
    ...(skus.some((sku) => BATCH_SKUS.includes(sku)) && { batch: 'true' }),
    ...(model.inputs.includes('image') && { imageInput: 'true' }),
  };
}

export const isEmbedding = ({ name }: Pick<CatalogModel, 'name'>): boolean => name.includes('embedding');

export function renderCapacity(
  { model, sku, location }: { readonly model: CatalogModel; readonly sku: Sku; readonly location: string },
  { subscriptionId, usages }: { readonly subscriptionId: string; readonly usages: readonly UsageView[] },
) {
  const { name, version } = model;
  const path = `/subscriptions/${subscriptionId}/providers/${PROVIDER}/locations/${location}`;
  const key = [KIND, name, ...(version === null ? [] : [version])].join('.');
  return {
    id: `${path}/models/${key}/skus/${sku}`,
    name: sku,
    type: `${PROVIDER}/locations/models/skus`,
    location,
    properties: {
      model: { format: KIND, name, version },
      skuName: sku,
      availableCapacity: availableCapacity({ model: name, sku }, usages),
    },
  };
}
