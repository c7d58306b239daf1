import { expect, test } from 'vitest';

import type { Resource, ResourceKey } from '../../../src/contract/control.ts';
import {
  batchOf,
  change,
  claimOne,
  createBatch,
  deploymentOf,
  endBatch,
  fileOf,
  NO_LIMITS,
  resourceOf,
  resultsOf,
  scope,
  startBatch,
  stranger,
} from '../../support/state-store.ts';
import type { Subject } from './subject.ts';

const keyOf = (slot: 1 | 2, digest: string): ResourceKey => ({ slot, digest, hint: digest.slice(-4) });

export function resourceConformance(subject: () => Subject): void {
  test('a resource comes back as it was put, and is found by each of its keys', async () => {
    const { resources } = subject().store;
    const resource = resourceOf('alpha', { tags: { 'team "a"': '값\u0000' }, keyAuthDisabled: true });

    expect(await resources.put(resource, change)).toBe('created');
    await resources.putKey('alpha', keyOf(2, 'digest-2'), change);
    await resources.putKey('alpha', keyOf(1, 'digest-1'), change);

    expect(await resources.get('alpha')).toEqual(resource);
    expect(await resources.keys('alpha')).toEqual([keyOf(1, 'digest-1'), keyOf(2, 'digest-2')]);
    for (const key of await resources.keys('alpha'))
      expect(await resources.findByKeyDigest(key.digest)).toEqual({ resource, key });
  });

  test('an unknown resource or key is undefined', async () => {
    const { resources } = subject().store;

    expect(await resources.get('nobody')).toBeUndefined();
    expect(await resources.findByKeyDigest('d1')).toBeUndefined();
    expect(await resources.keys('nobody')).toEqual([]);
  });

  test('a resource that is put again keeps its keys and the time of its making', async () => {
    const { resources } = subject().store;
    await resources.put(resourceOf('alpha', { tags: { a: '1', b: '2' } }), change);
    await resources.putKey('alpha', keyOf(1, 'digest-1'), change);
    const again = resourceOf('alpha', { offer: 'students', tags: { b: '2' }, createdAt: 5_000 });

    expect(await resources.put(again, change)).toBe('updated');

    expect(await resources.get('alpha')).toEqual({ ...again, createdAt: 900 });
    expect(await resources.keys('alpha')).toEqual([keyOf(1, 'digest-1')]);
    const same = { ...again, tags: { b: '2' } };
    expect(await resources.put(same, change)).toBe('unchanged');
  });

  test('resources are listed by name, all or those of a subscription or group', async () => {
    const { resources } = subject().store;
    const put = (id: string, given: Partial<Resource>) => resources.put(resourceOf(id, given), change);
    await put('c', { subscriptionId: 's1', resourceGroup: 'g1' });
    await put('a', { subscriptionId: 's1', resourceGroup: 'g2' });
    await put('b', { subscriptionId: 's2', resourceGroup: 'g1' });
    const ids = async (filter: Parameters<typeof resources.list>[0]) =>
      (await resources.list(filter)).map(({ id }) => id);

    expect(await ids({})).toEqual(['a', 'b', 'c']);
    expect(await ids({ subscriptionId: 's1' })).toEqual(['a', 'c']);
    expect(await ids({ subscriptionId: 's1', resourceGroup: 'g1' })).toEqual(['c']);
    expect(await ids({ resourceGroup: 'g1' })).toEqual(['b', 'c']);
    expect(await ids({ subscriptionId: 'S1' })).toEqual([]);
  });

  test('a new key takes the place of the one in its slot', async () => {
    const { resources } = subject().store;
    await resources.put(resourceOf('alpha'), change);
    await resources.putKey('alpha', keyOf(1, 'old'), change);
    await resources.putKey('alpha', keyOf(2, 'other'), change);

    await resources.putKey('alpha', keyOf(1, 'new'), change);

    expect(await resources.findByKeyDigest('old')).toBeUndefined();
    expect(await resources.keys('alpha')).toEqual([keyOf(1, 'new'), keyOf(2, 'other')]);
  });

  test('a key that moves to the other slot is in that one only', async () => {
    const { resources } = subject().store;
    await resources.put(resourceOf('alpha'), change);
    await resources.putKey('alpha', keyOf(1, 'a'), change);
    await resources.putKey('alpha', keyOf(2, 'b'), change);

    await resources.putKey('alpha', keyOf(1, 'b'), change);

    expect(await resources.keys('alpha')).toEqual([keyOf(1, 'b')]);
  });

  test('a key that was deleted opens nothing, and the other one still does', async () => {
    const { resources, audit } = subject().store;
    await resources.put(resourceOf('alpha'), change);
    await resources.putKey('alpha', keyOf(1, 'a'), change);
    await resources.putKey('alpha', keyOf(2, 'b'), change);

    expect(await resources.deleteKey('alpha', 2, change)).toBe(true);

    expect(await resources.keys('alpha')).toEqual([keyOf(1, 'a')]);
    expect(await resources.findByKeyDigest('b')).toBeUndefined();
    expect((await audit.list({ resourceId: 'alpha', limit: 1 }))[0]).toMatchObject({
      action: 'key.delete',
      target: 'key2',
    });
    expect(await resources.deleteKey('alpha', 2, change)).toBe(false);
  });

  test('a key opens one resource only: a second that claims it is refused and changes nothing', async () => {
    const { resources } = subject().store;
    await resources.put(resourceOf('alpha'), change);
    await resources.put(resourceOf('beta'), change);
    await resources.putKey('alpha', keyOf(1, 'd1'), change);

    const second = resources.putKey('beta', keyOf(1, 'd1'), change);

    await expect(second).rejects.toMatchObject({ name: 'StoreError', transient: false });
    expect(await resources.findByKeyDigest('d1')).toMatchObject({ resource: { id: 'alpha' } });
    expect(await resources.keys('beta')).toEqual([]);
  });

  test('the admin key is unknown until it is set, and the last one counts', async () => {
    const { store } = subject();
    expect(await store.resources.adminKeyDigest()).toBeUndefined();

    await store.resources.setAdminKeyDigest('d1', change);
    await store.resources.setAdminKeyDigest('d2', change);

    expect(await (await subject().reopen()).resources.adminKeyDigest()).toBe('d2');
  });

  test('a deleted resource takes all that it had with it, so that its name can be given again', async () => {
    const { store } = subject();
    for (const id of ['alpha', 'beta']) await store.resources.put(resourceOf(id), change);
    for (const owner of [scope, stranger]) {
      const { resourceId } = owner;
      await store.resources.putKey(resourceId, keyOf(1, `key-of-${resourceId}`), change);
      await store.deployments.put(owner, deploymentOf('gpt'), { quotaTokensMax: null, atS: 2_000 });
      await store.files.insert(owner, fileOf(`file-of-${resourceId}`), NO_LIMITS);
      await createBatch(store, `live-of-${resourceId}`, {}, owner);
    }
    const seq = await startBatch(store, 'with-results');
    await store.results.commit(resultsOf(await claimOne(store, seq)));
    expect(await store.resources.delete('alpha', change)).toBe('in_use');
    for (const { seq: one } of await store.batches.live()) await endBatch(store, one);

    expect(await store.resources.delete('alpha', change)).toBe('deleted');

    await store.resources.put(resourceOf('alpha'), change);
    const orderBy = { field: 'created_at', direction: 'asc' } as const;
    const left = async (owner: typeof scope) => ({
      keys: await store.resources.keys(owner.resourceId),
      deployments: await store.deployments.list(owner),
      files: await store.files.list(owner, { limit: 9, order: 'asc' }),
      batches: await store.batches.list(owner, { limit: 9, orderBy }),
    });
    expect(await left(scope)).toEqual({
      keys: [],
      deployments: [],
      files: { files: [], hasMore: false },
      batches: { batches: [], hasMore: false },
    });
    expect(await left(stranger)).toMatchObject({
      keys: [{}],
      deployments: [{}],
      files: { files: [{}] },
      batches: { batches: [{}] },
    });
    while (await store.results.purge(100));
    expect(await store.batches.bySeq(seq)).toBeUndefined();
    const orphaned = { afterLine: 0, bytesMax: 1e6, rowsMax: 9 };
    expect(await store.results.page(seq, orphaned)).toEqual([]);
    expect(await store.resources.delete('nobody', change)).toBe('not_found');
  });

  test('a resource with a long history is deleted whole, and nobody can use it from the first step on', async () => {
    const { store } = subject();
    for (const id of ['alpha', 'beta']) await store.resources.put(resourceOf(id), change);
    await store.resources.putKey('alpha', keyOf(1, 'd'), change);
    const errors = { data: [], omitted: 0 };
    for (let n = 0; n < 520; n += 1) await createBatch(store, `b${n}`, { errors });
    await store.files.insert(scope, fileOf('f'), NO_LIMITS);
    await createBatch(store, 'foreign', { errors }, stranger);

    expect(await store.resources.delete('alpha', change)).toBe('deleted');

    expect(await store.resources.get('alpha')).toBeUndefined();
    expect(await store.resources.findByKeyDigest('d')).toBeUndefined();
    const orderBy = { field: 'created_at', direction: 'asc' } as const;
    const left = (owner: typeof scope) => store.batches.list(owner, { limit: 100, orderBy });
    expect(await left(scope)).toEqual({ batches: [], hasMore: false });
    expect(await left(stranger)).toMatchObject({ batches: [{ id: 'foreign' }] });
    const audit = await store.audit.list({ resourceId: 'alpha', limit: 9 });
    expect(audit.filter(({ action }) => action === 'resource.delete')).toHaveLength(1);
  });

  test('a deleted resource gives up its idempotency keys', async () => {
    const { store } = subject();
    const create = (id: string) =>
      store.batches.create(scope, batchOf(id, { errors: { data: [], omitted: 0 } }), {
        room: null,
        idempotency: { key: 'k', bodyDigest: 'd' },
      });
    await store.resources.put(resourceOf('alpha'), change);
    await create('before');

    await store.resources.delete('alpha', change);

    expect(await create('after')).toMatchObject({ kind: 'created', batch: { id: 'after' } });
  });
}
