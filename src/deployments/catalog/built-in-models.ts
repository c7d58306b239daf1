import type { CatalogModel } from '../../contract/catalog.ts';
import type { Offer, Sku } from '../../contract/control.ts';

/**
 * The models that Azure's public documentation lists for Global or Data Zone Batch: those of January 2026 with the two
 * gpt-5.4 models that came later, and those of November 2024 that have left the list. Operators add and replace models
 * under `models:`.
 */

/** Regions with Global Batch in November 2024. */
const REGIONS_2024 = [
  'australiaeast',
  'brazilsouth',
  'canadaeast',
  'eastus',
  'eastus2',
  'francecentral',
  'germanywestcentral',
  'japaneast',
  'koreacentral',
  'northcentralus',
  'norwayeast',
  'polandcentral',
  'southafricanorth',
  'southcentralus',
  'southindia',
  'swedencentral',
  'switzerlandnorth',
  'uksouth',
  'westeurope',
  'westus',
  'westus3',
];
/** Regions in January 2026. */
const REGIONS_2026 = [...REGIONS_2024, 'centralus'].sort();

/** Regions whose data stay within a larger zone. Every other region is a zone of its own. */
export const DATA_ZONES: Readonly<Record<string, readonly string[]>> = {
  US: [
    'centralus',
    'eastus',
    'eastus2',
    'northcentralus',
    'southcentralus',
    'westcentralus',
    'westus',
    'westus2',
    'westus3',
  ],
  EU: [
    'austriaeast',
    'belgiumcentral',
    'denmarkeast',
    'francecentral',
    'francesouth',
    'germanynorth',
    'germanywestcentral',
    'italynorth',
    'northeurope',
    'polandcentral',
    'spaincentral',
    'swedencentral',
    'westeurope',
  ],
};

type Quota = Readonly<Partial<Record<Offer, number | null>>>;

const quota = (
  enterprise: number,
  standard: number,
  monthly: number,
  msdn: number,
  students: number | null = null,
): Quota => ({ enterprise, default: standard, monthly, msdn, students });

const [K, M, B] = [1e3, 1e6, 1e9];
/** Enqueued tokens by offer, under the name that the documentation gives the quota. */
const GLOBAL_QUOTA: Readonly<Record<string, Quota>> = {
  // The documentation has no quota of the gpt-5.4 models yet. They get that of their family, large and mini.
  'gpt-5.4': quota(5 * B, 200 * M, 50 * M, 90 * K),
  'gpt-5.4-mini': quota(15 * B, 1 * B, 50 * M, 90 * K),
  'gpt-5.1': quota(5 * B, 200 * M, 50 * M, 90 * K),
  'gpt-5': quota(5 * B, 200 * M, 50 * M, 90 * K),
  'o4-mini': quota(15 * B, 1 * B, 50 * M, 90 * K),
  'o3-mini': quota(15 * B, 1 * B, 50 * M, 90 * K),
  'gpt-4.1': quota(5 * B, 200 * M, 50 * M, 90 * K),
  'gpt-4.1-mini': quota(15 * B, 1 * B, 50 * M, 90 * K),
  'gpt-4.1-nano': quota(15 * B, 1 * B, 50 * M, 90 * K),
  'gpt-4o': quota(5 * B, 200 * M, 50 * M, 90 * K),
  'gpt-4o-mini': quota(15 * B, 1 * B, 50 * M, 90 * K),
  'gpt-4-turbo': quota(300 * M, 80 * M, 40 * M, 90 * K),
  'gpt-4': quota(150 * M, 30 * M, 5 * M, 100 * K),
  'gpt-35-turbo': quota(10 * B, 1 * B, 100 * M, 2 * M, 50 * K),
};
const DATA_ZONE_QUOTA: Readonly<Record<string, Quota>> = {
  'gpt-5.1': quota(5 * B, 200 * M, 50 * M, 90 * K),
  'gpt-5': quota(5 * B, 200 * M, 50 * M, 90 * K),
  'o3-mini': quota(1_500 * M, 100 * M, 50 * M, 90 * K),
  'gpt-4.1': quota(500 * M, 30 * M, 30 * M, 90 * K),
  'gpt-4.1-mini': quota(1_500 * M, 100 * M, 50 * M, 90 * K),
  'gpt-4o': quota(500 * M, 30 * M, 30 * M, 90 * K),
  'gpt-4o-mini': quota(1_500 * M, 100 * M, 50 * M, 90 * K),
};

interface Version {
  readonly name: string;
  readonly version: string;
  /** Whether it is the default version of its name. */
  readonly isDefault?: true;
  readonly takesImages: boolean;
  readonly regions: readonly string[];
  /** The name of its quota in the documentation. When absent, the model's name. */
  readonly quotaName?: string;
  /** USD per million tokens: input, output. */
  readonly price: readonly [number, number];
}

/** Prices are half of the public list prices of Global Standard. */
const VERSIONS: readonly Version[] = [
  model('gpt-5.4', '2026-03-05', [1.25, 7.5], { isDefault: true }),
  model('gpt-5.4-mini', '2026-03-17', [0.375, 2.25], { isDefault: true }),
  model('gpt-5.1', '2025-11-13', [0.625, 5], { isDefault: true }),
  model('gpt-5', '2025-08-07', [0.625, 5], { isDefault: true }),
  model('o4-mini', '2025-04-16', [0.55, 2.2], { isDefault: true }),
  model('o3', '2025-04-16', [1, 4], { isDefault: true }),
  model('o3-mini', '2025-01-31', [0.55, 2.2], { isDefault: true, takesImages: false }),
  model('gpt-4.1', '2025-04-14', [1, 4], { isDefault: true }),
  model('gpt-4.1-mini', '2025-04-14', [0.2, 0.8], { isDefault: true }),
  model('gpt-4.1-nano', '2025-04-14', [0.05, 0.2], { isDefault: true }),
  model('gpt-4o', '2024-11-20', [1.25, 5], { isDefault: true }),
  model('gpt-4o', '2024-08-06', [1.25, 5]),
  model('gpt-4o', '2024-05-13', [2.5, 7.5]),
  model('gpt-4o-mini', '2024-07-18', [0.075, 0.3], { isDefault: true }),
  oldModel('gpt-4', 'turbo-2024-04-09', [5, 15], { isDefault: true, quotaName: 'gpt-4-turbo' }),
  oldModel('gpt-4', '0613', [15, 30]),
  oldModel('gpt-35-turbo', '0125', [0.25, 0.75], { isDefault: true }),
  oldModel('gpt-35-turbo', '1106', [0.5, 1]),
  oldModel('gpt-35-turbo', '0613', [0.75, 1]),
];

function model(
  name: string,
  version: string,
  price: readonly [number, number],
  other: Partial<Version> = {},
): Version {
  return { name, version, price, takesImages: true, regions: REGIONS_2026, ...other };
}

function oldModel(
  name: string,
  version: string,
  price: readonly [number, number],
  other: Partial<Version> = {},
): Version {
  return { name, version, price, takesImages: false, regions: REGIONS_2024, ...other };
}

export const BUILT_IN_MODELS: readonly CatalogModel[] = VERSIONS.map((one) => {
  const { name, version, takesImages, quotaName = name, price } = one;
  return {
    name,
    version,
    isDefault: one.isDefault ?? false,
    inputs: takesImages ? ['text', 'image'] : ['text'],
    regions: regionsOf(one),
    quotaTokens: quotaOf(quotaName),
    batchPrice: { input: price[0], output: price[1] },
  };
});

/** The documentation lists batches alone, so single requests are served wherever Global Batch is. */
function regionsOf({ name, regions }: Version): CatalogModel['regions'] {
  const inZones = regions.filter((region) => Object.values(DATA_ZONES).some((zone) => zone.includes(region)));
  return {
    GlobalBatch: regions,
    ...(name in DATA_ZONE_QUOTA && { DataZoneBatch: inZones }),
    GlobalStandard: regions,
    DataZoneStandard: regions,
    Standard: regions,
  };
}

function quotaOf(quotaName: string): CatalogModel['quotaTokens'] {
  const quotas: Partial<Record<Sku, Quota>> = {};
  const [global, dataZone] = [GLOBAL_QUOTA[quotaName], DATA_ZONE_QUOTA[quotaName]];
  if (global) quotas.GlobalBatch = global;
  if (dataZone) quotas.DataZoneBatch = dataZone;
  return quotas;
}
