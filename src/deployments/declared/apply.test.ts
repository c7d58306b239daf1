import { afterEach, beforeEach, describe, expect, test } from 'vitest';

import {
  declaredDeployment,
  declaredResource,
  digest,
  openControlPlane,
  SUBSCRIPTION,
  upstreamOf,
  type ControlWorld,
} from '../../../test/support/control-plane.ts';
import { createCatalog } from '../catalog/catalog.ts';
import type { DeclaredResource } from '../../config/declared.ts';

let world: ControlWorld;
beforeEach(async () => {
  world = await openControlPlane();
});
afterEach(() => world.close());

const scope = (resourceId = 'default') => ({ resourceId, actor: 'alice' });
const rows = async (resourceId = 'default') =>
  (await world.store.deployments.list(scope(resourceId))).map(({ name, enqueuedTokensMax }) => [
    name,
    enqueuedTokensMax,
  ]);
const audited = async () => (await world.store.audit.list({ resourceId: null, limit: 1_000 })).length;
const faultsOf = async (...resources: DeclaredResource[]) => {
  const before = await audited();
  const { faults } = await world.apply(resources);
  if (faults.length > 0) expect(await audited()).toBe(before);
  return faults;
};
const one = (deployments: DeclaredResource['deployments'], given: Partial<DeclaredResource> = {}) =>
  declaredResource('default', { deployments, ...given });

describe('what is declared', () => {
  test('is in the store afterwards, owned by the configuration', async () => {
    const applied = await world.apply([
      one([
        declaredDeployment('a'),
        declaredDeployment('b', { model: 'o3', whenFull: 'wait', tags: { x: 'y' } }),
      ]),
      declaredResource('second', {
        location: 'koreacentral',
        offer: 'msdn',
        keys: ['first-key', 'other-key'],
      }),
    ]);

    expect(applied).toEqual({ faults: [], warnings: [] });
    expect(await world.store.resources.get('second')).toMatchObject({
      location: 'koreacentral',
      offer: 'msdn',
      owner: 'configuration',
    });
    expect(await world.store.deployments.get(scope(), 'b')).toMatchObject({
      model: 'o3',
      version: '2025-04-16',
      whenFull: 'wait',
      owner: 'configuration',
      tags: { x: 'y' },
    });
    expect(await world.store.resources.findByKeyDigest(digest('other-key'))).toMatchObject({
      resource: { id: 'second' },
      key: { slot: 2, hint: '-key' },
    });
  });

  test('changes nothing the second time, and audits nothing', async () => {
    const resources = [
      one([declaredDeployment('a', { enqueuedTokensMax: null }), declaredDeployment('b')], { keys: ['k'] }),
    ];
    await world.apply(resources);
    const before = await audited();
    world.advance(60);

    await world.apply(structuredClone(resources));

    expect(await audited()).toBe(before);
    expect(await world.store.deployments.get(scope(), 'a')).toMatchObject({ updatedAt: 1_000 });
  });

  test('keeps a key of the API beside the one key of --api-key', async () => {
    const { store } = world;
    await world.apply([declaredResource('second', { keys: ['first-key'], sharesKeys: true })]);
    const other = { slot: 2, digest: digest('made-key'), hint: '-key' } as const;
    await store.resources.putKey('second', other, { actor: 'alice', atS: 1 });

    await world.apply([declaredResource('second', { keys: ['next-key'], sharesKeys: true })]);

    expect((await store.resources.findByKeyDigest(digest('made-key')))?.resource.id).toBe('second');
    expect(await store.resources.findByKeyDigest(digest('first-key'))).toBeUndefined();
  });

  test('loses the key that is taken off its list, and keeps its keys without a list', async () => {
    const isOpenedBy = async (key: string) =>
      (await world.store.resources.findByKeyDigest(digest(key)))?.resource.id;
    await world.apply([declaredResource('second', { keys: ['first-key', 'other-key'] })]);

    await world.apply([declaredResource('second', { keys: ['other-key'] })]);
    expect([await isOpenedBy('first-key'), await isOpenedBy('other-key')]).toEqual([undefined, 'second']);

    await world.apply([declaredResource('second', { keys: ['new-key', 'other-key'] })]);
    await world.apply([declaredResource('second', { keys: ['new-key'] })]);
    expect([await isOpenedBy('new-key'), await isOpenedBy('other-key')]).toEqual(['second', undefined]);

    await world.apply([declaredResource('second', { keys: [], sharesKeys: true })]);
    expect(await isOpenedBy('new-key')).toBe('second');
  });

  test('changes with its file', async () => {
    await world.apply([one([declaredDeployment('a')])]);
    world.advance(5);

    await world.apply([one([declaredDeployment('a', { dynamicQuota: true })], { offer: 'default' })]);

    expect(await world.store.deployments.get(scope(), 'a')).toMatchObject({
      dynamicQuota: true,
      createdAt: 1_000,
      updatedAt: 1_005,
    });
    expect(await world.store.resources.get('default')).toMatchObject({ offer: 'default' });
  });

  test('is removed when it is no longer declared', async () => {
    await world.apply([one([declaredDeployment('a'), declaredDeployment('b')]), declaredResource('second')]);

    const { warnings } = await world.apply([one([declaredDeployment('b')])]);

    expect(warnings).toEqual([]);
    expect(await rows()).toEqual([['b', 1_000]]);
    expect(await world.store.resources.get('second')).toBeUndefined();
  });

  test('stays while it has live batches, says so, and goes after them', async () => {
    await world.apply([one([declaredDeployment('a')])]);
    await world.startBatch('default', 'a');

    const { warnings } = await world.apply([one([])]);
    expect(warnings).toEqual([
      expect.stringContaining("'a' of the resource 'default' is no longer declared"),
    ]);
    expect(await rows()).toEqual([['a', 1_000]]);

    await world.endBatches();
    expect(await world.apply([one([])])).toEqual({ faults: [], warnings: [] });
    expect(await rows()).toEqual([]);
  });

  test('can be deleted over the API once it is no longer declared', async () => {
    await world.apply([one([declaredDeployment('a')])]);
    await world.startBatch('default', 'a');
    await world.apply([one([])]);
    await world.endBatches();

    expect(await world.controlPlane.deleteDeployment(scope(), 'a')).toBe(true);
  });
});

describe('a resource that is no longer declared', () => {
  test('stays with its batches and files', async () => {
    await world.apply([one([]), declaredResource('second', { deployments: [declaredDeployment('a')] })]);
    await world.startBatch('second', 'a');
    await world.endBatches();

    const { warnings } = await world.apply([one([])]);

    expect(warnings).toEqual([
      expect.stringContaining("'second' is no longer declared, but has files or batches"),
    ]);
    expect(await world.store.resources.get('second')).toBeDefined();
    expect(await world.controlPlane.deleteResource('alice', 'second')).toBe(true);
  });

  test('stays with the deployments that were made over the API', async () => {
    await world.apply([one([]), declaredResource('second')]);
    await world.controlPlane.putDeployment(scope('second'), { name: 'mine', model: 'gpt-4o' });

    const { warnings } = await world.apply([one([])]);

    expect(warnings).toEqual([expect.stringContaining('1 deployment(s) made over the API')]);
    expect(await rows('second')).toEqual([['mine', 10_000]]);
  });
});

describe('what was made over the API', () => {
  /** A deployment of the declared resource, and a resource. */
  const makeOverApi = async () => {
    await world.controlPlane.putDeployment(scope(), { name: 'mine', model: 'gpt-4o' });
    await world.controlPlane.putResource('alice', {
      id: 'theirs',
      subscriptionId: SUBSCRIPTION,
      resourceGroup: 'offpeak',
      location: 'eastus',
    });
  };

  test('is not touched', async () => {
    await world.apply([one([])]);
    await makeOverApi();

    await world.apply([one([declaredDeployment('a')])]);
    await world.apply([one([])]);

    expect(await rows()).toEqual([['mine', 10_000]]);
    expect(await world.store.resources.get('theirs')).toMatchObject({ owner: 'api' });
  });

  test('keeps its name', async () => {
    await world.apply([one([])]);
    await makeOverApi();

    expect(await faultsOf(one([declaredDeployment('mine')]), declaredResource('theirs'))).toEqual([
      { source: 'resources[theirs]', message: expect.stringContaining('was made over the API already') },
      { source: 'deployments[mine]', message: expect.stringContaining('was made over the API already') },
    ]);
  });

  test('still has to fit when its resource gets a smaller offer', async () => {
    await world.apply([one([])]);
    await world.controlPlane.putDeployment(scope(), {
      name: 'mine',
      model: 'gpt-4o',
      enqueuedTokensMax: 91_000,
    });

    expect(await faultsOf(one([], { offer: 'msdn' }))).toEqual([
      { source: 'resources[default]', message: expect.stringMatching(/quota of 90000 .* have 91000/) },
    ]);
  });

  test('becomes declared when it is the default resource', async () => {
    await world.controlPlane.putResource('alice', {
      id: 'default',
      subscriptionId: SUBSCRIPTION,
      resourceGroup: 'offpeak',
      location: 'westus',
    });

    expect(await faultsOf(one([]))).toEqual([]);
    expect(await world.store.resources.get('default')).toMatchObject({
      owner: 'configuration',
      location: 'eastus',
    });
  });
});

describe('faults', () => {
  test('are all reported, each with its place, and nothing is changed', async () => {
    const faults = await faultsOf(
      one(
        [
          declaredDeployment('a', { model: 'gpt-3.5-turbo' }),
          declaredDeployment('b', { version: '1' }),
          declaredDeployment('c', { model: 'o3', sku: 'DataZoneBatch' }),
          declaredDeployment('d', { upstreams: ['west'] }),
          declaredDeployment('e', { name: 'e e' }),
          declaredDeployment('f', { enqueuedTokensMax: 6e9 }),
        ],
        { location: 'Korea Central' },
      ),
    );

    expect(faults.map(({ source }) => source)).toEqual(
      expect.arrayContaining([
        'resources[default]',
        ...['a', 'b', 'c', 'd', 'e', 'f'].map((n) => `deployments[${n}]`),
      ]),
    );
    expect(await world.store.resources.list({})).toEqual([]);
  });

  test('a reserved name', async () => {
    expect(await faultsOf(declaredResource('v1'))).toEqual([
      { source: 'resources[v1]', message: expect.stringContaining('reserved') },
    ]);
  });

  test('a key that another resource has got over the API', async () => {
    await world.apply([one([])]);
    const [key] = await world.controlPlane.listKeys('alice', 'default');

    expect(await faultsOf(one([]), declaredResource('xx', { keys: [key?.value ?? ''] }))).toEqual([
      { source: 'resources[xx]', message: expect.stringContaining("opens the resource 'default' too") },
    ]);
  });

  test('an upstream that the SKU may not use', async () => {
    world.fleet.replace([upstreamOf('paris', 'francecentral')]);

    expect(await faultsOf(one([declaredDeployment('a', { sku: 'DataZoneBatch' })]))).toEqual([
      { source: 'deployments[a]', message: expect.stringContaining("in the data zone 'US' of the resource") },
    ]);
  });
});

describe('shares', () => {
  const open = (name: string, given = {}) => declaredDeployment(name, { enqueuedTokensMax: null, ...given });

  test('are equal parts of what the others leave, in thousands', async () => {
    await world.apply([one([])]);
    await world.controlPlane.putDeployment(scope(), { name: 'api', model: 'gpt-4o', enqueuedTokensMax: 1e9 });

    await world.apply([
      one([open('a'), open('b'), open('c'), declaredDeployment('fixed', { enqueuedTokensMax: 500_000_000 })]),
    ]);

    // (5e9 - 1e9 - 0.5e9) / 3, rounded down.
    const share = 1_166_666_000;
    expect(await rows()).toEqual([
      ['a', share],
      ['api', 1e9],
      ['b', share],
      ['c', share],
      ['fixed', 500_000_000],
    ]);
  });

  test('are parts of one quota over all resources of a subscription and region', async () => {
    await world.apply([
      one([open('a'), open('zone', { sku: 'DataZoneBatch' }), open('mini', { model: 'gpt-4o-mini' })]),
      declaredResource('second', { deployments: [open('b')] }),
      declaredResource('away', { location: 'westus', deployments: [open('c')] }),
      declaredResource('foreign', { subscriptionId: 'other', deployments: [open('d')] }),
    ]);

    expect(await rows()).toEqual([
      ['a', 2.5e9],
      ['mini', 15e9],
      ['zone', 500e6],
    ]);
    expect(await rows('second')).toEqual([['b', 2.5e9]]);
    expect(await rows('away')).toEqual([['c', 5e9]]);
    expect(await rows('foreign')).toEqual([['d', 5e9]]);
  });

  test('without a quota are the limit of the service', async () => {
    world.useCatalog(createCatalog({ impliedModels: ['llama'] }));

    await world.apply([
      one([open('own', { model: 'llama' }), open('unmeasured', { model: 'o3' })]),
      declaredResource('free', { offer: 'unlimited', deployments: [open('a')] }),
    ]);

    expect(await rows()).toEqual([
      ['own', 7_000_000],
      ['unmeasured', 7_000_000],
    ]);
    expect(await rows('free')).toEqual([['a', 7_000_000]]);
  });

  test('of a quota that is used up are a fault', async () => {
    const fixed = declaredDeployment('fixed', { enqueuedTokensMax: 90_000 });

    expect(await faultsOf(one([fixed, open('a')], { offer: 'msdn' }))).toEqual([
      { source: 'deployments[a]', message: expect.stringContaining('Nothing of the quota of 90000') },
    ]);
    expect(await faultsOf(one([open('a')], { offer: 'students' }))).toEqual([
      { source: 'deployments[a]', message: expect.stringContaining("The offer 'students' has no quota for") },
    ]);
  });

  test('move from one deployment to the other in a full quota', async () => {
    const both = (a: number, b: number) => [
      one(
        [
          declaredDeployment('a', { enqueuedTokensMax: a }),
          declaredDeployment('b', { enqueuedTokensMax: b }),
        ],
        { offer: 'msdn' },
      ),
    ];
    await world.apply(both(30_000, 60_000));

    expect(await world.apply(both(80_000, 10_000))).toEqual({ faults: [], warnings: [] });

    expect(await rows()).toEqual([
      ['a', 80_000],
      ['b', 10_000],
    ]);
  });

  test('may trade their models in full quotas', async () => {
    await world.apply([one([open('a'), open('b', { model: 'gpt-4.1' })], { offer: 'msdn' })]);

    expect(await faultsOf(one([open('a', { model: 'gpt-4.1' }), open('b')], { offer: 'msdn' }))).toEqual([]);

    expect(await world.store.deployments.get(scope(), 'a')).toMatchObject({
      model: 'gpt-4.1',
      enqueuedTokensMax: 90_000,
    });
    expect(await world.store.deployments.get(scope(), 'b')).toMatchObject({
      model: 'gpt-4o',
      enqueuedTokensMax: 90_000,
    });
  });
});
