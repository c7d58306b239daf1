import { describe, expect, test } from 'vitest';

import { upstreamOf } from '../../../test/support/control-plane.ts';
import { SKUS, type Sku } from '../../contract/control.ts';
import { createCatalog } from '../catalog/catalog.ts';
import { mayServe, modelAt } from './serving.ts';

const { dataZoneOf } = createCatalog();
const REGIONS = ['eastus', 'westus', 'swedencentral', 'francecentral', 'koreacentral', 'japaneast'];
const ZONES: Readonly<Record<string, string>> = {
  eastus: 'US',
  westus: 'US',
  swedencentral: 'EU',
  francecentral: 'EU',
  koreacentral: 'koreacentral',
  japaneast: 'japaneast',
};

describe('what the SKUs mean', () => {
  const table = SKUS.flatMap((sku) =>
    REGIONS.flatMap((one) => REGIONS.map((other) => [sku, one, other] as const)),
  );

  test.each(table)('%s of a resource in %s and an upstream in %s', (sku, region, upstreamRegion) => {
    const may = mayServe(
      sku,
      { region: upstreamRegion, dataZone: dataZoneOf(upstreamRegion) },
      { region, dataZone: dataZoneOf(region) },
    );

    const expected: Readonly<Record<Sku, boolean>> = {
      GlobalBatch: true,
      GlobalStandard: true,
      DataZoneBatch: ZONES[region] === ZONES[upstreamRegion],
      DataZoneStandard: ZONES[region] === ZONES[upstreamRegion],
      Standard: region === upstreamRegion,
    };
    expect(may).toBe(expected[sku]);
  });
});

test('the simulator is asked for the deployed version too, a real server for its own name of the model alone', () => {
  const query = { model: 'gpt-4o', version: '2024-05-13' };

  expect(modelAt(upstreamOf('a', 'eastus', { kind: 'simulator' }), query.model, query.version)).toBe(
    'gpt-4o-2024-05-13',
  );
  expect(modelAt(upstreamOf('a', 'eastus', { kind: 'openai' }), query.model, query.version)).toBe('gpt-4o');
  expect(
    modelAt(
      upstreamOf('a', 'eastus', { kind: 'simulator', models: { 'gpt-4o': 'mine' } }),
      query.model,
      query.version,
    ),
  ).toBe('mine');
  expect(modelAt(upstreamOf('a', 'eastus', { kind: 'simulator' }), query.model, null)).toBe('gpt-4o');
});
