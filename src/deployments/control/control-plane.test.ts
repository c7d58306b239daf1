import { afterEach, beforeEach, describe, expect, test } from 'vitest';

import {
  declaredDeployment,
  declaredResource,
  digest,
  modelOf,
  openControlPlane,
  SUBSCRIPTION,
  upstreamOf,
  type ControlWorld,
} from '../../../test/support/control-plane.ts';
import { createCatalog } from '../catalog/catalog.ts';

let world: ControlWorld;
beforeEach(async () => {
  world = await openControlPlane();
});
afterEach(() => world.close());

const ACME = { id: 'acme', subscriptionId: SUBSCRIPTION, resourceGroup: 'offpeak' };
const scope = { resourceId: 'acme', actor: 'alice' };
const makeAcme = (given = {}) =>
  world.controlPlane.putResource('alice', { ...ACME, location: 'eastus', ...given });
const actions = async () =>
  (await world.store.audit.list({ resourceId: null, limit: 100 })).map(
    ({ action, target, actor }) => `${actor}: ${action} ${target}`,
  );

describe('a resource', () => {
  test('is made with the defaults and found again', async () => {
    const { created, resource } = await makeAcme();

    expect(created).toBe(true);
    expect(resource).toMatchObject({ offer: 'enterprise', keyAuthDisabled: false, owner: 'api' });
    expect(await world.controlPlane.getResource('acme')).toEqual(resource);
    expect(await world.controlPlane.listResources({ subscriptionId: SUBSCRIPTION })).toEqual([resource]);
    expect(await world.controlPlane.listResources({ resourceGroup: 'other' })).toEqual([]);
  });

  test('keeps what a change does not name', async () => {
    const { resource } = await makeAcme({ tags: { team: 'a' } });
    world.advance(5);

    const changed = await world.controlPlane.putResource('alice', { ...ACME, keyAuthDisabled: true });

    expect(changed).toEqual({ created: false, resource: { ...resource, keyAuthDisabled: true } });
    expect(await actions()).toEqual(['alice: resource.update acme', 'alice: resource.create acme']);
  });

  test('has the offer of its subscription when it names none', async () => {
    await makeAcme({ offer: 'msdn' });

    const { resource } = await world.controlPlane.putResource('alice', {
      ...ACME,
      id: 'second',
      location: 'westus',
    });

    expect(resource.offer).toBe('msdn');
  });

  test.each([
    ['without a location', { id: 'new' }, 'invalidResource', /needs a location/],
    ['with a reserved name', { id: 'openai', location: 'eastus' }, 'invalidResource', /reserved/],
    ['in another place', { location: 'westus' }, 'invalidResource', /cannot be moved/],
    [
      'of another group',
      { resourceGroup: 'other', location: 'eastus' },
      'resourceNameTaken',
      /in use already/,
    ],
    ['of another subscription', { subscriptionId: 'x', location: 'eastus' }, 'resourceNameTaken', /in use/],
  ])('%s is refused', async (_, change, code, message) => {
    await makeAcme();

    await expect(world.controlPlane.putResource('alice', { ...ACME, ...change })).rejects.toMatchObject({
      code,
      message: expect.stringMatching(message),
    });
  });

  test('cannot take an offer with less than its deployments have', async () => {
    await makeAcme();
    await world.controlPlane.putDeployment(scope, { name: 'd', model: 'gpt-4o', enqueuedTokensMax: 100_000 });

    await expect(world.controlPlane.putResource('a', { ...ACME, offer: 'msdn' })).rejects.toMatchObject({
      code: 'insufficientQuota',
      message: expect.stringMatching(/90K enqueued tokens .* have 100K/),
    });
    await world.controlPlane.putResource('a', { ...ACME, offer: 'default' });
    await world.controlPlane.putDeployment(scope, { name: 'd', enqueuedTokensMax: 90_000 });
    expect((await world.controlPlane.putResource('a', { ...ACME, offer: 'msdn' })).resource.offer).toBe(
      'msdn',
    );
  });

  test('with live batches is not deleted, and says how many', async () => {
    await makeAcme();
    await world.controlPlane.putDeployment(scope, { name: 'd', model: 'gpt-4o' });
    await world.startBatch('acme', 'd');
    await world.startBatch('acme', 'd');

    await expect(world.controlPlane.deleteResource('alice', 'acme')).rejects.toMatchObject({
      code: 'resourceInUse',
      message: expect.stringContaining('2 live batch'),
    });
    await world.endBatches();
    expect(await world.controlPlane.deleteResource('alice', 'acme')).toBe(true);
    expect(await world.controlPlane.deleteResource('alice', 'acme')).toBe(false);
  });
});

describe('keys', () => {
  test('are made when they are asked for first, shown once, and kept as digests', async () => {
    await makeAcme();

    const first = await world.controlPlane.listKeys('alice', 'acme');
    const second = await world.controlPlane.listKeys('alice', 'acme');

    expect(first.map(({ slot }) => slot)).toEqual([1, 2]);
    for (const { value, hint } of first) {
      expect(value).toMatch(/^[0-9a-f]{64}$/);
      expect(value?.endsWith(hint)).toBe(true);
    }
    expect(second).toEqual(first.map(({ slot, hint }) => ({ slot, hint, value: null })));
    expect((await world.store.resources.keys('acme')).map((key) => key.digest)).toEqual(
      first.map(({ value }) => digest(value ?? '')),
    );
  });

  test('are the same for callers who ask at once', async () => {
    await makeAcme();

    const lists = await Promise.all([1, 2, 3].map(() => world.controlPlane.listKeys('alice', 'acme')));

    const shown = lists.flat().filter(({ value }) => value !== null);
    expect(shown).toHaveLength(2);
    expect((await world.store.resources.keys('acme')).map((key) => key.digest)).toEqual(
      shown.map(({ value }) => digest(value ?? '')),
    );
  });

  test('are regenerated one at a time', async () => {
    await makeAcme();
    const [, key2] = await world.controlPlane.listKeys('alice', 'acme');

    const [first, second] = await world.controlPlane.regenerateKey('alice', 'acme', 1);

    expect(first?.value).toMatch(/^[0-9a-f]{64}$/);
    expect(second).toEqual({ slot: 2, value: null, hint: key2?.hint });
    expect(await world.store.resources.findByKeyDigest(digest(first?.value ?? ''))).toMatchObject({
      key: { slot: 1 },
    });
    expect((await actions())[0]).toBe('alice: key.regenerate key1');
  });

  test('of a resource that does not exist are refused', async () => {
    await expect(world.controlPlane.listKeys('alice', 'nobody')).rejects.toMatchObject({
      code: 'resourceNotFound',
    });
    await expect(world.controlPlane.regenerateKey('alice', 'nobody', 1)).rejects.toMatchObject({
      code: 'resourceNotFound',
    });
  });

  test('that the configuration gives are the only ones: none is made or regenerated over the API', async () => {
    await world.apply([declaredResource('acme', { keys: ['secret-1'] })]);

    await expect(world.controlPlane.regenerateKey('alice', 'acme', 1)).rejects.toMatchObject({
      code: 'ownedByConfiguration',
      message: expect.stringContaining('resources[acme]'),
    });
    expect(await world.controlPlane.listKeys('alice', 'acme')).toMatchObject([
      { slot: 1, value: null, hint: 'et-1' },
    ]);
    await expect(world.controlPlane.regenerateKey('alice', 'acme', 2)).rejects.toMatchObject({
      code: 'ownedByConfiguration',
    });
  });
});

describe('a deployment', () => {
  test('is made with the defaults of its model', async () => {
    await makeAcme();

    const { created, deployment } = await world.controlPlane.putDeployment(scope, {
      name: 'd',
      model: 'gpt-4o',
    });

    expect(created).toBe(true);
    expect(deployment).toMatchObject({
      resourceId: 'acme',
      version: '2024-11-20',
      sku: 'GlobalBatch',
      enqueuedTokensMax: 10_000,
      versionUpgradeOption: 'OnceNewDefaultVersionAvailable',
      whenFull: 'fail',
      concurrencyMax: 16,
      upstreams: null,
      owner: 'api',
      tokens: { held: 0, waiting: 0, waitingBatches: 0 },
      servedBy: ['east'],
    });
    expect(await world.controlPlane.getDeployment(scope, 'd')).toEqual(deployment);
    expect(await world.controlPlane.listDeployments(scope)).toEqual([deployment]);
    expect(await world.controlPlane.getDeployment({ ...scope, resourceId: 'other' }, 'd')).toBeUndefined();
  });

  test('of a model without a quota gets the limit of the service', async () => {
    await makeAcme({ offer: 'unlimited' });

    const { deployment } = await world.controlPlane.putDeployment(scope, { name: 'd', model: 'gpt-4o' });

    expect(deployment.enqueuedTokensMax).toBe(7_000_000);
  });

  test('keeps what a change does not name, and a change that changes nothing is not audited', async () => {
    await makeAcme();
    const { deployment } = await world.controlPlane.putDeployment(scope, {
      name: 'd',
      model: 'gpt-4o',
      version: '2024-08-06',
      contentFilter: 'strict',
      upstreams: ['east'],
    });
    world.advance(5);

    const same = await world.controlPlane.putDeployment(scope, {
      name: 'd',
      model: 'gpt-4o',
      upstreams: ['east'],
    });
    const changed = await world.controlPlane.putDeployment(scope, {
      name: 'd',
      contentFilter: null,
      upstreams: null,
    });

    expect(same).toEqual({ created: false, deployment });
    expect(changed.deployment).toEqual({
      ...deployment,
      contentFilter: null,
      upstreams: null,
      updatedAt: deployment.updatedAt + 5,
    });
    expect(await actions()).toEqual([
      'alice: deployment.update d',
      'alice: deployment.create d',
      'alice: resource.create acme',
    ]);
  });

  test('shows what its batches hold', async () => {
    await makeAcme();
    await world.controlPlane.putDeployment(scope, { name: 'd', model: 'gpt-4o' });
    await world.startBatch('acme', 'd', 123);

    expect(await world.controlPlane.getDeployment(scope, 'd')).toMatchObject({ tokens: { held: 123 } });
  });

  test('of another model has that model’s default version', async () => {
    await makeAcme();
    await world.controlPlane.putDeployment(scope, { name: 'd', model: 'gpt-4o', version: '2024-08-06' });

    const { deployment } = await world.controlPlane.putDeployment(scope, { name: 'd', model: 'gpt-4o-mini' });

    expect(deployment.version).toBe('2024-07-18');
  });

  test.each([
    ['no model', { name: 'x' }, 'invalidResource'],
    ['a bad name', { name: 'a b', model: 'gpt-4o' }, 'invalidResource'],
    ['an unknown model', { name: 'x', model: 'gpt-9' }, 'modelNotSupported'],
    ['a fine-tuned model', { name: 'x', model: 'ft:gpt-4o:a' }, 'modelNotSupported'],
    ['an unknown version', { name: 'x', model: 'gpt-4o', version: '1' }, 'modelNotSupported'],
    ['a SKU that is not there', { name: 'x', model: 'o3', sku: 'DataZoneBatch' }, 'skuNotSupported'],
    ['an unknown upstream', { name: 'x', model: 'gpt-4o', upstreams: ['west'] }, 'noUpstream'],
    [
      'more than the quota',
      { name: 'x', model: 'gpt-4o', enqueuedTokensMax: 5e9 + 1_000 },
      'insufficientQuota',
    ],
  ] as const)('with %s is refused', async (_, wanted, code) => {
    await makeAcme();

    await expect(world.controlPlane.putDeployment(scope, wanted)).rejects.toMatchObject({ code });
    expect(await world.controlPlane.listDeployments(scope)).toEqual([]);
  });

  test('of a resource that does not exist is refused', async () => {
    const put = world.controlPlane.putDeployment(scope, { name: 'd', model: 'gpt-4o' });

    await expect(put).rejects.toMatchObject({ code: 'resourceNotFound' });
  });

  test('that no upstream may serve is refused with what it needs', async () => {
    world.fleet.replace([upstreamOf('paris', 'francecentral')]);
    await makeAcme();

    await expect(
      world.controlPlane.putDeployment(scope, { name: 'd', model: 'gpt-4o', sku: 'DataZoneBatch' }),
    ).rejects.toMatchObject({ code: 'noUpstream', message: expect.stringContaining("data zone 'US'") });
  });

  test('whose upstreams went away can still be made smaller', async () => {
    await makeAcme();
    await world.controlPlane.putDeployment(scope, { name: 'd', model: 'gpt-4o' });
    world.fleet.replace([]);

    const { deployment } = await world.controlPlane.putDeployment(scope, {
      name: 'd',
      enqueuedTokensMax: 1_000,
    });

    expect(deployment).toMatchObject({ enqueuedTokensMax: 1_000, servedBy: [] });
  });

  test('with live batches keeps its model and is not deleted', async () => {
    await makeAcme();
    await world.controlPlane.putDeployment(scope, { name: 'd', model: 'gpt-4o' });
    await world.startBatch('acme', 'd');

    const inUse = { code: 'deploymentInUse', message: expect.stringContaining('1 live batch') };
    await expect(world.controlPlane.putDeployment(scope, { name: 'd', model: 'o3' })).rejects.toMatchObject(
      inUse,
    );
    await expect(
      world.controlPlane.putDeployment(scope, { name: 'd', sku: 'Standard' }),
    ).rejects.toMatchObject(inUse);
    await expect(world.controlPlane.deleteDeployment(scope, 'd')).rejects.toMatchObject(inUse);

    await world.endBatches();
    expect(await world.controlPlane.deleteDeployment(scope, 'd')).toBe(true);
    expect(await world.controlPlane.deleteDeployment(scope, 'd')).toBe(false);
  });
});

describe('quota', () => {
  test('is shared by the deployments of a subscription, region, model and SKU, and said with both figures', async () => {
    await makeAcme({ offer: 'msdn' });
    await world.controlPlane.putResource('alice', { ...ACME, id: 'other', location: 'eastus' });
    await world.controlPlane.putDeployment(scope, { name: 'd', model: 'gpt-4o', enqueuedTokensMax: 60_000 });

    const put = world.controlPlane.putDeployment(
      { resourceId: 'other', actor: 'bob' },
      { name: 'e', model: 'gpt-4o', version: '2024-05-13', enqueuedTokensMax: 31_000 },
    );

    await expect(put).rejects.toMatchObject({
      code: 'insufficientQuota',
      message: expect.stringContaining(
        'require 31 new capacity in quota Enqueued tokens (thousands) - gpt-4o - GlobalBatch, which is bigger than the current available capacity 30. The current quota usage is 60 and the quota limit is 90',
      ),
    });
    await world.controlPlane.putDeployment(
      { resourceId: 'other', actor: 'bob' },
      { name: 'e', model: 'gpt-4o', sku: 'DataZoneBatch', enqueuedTokensMax: 90_000 },
    );
  });

  test('counts what the deployment has already', async () => {
    await makeAcme({ offer: 'msdn' });
    await world.controlPlane.putDeployment(scope, { name: 'd', model: 'gpt-4o', enqueuedTokensMax: 60_000 });

    const put = world.controlPlane.putDeployment(scope, { name: 'd', enqueuedTokensMax: 100_000 });

    await expect(put).rejects.toMatchObject({
      message: expect.stringContaining('require 40 new capacity'),
    });
  });

  test('is 0 for an offer that gives none', async () => {
    await makeAcme({ offer: 'students' });

    await expect(
      world.controlPlane.putDeployment(scope, { name: 'd', model: 'gpt-4o' }),
    ).rejects.toMatchObject({
      code: 'insufficientQuota',
      message: expect.stringContaining('the quota limit is 0'),
    });
  });

  test('holds against many requests at once', async () => {
    await makeAcme({ offer: 'msdn' });

    const puts = await Promise.allSettled(
      Array.from({ length: 12 }, (_, index) =>
        world.controlPlane.putDeployment(scope, { name: `d${index}`, model: 'gpt-4o' }),
      ),
    );

    expect(puts.filter(({ status }) => status === 'fulfilled')).toHaveLength(9);
    const [usage] = await world.controlPlane
      .listUsages(SUBSCRIPTION, 'eastus')
      .then((all) => all.filter(({ model, sku }) => model === 'gpt-4o' && sku === 'GlobalBatch'));
    expect(usage).toMatchObject({ allocatedTokens: 90_000, limitTokens: 90_000 });
  });

  test('is listed with what is used of it and held', async () => {
    await makeAcme();
    world.useCatalog(createCatalog({ impliedModels: ['llama'] }));
    await world.controlPlane.putDeployment(scope, { name: 'd', model: 'gpt-4o', enqueuedTokensMax: 60_000 });
    await world.controlPlane.putDeployment(scope, { name: 'l', model: 'llama', enqueuedTokensMax: 5_000 });
    await world.startBatch('acme', 'd', 77);

    const usages = await world.controlPlane.listUsages(SUBSCRIPTION, 'eastus');

    const place = { subscriptionId: SUBSCRIPTION, location: 'eastus' };
    expect(usages.filter(({ allocatedTokens }) => allocatedTokens > 0)).toEqual([
      {
        ...place,
        model: 'gpt-4o',
        sku: 'GlobalBatch',
        allocatedTokens: 60_000,
        heldTokens: 77,
        limitTokens: 5e9,
        availableTokens: 5e9 - 60_000,
      },
      {
        ...place,
        model: 'llama',
        sku: 'GlobalBatch',
        allocatedTokens: 5_000,
        heldTokens: 0,
        limitTokens: null,
        availableTokens: null,
      },
    ]);
    expect(usages).toContainEqual({
      ...place,
      model: 'gpt-35-turbo',
      sku: 'GlobalBatch',
      allocatedTokens: 0,
      heldTokens: 0,
      limitTokens: 10e9,
      availableTokens: 10e9,
    });
    expect(await world.controlPlane.listUsages(SUBSCRIPTION, 'atlantis')).toEqual([]);
  });
});

describe('models', () => {
  test('are listed by location, with their SKUs', async () => {
    const models = await world.controlPlane.listModels('koreacentral');

    expect(models.map(({ model }) => model.name)).toContain('gpt-4o');
    for (const { skus } of models) expect(skus).not.toContain('DataZoneBatch');
    expect(await world.controlPlane.listModels('atlantis')).toEqual([]);
  });

  test('and resources make the list of locations', async () => {
    await makeAcme({ location: 'my-cellar' });

    expect(await world.controlPlane.listLocations()).toEqual(
      expect.arrayContaining(['my-cellar', 'koreacentral']),
    );
  });
});

describe('what the configuration declares', () => {
  test('is read-only, and says where it is declared', async () => {
    await world.apply([declaredResource('acme', { deployments: [declaredDeployment('d')] })]);

    const owned = { code: 'ownedByConfiguration' };
    const { controlPlane } = world;
    await expect(controlPlane.putResource('alice', { ...ACME, tags: {} })).rejects.toMatchObject(owned);
    await expect(controlPlane.deleteResource('alice', 'acme')).rejects.toMatchObject(owned);
    await expect(controlPlane.deleteDeployment(scope, 'd')).rejects.toMatchObject(owned);
    await expect(controlPlane.putDeployment(scope, { name: 'd', tags: {} })).rejects.toMatchObject({
      ...owned,
      message: expect.stringContaining('deployments[d]'),
    });
  });

  test('can have deployments beside it that were made over the API', async () => {
    await world.apply([declaredResource('acme', { deployments: [declaredDeployment('d')] })]);

    await world.controlPlane.putDeployment(scope, { name: 'mine', model: 'gpt-4o' });

    expect((await world.controlPlane.listDeployments(scope)).map(({ name, owner }) => [name, owner])).toEqual(
      [
        ['d', 'configuration'],
        ['mine', 'api'],
      ],
    );
  });

  test('shrinks for a deployment of the API where it names no limit, and grows back', async () => {
    await world.apply([
      declaredResource('acme', {
        deployments: [
          declaredDeployment('a', { enqueuedTokensMax: null }),
          declaredDeployment('b', { enqueuedTokensMax: null }),
        ],
      }),
    ]);
    const limits = async () =>
      (await world.controlPlane.listDeployments(scope)).map(({ enqueuedTokensMax }) => enqueuedTokensMax);
    expect(await limits()).toEqual([2.5e9, 2.5e9]);

    await world.controlPlane.putDeployment(scope, { name: 'c', model: 'gpt-4o', enqueuedTokensMax: 1e9 });
    expect(await limits()).toEqual([2e9, 2e9, 1e9]);
    const tooMuch = world.controlPlane.putDeployment(scope, { name: 'c', enqueuedTokensMax: 5e9 });
    await expect(tooMuch).rejects.toMatchObject({ code: 'insufficientQuota' });
    expect(await limits()).toEqual([2e9, 2e9, 1e9]);

    await world.controlPlane.putDeployment(scope, { name: 'c', enqueuedTokensMax: 1_000_000 });
    expect(await limits()).toEqual([2_499_500_000, 2_499_500_000, 1_000_000]);
    await world.controlPlane.putDeployment(scope, { name: 'c', model: 'o3' });
    expect(await limits()).toEqual([2.5e9, 2.5e9, 1_000_000]);

    await world.controlPlane.putDeployment(scope, { name: 'c', model: 'gpt-4o' });
    await world.controlPlane.deleteDeployment(scope, 'c');
    expect(await limits()).toEqual([2.5e9, 2.5e9]);

    const other = { resourceId: 'other', actor: 'bob' };
    await world.controlPlane.putResource('bob', { ...ACME, id: 'other', location: 'eastus' });
    await world.controlPlane.putDeployment(other, { name: 'x', model: 'gpt-4o', enqueuedTokensMax: 1e9 });
    expect(await limits()).toEqual([2e9, 2e9]);
    await world.controlPlane.deleteResource('bob', 'other');
    expect(await limits()).toEqual([2.5e9, 2.5e9]);
  });
});

test('a new deployment gets all available tokens, which include those that shares give up', async () => {
  await world.apply([
    declaredResource('acme', {
      deployments: [
        declaredDeployment('fixed', { enqueuedTokensMax: 1e9 }),
        declaredDeployment('a', { enqueuedTokensMax: null }),
        declaredDeployment('b', { enqueuedTokensMax: null }),
      ],
    }),
  ]);
  const available = async () =>
    (await world.controlPlane.listUsages(SUBSCRIPTION, 'eastus')).find(
      ({ model, sku }) => model === 'gpt-4o' && sku === 'GlobalBatch',
    )?.availableTokens;
  const put = (enqueuedTokensMax: number) =>
    world.controlPlane.putDeployment(scope, { name: 'c', model: 'gpt-4o', enqueuedTokensMax });

  const before = (await available()) ?? 0;
  const tooMuch = put(before + 1_000);

  expect(before).toBe(4e9 - 2_000);
  await expect(tooMuch).rejects.toMatchObject({
    code: 'insufficientQuota',
    message: expect.stringMatching(
      /3999999 new capacity .* the current available capacity 3999998\. .* That is 3,999,999K enqueued tokens of a quota of 5B, of which this deployment can have 3,999,998K\./,
    ),
  });
  await put(before);
  expect(await available()).toBe(0);
});

describe('versions', () => {
  const later = () => createCatalog({ models: [modelOf('gpt-4o', '2027-01-01', { isDefault: true })] });
  const without = () =>
    createCatalog({ models: [modelOf('own', '1', { isDefault: true }), modelOf('own', '2')] });
  const versions = async () =>
    Object.fromEntries(
      (await world.store.deployments.list(scope)).map(({ name, version }) => [name, version]),
    );

  test('follow a new default where they had the old one and asked for it', async () => {
    await makeAcme();
    const put = (name: string, given = {}) =>
      world.controlPlane.putDeployment(scope, { name, model: 'gpt-4o', enqueuedTokensMax: 1_000, ...given });
    await put('follows');
    await put('pinned', { versionUpgradeOption: 'NoAutoUpgrade' });
    await put('late', { versionUpgradeOption: 'OnceCurrentVersionExpired' });
    await put('chosen', { version: '2024-08-06' });
    world.useCatalog(later());

    await world.upgrade(createCatalog());
    await world.upgrade(createCatalog());

    expect(await versions()).toEqual({
      follows: '2027-01-01',
      pinned: '2024-11-20',
      late: '2024-11-20',
      chosen: '2024-08-06',
    });
    expect((await actions()).filter((action) => action.includes('update'))).toEqual([
      'version-upgrade: deployment.update follows',
    ]);
  });

  test('that have left the catalog are replaced, unless the deployment is pinned', async () => {
    world.useCatalog(without());
    await makeAcme();
    const put = (name: string, given = {}) =>
      world.controlPlane.putDeployment(scope, { name, model: 'own', version: '2', ...given });
    await put('late', { versionUpgradeOption: 'OnceCurrentVersionExpired' });
    await put('pinned', { versionUpgradeOption: 'NoAutoUpgrade' });
    world.useCatalog(createCatalog({ models: [modelOf('own', '1', { isDefault: true })] }));

    await world.upgrade(without());

    expect(await versions()).toEqual({ late: '1', pinned: '2' });
    expect(await world.directory.find(scope, 'late')).toMatchObject({ unusable: null });
    expect((await world.directory.find(scope, 'pinned'))?.unusable).toBe(
      "The version '2' of the model 'own', which the deployment 'pinned' has, has left the model catalog. Change the deployment to one of these versions: '1'.",
    );
  });
});
