import { describe, expect, test } from 'vitest';

import type { BatchErrors } from '../../../src/contract/batch.ts';
import {
  batchBySeq,
  batchOf,
  createBatch,
  endBatch,
  fileOf,
  heldBy,
  NO_LIMITS,
  numbers,
  planOf,
  scope,
  startBatch,
  upTo,
} from '../../support/state-store.ts';
import type { Subject } from './subject.ts';

const errors: BatchErrors = {
  data: [{ code: 'url_mismatch', message: "Line 2: '\u0000' is not the batch's", param: 'url', line: 2 }],
  omitted: 3,
};

export function batchConformance(subject: () => Subject): void {
  describe('create', () => {
    createContract(subject);
  });

  test('a batch is found by its id, by its seq and by the files that it reserved', async () => {
    const { store } = subject();
    const batch = await createBatch(store, 'b1', {
      metadata: { 'key "1"': '값\u0000' },
      dialect: 'openai',
    });

    expect(batch.dialect).toBe('openai');
    expect(batch.metadata).toEqual({ 'key "1"': '값\u0000' });
    expect(await store.batches.get(scope, 'b1')).toEqual(batch);
    expect(await store.batches.bySeq(batch.seq)).toEqual(batch);
    expect(await store.batches.findByProducedFile(scope, batch.outputFileId)).toEqual(batch);
    expect(await store.batches.findByProducedFile(scope, batch.errorFileId)).toEqual(batch);
    expect(await store.batches.findByProducedFile(scope, batch.inputFileId)).toBeUndefined();
    expect(await store.batches.get(scope, 'b1\u0000')).toBeUndefined();
    expect(await store.batches.bySeq(batch.seq + 1)).toBeUndefined();
  });

  test('a batch names the bytes of its input, also once its file is deleted', async () => {
    const { store } = subject();
    await store.files.insert(scope, fileOf('file-1', { blobId: 'file-1_second' }), NO_LIMITS);
    const batch = await createBatch(store, 'b1', { inputFileId: 'file-1', inputBlobId: 'file-1_second' });

    await store.files.delete(scope, 'file-1', 2_000);

    expect(await store.batches.bySeq(batch.seq)).toMatchObject({
      inputFileId: 'file-1',
      inputBlobId: 'file-1_second',
    });
  });

  test('seqs are never given twice and grow', async () => {
    const { store } = subject();

    const seqs = (await Promise.all(numbers(10).map((n) => createBatch(store, `b${n}`)))).map((b) => b.seq);

    expect(new Set(seqs).size).toBe(10);
    expect(await createBatch(store, 'last')).toMatchObject({ seq: Math.max(...seqs) + 1 });
  });

  test('live batches of all resources come oldest first, without the terminal ones', async () => {
    const { store } = subject();
    await createBatch(store, 'validating');
    await startBatch(store, 'running', planOf(1), { resourceId: 'beta', actor: 'cli' });
    const failed = await createBatch(store, 'failed');
    await endBatch(store, failed.seq);

    const live = await store.batches.live();

    expect(live.map((batch) => batch.id)).toEqual(['validating', 'running']);
  });

  test('a plan starts the batch with its segments, deployment and tokens', async () => {
    const { store } = subject();
    const { seq } = await createBatch(store, 'b1', { deployment: null, enqueuedTokens: 0 });

    const outcome = await store.batches.plan(seq, planOf(1_200, { deployment: 'gpt', enqueuedTokens: 77 }));

    expect(outcome).toBe('planned');
    expect(await batchBySeq(store, seq)).toMatchObject({
      status: 'in_progress',
      inProgressAt: 1_010,
      deployment: 'gpt',
      enqueuedTokens: 77,
      counts: { total: 4_800, completed: 0, failed: 0 },
    });
    expect(await store.work.claim(seq, { workerId: 'w', segmentsMax: 2_000 })).toHaveLength(1_200);
    expect(await store.batches.plan(seq, planOf(1))).toBe('stale');
    expect(await store.batches.plan(seq + 1, planOf(1))).toBe('stale');
  });

  test('a plan that would pass the limit of its deployment changes nothing', async () => {
    const { store } = subject();
    await createBatch(store, 'other', { enqueuedTokens: 60 });
    const batch = await createBatch(store, 'b1', { enqueuedTokens: 1 });
    const plan = (enqueuedTokens: number) =>
      store.batches.plan(batch.seq, planOf(1, { enqueuedTokens, room: upTo(100) }));

    expect(await plan(41)).toBe('token_limit_exceeded');

    expect(await batchBySeq(store, batch.seq)).toEqual(batch);
    expect(await plan(40)).toBe('planned');
  });

  test('of plans at once exactly those that fit are planned', async () => {
    const { store } = subject();
    const batches = await Promise.all(
      numbers(20).map((n) => createBatch(store, `b${n}`, { enqueuedTokens: 0 })),
    );

    const outcomes = await Promise.all(
      batches.map(({ seq }) => store.batches.plan(seq, planOf(1, { enqueuedTokens: 10, room: upTo(75) }))),
    );

    expect(outcomes.filter((outcome) => outcome === 'planned')).toHaveLength(7);
    expect(await heldBy(store, 'gpt')).toBe(70);
  });

  test('a batch fails from what it is known to do, gives up its work and its tokens, and stays failed', async () => {
    const { store } = subject();
    const seq = await startBatch(store, 'b1', planOf(2));

    expect(await store.batches.fail(seq, { from: 'validating', atS: 1_100, errors })).toBe(false);
    expect(await store.batches.fail(seq, { from: 'in_progress', atS: 1_100, errors })).toBe(true);

    expect(await batchBySeq(store, seq)).toMatchObject({ status: 'failed', failedAt: 1_100, errors });
    expect(await store.work.claim(seq, { workerId: 'w', segmentsMax: 9 })).toEqual([]);
    expect(await heldBy(store, 'gpt')).toBe(0);
    expect(await endBatch(store, seq)).toBe(false);
    expect(await store.batches.startFinalizing(seq, 1_200)).toBe(false);
    const published = { from: 'in_progress', to: 'expired', atS: 1_200, completed: 0, failed: 8 } as const;
    expect(await store.batches.publish(seq, { ...published, files: [] })).toBe(false);
  });

  test('a live batch is cancelled once; a terminal one comes back unchanged', async () => {
    const { store } = subject();
    const seq = await startBatch(store, 'b1');

    const cancelling = await store.batches.cancel(scope, 'b1', 1_100);

    expect(cancelling).toMatchObject({ status: 'cancelling', cancellingAt: 1_100 });
    expect(await store.batches.cancel(scope, 'b1', 1_200)).toEqual(cancelling);
    await store.batches.publish(seq, {
      from: 'cancelling',
      to: 'cancelled',
      atS: 1_300,
      completed: 0,
      failed: 4,
      files: [],
    });
    const cancelled = await store.batches.get(scope, 'b1');
    expect(cancelled).toMatchObject({ status: 'cancelled', cancelledAt: 1_300 });
    expect(await store.batches.cancel(scope, 'b1', 1_400)).toEqual(cancelled);
    expect(await store.batches.cancel(scope, 'unknown', 1_400)).toBeUndefined();
  });

  test('publishing stores the files, the counts and the end, and releases the tokens, as one fact', async () => {
    const { store } = subject();
    const seq = await startBatch(store, 'b1');
    await store.batches.cancel(scope, 'b1', 1_100);
    const files = [fileOf('out', { purpose: 'batch_output' }), fileOf('err', { purpose: 'batch_output' })];
    const publication = {
      from: 'cancelling',
      to: 'cancelled',
      atS: 1_200,
      completed: 1,
      failed: 3,
      files,
    } as const;

    expect(await store.batches.publish(seq, { ...publication, from: 'finalizing' })).toBe(false);
    expect(await store.files.get(scope, 'out')).toBeUndefined();
    expect(await store.batches.publish(seq, publication)).toBe(true);

    expect(await batchBySeq(store, seq)).toMatchObject({
      status: 'cancelled',
      counts: { total: 4, completed: 1, failed: 3 },
    });
    expect(await store.files.get(scope, 'out')).toEqual(files[0]);
    expect(await store.files.get(scope, 'err')).toEqual(files[1]);
    expect(await heldBy(store, 'gpt')).toBe(0);
    expect(await store.batches.publish(seq, publication)).toBe(false);
  });

  test('a batch that cannot go on is published as failed, with its errors, and keeps its total', async () => {
    const { store } = subject();
    const seq = await startBatch(store, 'b1');
    const error = { code: 'input_modified', message: 'changed', param: 'input_file_id', line: null } as const;
    const errors = { data: [error], omitted: 0 };
    const files = [fileOf('out', { purpose: 'batch_output' })];

    const publication = { from: 'in_progress', to: 'failed', atS: 1_200, completed: 1, failed: 0 } as const;
    expect(await store.batches.publish(seq, { ...publication, files, errors })).toBe(true);

    expect(await batchBySeq(store, seq)).toMatchObject({
      status: 'failed',
      failedAt: 1_200,
      counts: { total: 4, completed: 1, failed: 0 },
      errors,
    });
    expect(await store.files.get(scope, 'out')).toEqual(files[0]);
    expect(await heldBy(store, 'gpt')).toBe(0);
  });

  test('a publication whose files cannot be stored changes nothing', async () => {
    const { store } = subject();
    const seq = await startBatch(store, 'b1');
    await store.batches.cancel(scope, 'b1', 1_100);
    const before = await batchBySeq(store, seq);

    const twice = store.batches.publish(seq, {
      from: 'cancelling',
      to: 'cancelled',
      atS: 1_200,
      completed: 0,
      failed: 4,
      files: [fileOf('same'), fileOf('same')],
    });

    await expect(twice).rejects.toMatchObject({ name: 'StoreError', reason: 'other' });
    expect(await store.files.get(scope, 'same')).toBeUndefined();
    expect(await batchBySeq(store, seq)).toEqual(before);
  });

  test('a transition that the table does not have is a broken invariant', async () => {
    const { store } = subject();
    const seq = await startBatch(store, 'b1');

    const wrong = store.batches.publish(seq, {
      from: 'in_progress',
      to: 'completed',
      atS: 1_200,
      completed: 4,
      failed: 0,
      files: [],
    });

    await expect(wrong).rejects.toMatchObject({ name: 'AssertionError' });
    expect(await batchBySeq(store, seq)).toMatchObject({ status: 'in_progress' });
  });

  test('timestamps never go back within a batch, whatever the clock says', async () => {
    const { store } = subject();
    const { seq } = await createBatch(store, 'b1', { createdAt: 5_000 });

    await store.batches.plan(seq, planOf(1, { atS: 6_000 }));
    await store.batches.cancel(scope, 'b1', 100);
    await store.batches.publish(seq, {
      from: 'cancelling',
      to: 'cancelled',
      atS: 200,
      completed: 0,
      failed: 4,
      files: [],
    });

    expect(await batchBySeq(store, seq)).toMatchObject({
      createdAt: 5_000,
      inProgressAt: 6_000,
      cancellingAt: 6_000,
      cancelledAt: 6_000,
    });
  });
}

function createContract(subject: () => Subject): void {
  const create = (id: string, given = {}, options = {}) =>
    subject().store.batches.create(scope, batchOf(id, given), { room: null, ...options });

  test('a new batch is validating and holds its tokens', async () => {
    const outcome = await create('b1', { enqueuedTokens: 30 });

    expect(outcome).toMatchObject({
      kind: 'created',
      enqueuedTokens: 30,
      batch: {
        id: 'b1',
        resourceId: 'alpha',
        status: 'validating',
        completionWindow: '24h',
        inputFileId: 'file-input-of-b1',
        inputBlobId: 'file-input-of-b1',
        outputFileId: 'file-output-of-b1',
        errorFileId: 'file-errors-of-b1',
        inProgressAt: null,
        failedAt: null,
        counts: { total: 0, completed: 0, failed: 0 },
        usage: { inputTokens: 0, cachedTokens: 0, outputTokens: 0, reasoningTokens: 0 },
        retries: 0,
        resent: 0,
        errors: null,
      },
    });
  });

  test('a batch with known faults is created as failed and holds no tokens, whatever the limit', async () => {
    const outcome = await create('b1', { enqueuedTokens: 500, errors }, { room: upTo(10) });

    expect(outcome).toMatchObject({
      kind: 'created',
      enqueuedTokens: 0,
      batch: { status: 'failed', failedAt: 1_000, errors },
    });
    expect(await subject().store.batches.live()).toEqual([]);
  });

  test('the limit counts live batches of the same resource and deployment only', async () => {
    const { store } = subject();
    const limit = { room: upTo(100) };
    await create('a', { enqueuedTokens: 60 }, limit);
    await create('elsewhere', { enqueuedTokens: 60, deployment: 'other' }, limit);
    await createBatch(store, 'foreign', { enqueuedTokens: 60 }, { resourceId: 'beta', actor: 'cli' });

    expect(await create('b', { enqueuedTokens: 41 }, limit)).toEqual({
      kind: 'token_limit_exceeded',
      enqueuedTokens: 60,
    });
    expect(await create('c', { enqueuedTokens: 40 }, limit)).toMatchObject({
      kind: 'created',
      enqueuedTokens: 100,
    });

    expect(await store.batches.get(scope, 'b')).toBeUndefined();
    expect(await heldBy(store, 'gpt')).toBe(100);
  });

  test('of 50 creates at once exactly those that fit are admitted', async () => {
    const { store } = subject();

    const outcomes = await Promise.all(
      numbers(50).map((n) => create(`b${n}`, { enqueuedTokens: 30 }, { room: upTo(1_000) })),
    );

    expect(outcomes.filter((outcome) => outcome.kind === 'created')).toHaveLength(33);
    expect(outcomes.filter((outcome) => outcome.kind === 'token_limit_exceeded')).toHaveLength(17);
    expect(await heldBy(store, 'gpt')).toBe(990);
    expect(await store.batches.live()).toHaveLength(33);
  });

  test('a key with the same body replays the batch as it is now; another body is a mismatch', async () => {
    const { store } = subject();
    const idempotency = { key: 'k', bodyDigest: 'd' };
    await create('first', {}, { idempotency });
    const cancelled = await store.batches.cancel(scope, 'first', 1_005);

    expect(await create('second', {}, { idempotency, room: upTo(0) })).toEqual({
      kind: 'replayed',
      batch: cancelled,
      enqueuedTokens: 10,
    });
    expect(await create('third', {}, { idempotency: { key: 'k', bodyDigest: 'other' } })).toEqual({
      kind: 'idempotency_mismatch',
    });

    expect(await store.batches.live()).toHaveLength(1);
  });

  test('of ten creates at once with one key one makes the batch and nine replay it', async () => {
    const outcomes = await Promise.all(
      numbers(10).map((n) => create(`b${n}`, {}, { idempotency: { key: 'k', bodyDigest: 'd' } })),
    );

    expect(outcomes.filter((outcome) => outcome.kind === 'created')).toHaveLength(1);
    expect(outcomes.filter((outcome) => outcome.kind === 'replayed')).toHaveLength(9);
    expect(new Set(outcomes.map((outcome) => 'batch' in outcome && outcome.batch.id)).size).toBe(1);
  });

  test('a key is kept for 24 hours, and per resource', async () => {
    const { store } = subject();
    const idempotency = { key: 'k', bodyDigest: 'd' };
    const at = (id: string, createdAt: number) => create(id, { createdAt }, { idempotency });
    await at('first', 1_000);

    const foreign = await store.batches.create({ resourceId: 'beta', actor: 'cli' }, batchOf('foreign'), {
      room: null,
      idempotency,
    });

    expect(foreign).toMatchObject({ kind: 'created' });
    expect(await at('in-time', 1_000 + 86_399)).toMatchObject({ kind: 'replayed', batch: { id: 'first' } });
    expect(await at('too-late', 1_000 + 86_400)).toMatchObject({
      kind: 'created',
      batch: { id: 'too-late' },
    });
    expect(await at('again', 1_000 + 86_401)).toMatchObject({ kind: 'replayed', batch: { id: 'too-late' } });
  });

  test('a refused create does not use up its key', async () => {
    const idempotency = { key: 'k', bodyDigest: 'd' };

    expect(await create('b1', {}, { idempotency, room: upTo(9) })).toMatchObject({
      kind: 'token_limit_exceeded',
    });
    expect(await create('b1', {}, { idempotency, room: upTo(10) })).toMatchObject({ kind: 'created' });
  });
}
