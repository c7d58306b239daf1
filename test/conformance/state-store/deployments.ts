import { beforeEach, expect, test } from 'vitest';

import type { DeploymentRow } from '../../../src/contract/control.ts';
import type { Scope } from '../../../src/contract/scope.ts';
import {
  change,
  createBatch,
  endBatch,
  deploymentOf,
  numbers,
  planOf,
  resourceOf,
  scope,
  stranger,
} from '../../support/state-store.ts';
import type { Subject } from './subject.ts';

export function deploymentConformance(subject: () => Subject): void {
  beforeEach(async () => {
    for (const { resourceId } of [scope, stranger])
      await subject().store.resources.put(resourceOf(resourceId), change);
  });
  const put = (
    name: string,
    given: Partial<DeploymentRow> = {},
    { owner = scope, quotaTokensMax = null as number | null } = {},
  ) => subject().store.deployments.put(owner, deploymentOf(name, given), { quotaTokensMax, atS: 2_000 });

  test('a deployment comes back as it was put', async () => {
    const { deployments } = subject().store;
    const deployment = deploymentOf('Ünï "x"', {
      version: null,
      sku: 'DataZoneBatch',
      enqueuedTokensMax: 15_000_000_000,
      dynamicQuota: true,
      whenFull: 'wait',
      versionUpgradeOption: 'NoAutoUpgrade',
      contentFilter: 'strict',
      concurrencyMax: 3,
      upstreams: ['b', 'a'],
      owner: 'configuration',
      tags: { team: '값\u0000' },
    });

    const outcome = await deployments.put(scope, deployment, { quotaTokensMax: 15_000_000_000, atS: 2_000 });

    expect(outcome).toEqual({ kind: 'created', deployment });
    expect(await deployments.get(scope, 'Ünï "x"')).toEqual(deployment);
    expect(await deployments.get(scope, 'ünï "x"')).toBeUndefined();
  });

  test('a deployment that is put again keeps the time of its making; without a change nothing happens', async () => {
    const { deployments } = subject().store;
    await put('gpt');

    const updated = await put('gpt', { tags: { a: '1' }, createdAt: 3_000, updatedAt: 3_000 });

    const expected = deploymentOf('gpt', { tags: { a: '1' }, updatedAt: 3_000 });
    expect(updated).toEqual({ kind: 'updated', deployment: expected });
    const again = await put('gpt', { tags: { a: '1' }, createdAt: 4_000, updatedAt: 4_000 });
    expect(again).toEqual({ kind: 'unchanged', deployment: expected });
    expect(await deployments.get(scope, 'gpt')).toEqual(expected);
  });

  test('deployments are listed by name', async () => {
    for (const name of ['b', 'a', 'B']) await put(name);

    const list = await subject().store.deployments.list(scope);

    expect(list.map(({ name }) => name)).toEqual(['B', 'a', 'b']);
  });

  test('a deployment of a resource that is gone is not made', async () => {
    const { store } = subject();
    await store.resources.delete('beta', change);

    expect(await put('gpt', {}, { owner: stranger })).toEqual({ kind: 'no_resource' });
  });

  test('a deployment with live batches is not deleted', async () => {
    const { store } = subject();
    await put('gpt');
    const { seq } = await createBatch(store, 'b1', { deployment: 'gpt' });
    expect(await store.deployments.delete(scope, 'gpt', 2_000)).toBe('in_use');
    await endBatch(store, seq);

    expect(await store.deployments.delete(scope, 'gpt', 2_000)).toBe('deleted');

    expect(await store.deployments.get(scope, 'gpt')).toBeUndefined();
    expect(await store.deployments.delete(scope, 'gpt', 2_000)).toBe('not_found');
  });

  quotaContract(subject, put);
}

function quotaContract(
  subject: () => Subject,
  put: (
    name: string,
    given?: Partial<DeploymentRow>,
    options?: { owner?: Scope; quotaTokensMax?: number | null },
  ) => Promise<unknown>,
): void {
  const quota = { quotaTokensMax: 100 };

  test('deployments of one subscription, region, model and SKU share one quota, over all its resources', async () => {
    await put('a', { enqueuedTokensMax: 60 }, quota);

    const tooMuch = await put('b', { enqueuedTokensMax: 41 }, { ...quota, owner: stranger });

    expect(tooMuch).toEqual({ kind: 'insufficient_quota', usedTokens: 60 });
    expect(await subject().store.deployments.list(stranger)).toEqual([]);
    expect(await put('b', { enqueuedTokensMax: 40 }, { ...quota, owner: stranger })).toMatchObject({
      kind: 'created',
    });
    expect(await put('a', { enqueuedTokensMax: 61 }, quota)).toEqual({
      kind: 'insufficient_quota',
      usedTokens: 40,
    });
  });

  test('another subscription, region, model or SKU has a quota of its own', async () => {
    const { store } = subject();
    await store.resources.put(resourceOf('far', { location: 'swedencentral' }), change);
    await store.resources.put(resourceOf('rich', { subscriptionId: 's2' }), change);
    const full = { enqueuedTokensMax: 100 };

    const outcomes = [
      await put('a', full, quota),
      await put('b', { ...full, model: 'o3' }, quota),
      await put('c', { ...full, sku: 'DataZoneBatch' }, quota),
      await put('d', full, { ...quota, owner: { resourceId: 'far', actor: 'a' } }),
      await put('e', full, { ...quota, owner: { resourceId: 'rich', actor: 'a' } }),
    ];

    for (const outcome of outcomes) expect(outcome).toMatchObject({ kind: 'created' });
    expect(await put('f', { enqueuedTokensMax: 1 }, quota)).toMatchObject({ kind: 'insufficient_quota' });
  });

  test('versions of a model share its quota, and a deployment that changes its model moves to that quota', async () => {
    await put('a', { enqueuedTokensMax: 100 }, quota);
    expect(await put('b', { version: '2024-08-06', enqueuedTokensMax: 1 }, quota)).toMatchObject({
      kind: 'insufficient_quota',
    });
    await put('c', { model: 'o3', enqueuedTokensMax: 50 }, quota);

    expect(await put('a', { model: 'o3', enqueuedTokensMax: 100 }, quota)).toEqual({
      kind: 'insufficient_quota',
      usedTokens: 50,
    });
    expect(await put('a', { model: 'o3', enqueuedTokensMax: 50 }, quota)).toMatchObject({ kind: 'updated' });
    expect(await put('b', { enqueuedTokensMax: 100 }, quota)).toMatchObject({ kind: 'created' });
  });

  test('when a quota has shrunk, its deployments can still give back, but take no more', async () => {
    for (const name of ['a', 'b']) await put(name, { enqueuedTokensMax: 80 });

    expect(await put('a', { enqueuedTokensMax: 70 }, quota)).toMatchObject({ kind: 'updated' });
    expect(await put('a', { enqueuedTokensMax: 71 }, quota)).toEqual({
      kind: 'insufficient_quota',
      usedTokens: 80,
    });
  });

  test('of 50 deployments put at once in two resources exactly those that fit are made', async () => {
    const { store } = subject();
    const owners = [scope, stranger];

    const outcomes = (await Promise.all(
      numbers(50).map((n) => put(`d${n}`, { enqueuedTokensMax: 9 }, { ...quota, owner: owners[n % 2]! })),
    )) as { kind: string; usedTokens?: number }[];

    expect(outcomes.filter(({ kind }) => kind === 'created')).toHaveLength(11);
    const refused = outcomes.filter(({ kind }) => kind === 'insufficient_quota');
    expect(refused).toHaveLength(39);
    for (const { usedTokens } of refused) expect(usedTokens).toBe(99);
    const { subscriptionId } = resourceOf('alpha');
    expect(await store.deployments.usages({ subscriptionId })).toMatchObject([{ allocatedTokens: 99 }]);
  });

  test('usages tell what a subscription has given out and what its live batches hold, by quota', async () => {
    const { store } = subject();
    const { subscriptionId, location } = resourceOf('alpha');
    await store.resources.put(resourceOf('far', { location: 'swedencentral' }), change);
    await store.resources.put(resourceOf('foreign', { subscriptionId: 's2' }), change);
    await put('gpt', { enqueuedTokensMax: 100 });
    await put('gpt', { enqueuedTokensMax: 20 }, { owner: stranger });
    await put('o3', { model: 'o3', enqueuedTokensMax: 5 });
    await put('gpt', {}, { owner: { resourceId: 'far', actor: 'a' } });
    await put('gpt', {}, { owner: { resourceId: 'foreign', actor: 'a' } });
    await createBatch(store, 'b1', { enqueuedTokens: 30 });
    await createBatch(store, 'b2', { enqueuedTokens: 7 }, stranger);
    await createBatch(store, 'b3', { enqueuedTokens: 500, deployment: 'without-a-row' });
    const over = await createBatch(store, 'over', { enqueuedTokens: 11 });
    await store.batches.plan(over.seq, planOf(1));
    await endBatch(store, over.seq);

    const here = [
      { model: 'gpt-4o', allocatedTokens: 120, heldTokens: 37 },
      { model: 'o3', allocatedTokens: 5, heldTokens: 0 },
    ].map((usage) => ({ subscriptionId, location, sku: 'GlobalBatch', ...usage }));
    expect(await store.deployments.usages({ subscriptionId, location })).toEqual(here);
    expect(await store.deployments.usages({ subscriptionId })).toEqual([
      ...here,
      expect.objectContaining({ location: 'swedencentral', allocatedTokens: 50_000, heldTokens: 0 }),
    ]);
    expect(await store.deployments.usages({ subscriptionId: 'nobody' })).toEqual([]);
  });
}
