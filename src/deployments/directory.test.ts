import { afterEach, beforeEach, describe, expect, test } from 'vitest';

import {
  declaredDeployment,
  declaredResource,
  openControlPlane,
  upstreamOf,
  type ControlWorld,
} from '../../test/support/control-plane.ts';
import { createCatalog } from './catalog/catalog.ts';

let world: ControlWorld;
beforeEach(async () => {
  world = await openControlPlane();
});
afterEach(() => world.close());

const own = { resourceId: 'default', actor: 'cli' };
const foreign = { resourceId: 'other', actor: 'key:1' };
const declare = (...deployments: Parameters<typeof declaredDeployment>[]) =>
  world.apply([
    declaredResource('default', { deployments: deployments.map((given) => declaredDeployment(...given)) }),
    declaredResource('other'),
  ]);

test('a deployment is found by its exact name, in its resource alone', async () => {
  await declare(['first'], ['second']);

  expect(await world.directory.find(own, 'first')).toMatchObject({
    name: 'first',
    model: 'gpt-4o',
    version: '2024-11-20',
    sku: 'GlobalBatch',
    unusable: null,
    takesImages: true,
    enqueuedTokensMax: 1_000,
    sharedTokensMax: null,
    whenFull: 'fail',
    concurrencyMax: 8,
  });
  expect(await world.directory.find(own, 'First')).toBeUndefined();
  expect(await world.directory.find(own, '__proto__')).toBeUndefined();
  expect(await world.directory.find(foreign, 'first')).toBeUndefined();
  expect(await world.directory.list(foreign)).toEqual([]);
  expect(await world.directory.list({ resourceId: 'nobody', actor: 'x' })).toEqual([]);
  expect((await world.directory.list(own)).map(({ name }) => name)).toEqual(['first', 'second']);
});

test('what changes in the store, the catalog or the fleet is seen at once', async () => {
  await declare(['d', { model: 'gpt-35-turbo' }]);
  expect(await world.directory.find(own, 'd')).toMatchObject({ takesImages: false, sharedTokensMax: null });

  await declare(['d', { model: 'gpt-35-turbo', dynamicQuota: true, whenFull: 'wait' }]);
  world.fleet.replace([upstreamOf('east'), upstreamOf('paris', 'francecentral')]);

  const found = await world.directory.find(own, 'd');
  expect(found).toMatchObject({ sharedTokensMax: 10e9, whenFull: 'wait' });
  expect(found?.upstreams).toHaveLength(2);
});

test('its upstreams are the same objects as long as nothing changes', async () => {
  await declare(['d'], ['e']);

  const [first, again, other] = await Promise.all(
    ['d', 'd', 'e'].map((name) => world.directory.find(own, name)),
  );

  expect(again?.upstreams[0]).toBe(first?.upstreams[0]);
  expect(other?.upstreams[0]).toBe(first?.upstreams[0]);
});

describe('the SKU decides each time a deployment is found', () => {
  test.each([
    ['GlobalBatch', ['east', 'west', 'paris']],
    ['DataZoneBatch', ['east', 'west']],
    ['Standard', ['east']],
  ] as const)('%s', async (sku, names) => {
    const serving = () =>
      world.directory.find(own, 'd').then((found) => found?.upstreams.map(({ name }) => name));
    world.fleet.replace([
      upstreamOf('east', 'eastus', { open: () => named('east') }),
      upstreamOf('west', 'westus', { open: () => named('west') }),
      upstreamOf('paris', 'francecentral', { open: () => named('paris') }),
    ]);
    await declare(['d', { sku }]);

    expect(await serving()).toEqual(names);
    world.fleet.replace([upstreamOf('paris', 'francecentral', { open: () => named('paris') })]);
    expect(await serving()).toEqual(sku === 'GlobalBatch' ? ['paris'] : []);
  });

  const named = (name: string) => ({
    name,
    server: name,
    model: 'm',
    call: () => Promise.reject(new Error('nothing is sent here')),
    probe: async () => ({ kind: 'models' as const, ids: [] }),
    close: async () => {},
  });
});

test('dynamic quota of a model without a quota has no limit of its own', async () => {
  world.useCatalog(createCatalog({ impliedModels: ['llama'] }));
  await declare(['d', { model: 'llama', dynamicQuota: true }]);

  expect(await world.directory.find(own, 'd')).toMatchObject({
    version: null,
    takesImages: true,
    sharedTokensMax: Number.MAX_SAFE_INTEGER,
  });
});

test('a deployment whose model has left the catalog says so, and what to do', async () => {
  world.useCatalog(createCatalog({ impliedModels: ['llama'] }));
  await declare(['d', { model: 'llama' }]);
  world.useCatalog(createCatalog());

  expect((await world.directory.find(own, 'd'))?.unusable).toBe(
    "The model 'llama' of the deployment 'd' has left the model catalog. Deploy another model, or have the operator add it under 'models:'.",
  );
});
