import { expect, test } from 'vitest';

import {
  batchOf,
  change,
  createBatch,
  endBatch,
  fileOf,
  NO_LIMITS,
  numbers,
  planOf,
  resourceOf,
  scope,
  stranger,
} from '../../support/state-store.ts';
import type { Subject } from './subject.ts';

export function retentionConformance(subject: () => Subject): void {
  const listed = async () => {
    const orderBy = { field: 'created_at', direction: 'asc' } as const;
    const page = await subject().store.batches.list(scope, { orderBy, limit: 100 });
    return page === 'unknown_after' ? [] : page.batches.map(({ id }) => id);
  };
  const makeResources = async () => {
    for (const { resourceId } of [scope, stranger])
      await subject().store.resources.put(resourceOf(resourceId), change);
  };
  const purged = async () => {
    while (await subject().store.results.purge(1_000));
  };

  test('ended batches go by their end, with their own output and error files alone; live ones stay', async () => {
    const { store } = subject();
    await makeResources();
    await createBatch(store, 'live', { createdAt: 10 });
    const late = await createBatch(store, 'late', { createdAt: 10 });
    const early = await createBatch(store, 'early', { createdAt: 10 });
    await createBatch(store, 'foreign', { createdAt: 10, errors: { data: [], omitted: 0 } }, stranger);
    await createBatch(store, 'young', { createdAt: 60, errors: { data: [], omitted: 0 } });
    await endBatch(store, late.seq, 51);
    await store.batches.plan(early.seq, planOf(0, { atS: 20 }));
    await store.batches.startFinalizing(early.seq, 30);
    await store.batches.publish(early.seq, {
      from: 'finalizing',
      to: 'completed',
      atS: 50,
      completed: 0,
      failed: 0,
      files: [fileOf(early.outputFileId, { purpose: 'batch_output', blobId: `${early.outputFileId}_1` })],
    });
    await store.files.insert(scope, fileOf(early.inputFileId), NO_LIMITS);
    expect(await store.retention.pruneBatches({ byS: 50, limit: 10 })).toMatchObject({ batches: 1 });
    await purged();

    const pruned = await store.retention.pruneBatches({ byS: 50, limit: 10 });

    expect(pruned).toEqual({ batches: 1, blobIds: [`${early.outputFileId}_1`] });
    expect(await listed()).toEqual(['live', 'late', 'young']);
    expect(await store.files.get(scope, early.outputFileId)).toBeUndefined();
    expect(await store.files.get(scope, early.inputFileId)).toMatchObject({ id: early.inputFileId });
    // Whatever happens now, its bytes go by this record.
    expect(await store.files.removals({ afterId: '', limit: 9 })).toEqual([`${early.outputFileId}_1`]);
    expect(await store.batches.get(stranger, 'foreign')).toBeUndefined();
  });

  test('files go by their age, except what a live batch reads and what has an expiry of its own', async () => {
    const { store } = subject();
    await makeResources();
    for (const [id, createdAt, expiresAt] of [
      ['old', 10, null],
      ['read', 10, null],
      ['own', 10, 99],
      ['young', 60, null],
    ] as const)
      await store.files.insert(scope, fileOf(id, { createdAt, expiresAt }), NO_LIMITS);
    const live = await createBatch(store, 'live', { inputFileId: 'read' });

    expect(await store.retention.pruneFiles({ byS: 50, limit: 10 })).toEqual(['old']);
    await endBatch(store, live.seq);
    expect(await store.retention.pruneFiles({ byS: 50, limit: 10 })).toEqual(['read']);

    const page = await store.files.list(scope, { limit: 9, order: 'asc' });
    expect(page).toMatchObject({ files: [{ id: 'own' }, { id: 'young' }] });
    expect(await store.files.removals({ afterId: '', limit: 9 })).toEqual(['old', 'read']);
  });

  test('a call removes no more than its limit, over all resources', async () => {
    const { store } = subject();
    await makeResources();
    const errors = { data: [], omitted: 0 };
    for (const n of numbers(7)) {
      const owner = n % 2 === 0 ? scope : stranger;
      await createBatch(store, `b${n}`, { createdAt: 10, errors }, owner);
      await store.files.insert(owner, fileOf(`f${n}`, { createdAt: 10 }), NO_LIMITS);
    }
    const query = { byS: 50, limit: 3 };

    const batches = [];
    for (let n = 0; n < 4; n += 1) batches.push((await store.retention.pruneBatches(query)).batches);
    const files = [];
    for (let n = 0; n < 4; n += 1) files.push((await store.retention.pruneFiles(query)).length);

    expect([batches, files]).toEqual([
      [3, 3, 1, 0],
      [3, 3, 1, 0],
    ]);
  });

  test('audit entries go from the oldest on, up to the first that is kept', async () => {
    const { store } = subject();
    for (const atS of [10, 20, 60, 30])
      await store.resources.put(resourceOf(`r${atS}`), { actor: 'admin', atS });

    expect(await store.retention.pruneAudit({ byS: 50, limit: 1 })).toBe(1);
    expect(await store.retention.pruneAudit({ byS: 50, limit: 10 })).toBe(1);
    expect(await store.retention.pruneAudit({ byS: 50, limit: 10 })).toBe(0);

    const left = await store.audit.list({ resourceId: null, limit: 9 });
    expect(left.map(({ atS }) => atS)).toEqual([30, 60]);
    expect(await store.retention.pruneAudit({ byS: 60, limit: 10 })).toBe(2);
  });

  test('idempotency keys go by time, without any create; one whose batch is gone can be used again', async () => {
    const { store } = subject();
    await makeResources();
    const create = (id: string, createdAt: number, bodyDigest = 'd') =>
      store.batches.create(scope, batchOf(id, { createdAt, errors: { data: [], omitted: 0 } }), {
        room: null,
        idempotency: { key: 'k', bodyDigest },
      });
    await create('b1', 10);
    expect(await create('b2', 20)).toMatchObject({ kind: 'replayed' });

    await store.retention.pruneBatches({ byS: 50, limit: 10 });
    expect(await create('b3', 60, 'other')).toMatchObject({ kind: 'created', batch: { id: 'b3' } });
    expect(await create('b4', 61)).toEqual({ kind: 'idempotency_mismatch' });

    expect(await store.retention.pruneIdempotencyKeys({ byS: 59, limit: 10 })).toBe(0);
    expect(await store.retention.pruneIdempotencyKeys({ byS: 60, limit: 10 })).toBe(1);
    expect(await create('b5', 62)).toMatchObject({ kind: 'created' });
  });
}
