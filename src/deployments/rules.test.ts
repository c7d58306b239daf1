import { describe, expect, test } from 'vitest';
import { resourceOf } from '../../test/support/state-store.ts';

import type { DeploymentRow } from '../contract/control.ts';
import { RESERVED_NAMES } from '../contract/names.ts';
import type { Upstream } from '../upstream/port.ts';
import { createCatalog } from './catalog/catalog.ts';
import type { FleetUpstream } from './fleet/serving.ts';
import { faultOfPlacement, faultOfResource, faultOfSettings, insufficientQuota } from './rules.ts';

const resource = resourceOf('acme');
const row = (change: Partial<DeploymentRow> = {}): DeploymentRow => ({
  resourceId: 'acme',
  name: 'batch',
  model: 'gpt-4o',
  version: '2024-08-06',
  sku: 'GlobalBatch',
  enqueuedTokensMax: 1_000,
  dynamicQuota: false,
  whenFull: 'fail',
  versionUpgradeOption: 'NoAutoUpgrade',
  contentFilter: null,
  concurrencyMax: 8,
  upstreams: null,
  owner: 'api',
  tags: {},
  createdAt: 1,
  updatedAt: 1,
  ...change,
});
const upstream = (name: string, region = 'eastus', change: Partial<FleetUpstream> = {}): FleetUpstream => ({
  name,
  kind: 'openai',
  region,
  dataZone: catalog.dataZoneOf(region),
  models: null,
  onlyFor: null,
  fingerprint: name,
  open: (): Upstream => {
    throw new Error('rules open nothing');
  },
  ...change,
});
const catalog = createCatalog({ impliedModels: ['llama-3'] });
const place = (change: Partial<DeploymentRow>, location = 'eastus', upstreams = [upstream('east')]) =>
  faultOfPlacement(row(change), { resource: { location }, catalog, upstreams });

describe('a resource', () => {
  test.each([
    ['id', ['acme', 'a1', '0-0', 'a'.repeat(63)]],
    ['location', ['koreacentral', 'my-cellar']],
    ['resourceGroup', ['rg-1', 'Group_(1).x', '그룹']],
    ['subscriptionId', ['x', '1234-abcd']],
  ])('may have %s %j', (field, values) => {
    for (const value of values) expect(faultOfResource({ ...resource, [field]: value })).toBeUndefined();
  });

  test.each([
    ['id', ['', 'a', 'Acme', '-a', 'a-', 'a.b', 'a_b', 'a'.repeat(64), '__proto__', ...RESERVED_NAMES]],
    ['location', ['', 'Korea Central', '../x']],
    ['resourceGroup', ['', 'a/b', 'x'.repeat(91)]],
    ['subscriptionId', ['', 'a/b', 'x'.repeat(65)]],
    ['offer', ['gold']],
    [
      'tags',
      [Object.fromEntries(Array.from({ length: 51 }, (_, i) => [`t${i}`, ''])), { a: 'x'.repeat(513) }],
    ],
  ])('may not have %s %j', (field, values) => {
    for (const value of values) {
      expect(faultOfResource({ ...resource, [field]: value })).toMatchObject({ code: 'invalidResource' });
    }
  });
});

describe('settings of a deployment', () => {
  test.each([
    ['name', ['gpt-4o', 'A.b_c-9', 'x'.repeat(64)]],
    ['enqueuedTokensMax', [1, 1_000, 1e15]],
    ['concurrencyMax', [1, 10_000]],
    ['upstreams', [null, ['a']]],
  ])('may have %s %j', (field, values) => {
    for (const value of values) expect(faultOfSettings(row({ [field]: value }))).toBeUndefined();
  });

  test.each([
    ['name', ['', 'a b', 'a/b', 'x'.repeat(65), '가', 'a\n']],
    ['sku', ['ProvisionedManaged']],
    ['enqueuedTokensMax', [0, -1, 1.5, Number.NaN, 1e15 + 1]],
    ['concurrencyMax', [0, 10_001]],
    ['contentFilter', ['', 'x'.repeat(257)]],
    ['upstreams', [[], Array.from({ length: 101 }, String)]],
  ])('may not have %s %j', (field, values) => {
    for (const value of values)
      expect(faultOfSettings(row({ [field]: value }))).toMatchObject({ code: 'invalidResource' });
  });
});

test('a configured deployment may have any name that a model server gives a model', () => {
  const fault = (name: string) => faultOfSettings(row({ name, owner: 'configuration' }));

  for (const name of ['meta-llama/Llama-3.3-70B', 'llama3.2:3b', '가나다'])
    expect(fault(name)).toBeUndefined();
  for (const name of ['', 'a b', 'a\n', 'a\u0000', 'x'.repeat(257)]) expect(fault(name)).toBeDefined();
});

describe('a model', () => {
  test('that the location has is accepted', () => {
    expect(place({})).toBeUndefined();
    expect(place({ model: 'llama-3', version: null }, 'my-cellar')).toBeUndefined();
  });

  test('that is not in the catalog is refused, with the likely name', () => {
    expect(place({ model: 'gpt-3.5-turbo' })).toMatchObject({
      code: 'modelNotSupported',
      message: expect.stringMatching(
        /^The model 'gpt-3.5-turbo' is not in the model catalog\. Did you mean 'gpt-35-turbo'\? It has: .*gpt-4o/,
      ),
    });
  });

  test.each(['ft:gpt-4o:acme::1', 'gpt-35-turbo.ft-0125'])(
    'fine-tuned, as %s, is refused as such',
    (model) => {
      expect(place({ model })).toMatchObject({
        code: 'modelNotSupported',
        message: expect.stringContaining('fine-tuned models cannot be deployed'),
      });
    },
  );

  test('in an unknown version is refused, and the known versions are named', () => {
    expect(place({ version: '2023-01-01' })?.message).toBe(
      "The model 'gpt-4o' has no version '2023-01-01'. It has: 2024-11-20, 2024-08-06, 2024-05-13.",
    );
    expect(place({ model: 'llama-3', version: '1' })?.message).toContain('has no versions');
  });

  test('that the SKU or the region does not have is refused, and its regions are named', () => {
    expect(place({ sku: 'DataZoneBatch' }, 'koreacentral')).toMatchObject({
      code: 'skuNotSupported',
      message: expect.stringMatching(
        /^The specified SKU 'DataZoneBatch' for model 'gpt-4o 2024-08-06' is not supported in this region 'koreacentral'\. It can be had in: .*swedencentral.*GlobalBatch/,
      ),
    });
    expect(place({ model: 'o3', version: '2025-04-16', sku: 'DataZoneBatch' })?.message).toContain(
      'anywhere',
    );
    expect(place({}, 'atlantis')?.message).toContain('with another SKU either');
  });
});

describe('upstreams', () => {
  test.each([
    ['DataZoneBatch', "in the data zone 'US' of the resource"],
    ['Standard', "in the region 'eastus' of the resource"],
  ] as const)('that %s may not use do not make it servable', (sku, need) => {
    expect(place({ sku }, 'eastus', [upstream('paris', 'francecentral')])).toMatchObject({
      code: 'noUpstream',
      message: expect.stringContaining(
        `${need}. Those that serve the model are: paris (region francecentral, data zone EU).`,
      ),
    });
  });

  test('that lack the model cannot serve it', () => {
    const upstreams = [upstream('a', 'eastus', { models: { other: 'other' } })];

    expect(place({}, 'eastus', upstreams)?.message).toContain('None serves that model');
  });

  test('that a deployment names must exist', () => {
    expect(place({ upstreams: ['eats'] })?.message).toBe(
      "There is no upstream 'eats' for the deployment 'batch'. Did you mean 'east'? The configuration has: east.",
    );
  });

  test('of another deployment alone are not used', () => {
    const foreign = upstream('x', 'eastus', { onlyFor: { resourceId: 'acme', deployment: 'other' } });

    expect(place({ upstreams: ['x'] }, 'eastus', [foreign])?.message).toContain(
      'The configuration has: none',
    );
  });
});

test('insufficient quota is said in Azure’s words, with every figure', () => {
  const error = insufficientQuota(row(), { wanted: 300_000, own: 60_000, others: 180_000, limit: 250_000 });

  expect(error.code).toBe('insufficientQuota');
  expect(error.message).toContain(
    'This operation require 240 new capacity in quota Enqueued tokens (thousands) - gpt-4o - GlobalBatch, which is bigger than the current available capacity 10. The current quota usage is 240 and the quota limit is 250 for quota Enqueued tokens (thousands) - gpt-4o - GlobalBatch.',
  );
});
