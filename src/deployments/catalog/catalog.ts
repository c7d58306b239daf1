import type { CatalogModel } from '../../contract/catalog.ts';
import { SKUS, type Offer, type Sku } from '../../contract/control.ts';
import { BUILT_IN_MODELS, DATA_ZONES } from './built-in-models.ts';

/** What can be deployed, and where. A catalog does not change: a new configuration makes a new one. */
export interface Catalog {
  /** Every version of every model, by name and then as listed. */
  readonly models: readonly CatalogModel[];
  /** Each name is there once. */
  readonly names: readonly string[];
  /** Names are exact. Empty: there is no such model. */
  versions(name: string): readonly CatalogModel[];
  find(name: string, version: string | null): CatalogModel | undefined;
  /** What a deployment gets that names no version. */
  defaultVersion(name: string): CatalogModel | undefined;
  /** The SKUs of a model that can be had in a location. */
  offered(model: CatalogModel, location: string): readonly Sku[];
  /**
   * Enqueued tokens that a subscription has of a model in each region. Null: there is no quota. 0: the offer gives none. A
   * version that has left the catalog, or has no quota of its own, has the quota of the other versions.
   */
  quotaTokens(wanted: {
    readonly offer: Offer;
    readonly sku: Sku;
    readonly model: string;
    readonly version: string | null;
  }): number | null;
  /** The zone in which a region's data stay: the region itself, unless it belongs to a larger zone. */
  readonly dataZoneOf: (region: string) => string;
}

export interface CatalogOptions {
  /** Models of the configuration. They replace those of the same name and version, or are added. */
  readonly models?: readonly CatalogModel[];
  /** Zones in addition to the built-in ones. A region that is named here leaves the zone that it had. */
  readonly dataZones?: Readonly<Record<string, readonly string[]>>;
  /** Names that the configuration uses. A name that no model has becomes a model of the operator's own. */
  readonly impliedModels?: readonly string[];
}

export function createCatalog({
  models = [],
  dataZones = {},
  impliedModels = [],
}: CatalogOptions = {}): Catalog {
  const byName = mergeModels(models, impliedModels);
  const zones = new Map(
    [...Object.entries(DATA_ZONES), ...Object.entries(dataZones)].flatMap(([zone, regions]) =>
      regions.map((region): [string, string] => [region, zone]),
    ),
  );
  const versions = (name: string): readonly CatalogModel[] => byName.get(name) ?? [];
  const defaultVersion = (name: string) => versions(name).find((one) => one.isDefault);
  const find = (name: string, version: string | null) =>
    versions(name).find((one) => one.version === version);

  return {
    models: [...byName.values()].flat(),
    names: [...byName.keys()],
    versions,
    find,
    defaultVersion,
    offered: ({ regions }, location) =>
      SKUS.filter((sku) => {
        const where = regions[sku];
        return where === 'everywhere' || where?.includes(location);
      }),
    quotaTokens: ({ offer, sku, model, version }) => {
      const known = [find(model, version) ?? defaultVersion(model), ...versions(model)];
      const quota = known.find((one) => one?.quotaTokens[sku])?.quotaTokens[sku];
      return offer === 'unlimited' || quota === undefined ? null : (quota[offer] ?? 0);
    },
    dataZoneOf: (region) => zones.get(region) ?? region,
  };
}

function mergeModels(
  added: readonly CatalogModel[],
  impliedModels: readonly string[],
): ReadonlyMap<string, readonly CatalogModel[]> {
  const byName = new Map<string, CatalogModel[]>();
  for (const model of BUILT_IN_MODELS) byName.set(model.name, [...(byName.get(model.name) ?? []), model]);
  for (const model of added) byName.set(model.name, withModel(byName.get(model.name) ?? [], model));
  for (const [name, [first, ...others]] of byName) {
    const hasDefault = first === undefined || [first, ...others].some(({ isDefault }) => isDefault);
    if (!hasDefault) byName.set(name, [{ ...first, isDefault: true }, ...others]);
  }
  for (const name of impliedModels) if (!byName.has(name)) byName.set(name, [ownModel(name)]);
  return byName;
}

/** Adds the model, or puts it in place of the same version. It is the default if the version that it replaces was. */
function withModel(versions: readonly CatalogModel[], model: CatalogModel): CatalogModel[] {
  const replaced = versions.find(({ version }) => version === model.version);
  const added = { ...model, isDefault: model.isDefault || (replaced?.isDefault ?? false) };
  // A later default takes over from an earlier one.
  const others = versions.map((one) => (added.isDefault ? { ...one, isDefault: false } : one));
  return replaced ? others.map((one) => (one.version === added.version ? added : one)) : [...others, added];
}

/** A model of the operator's own has no version and no quota, and can be had everywhere. */
export const ownModel = (name: string): CatalogModel => ({
  name,
  version: null,
  isDefault: true,
  inputs: ['text', 'image'],
  regions: Object.fromEntries(SKUS.map((sku) => [sku, 'everywhere'])),
  quotaTokens: {},
  batchPrice: null,
});
