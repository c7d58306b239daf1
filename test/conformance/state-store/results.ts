import { describe, expect, test } from 'vitest';

import {
  batchBySeq,
  endBatch,
  bytes,
  claimAll,
  claimOne,
  held,
  numbers,
  planOf,
  resultOf,
  resultsOf,
  scope,
  startBatch,
  text,
} from '../../support/state-store.ts';
import type { Subject } from './subject.ts';

export function resultConformance(subject: () => Subject): void {
  describe('commit', () => {
    commitContract(subject);
  });
  describe('reading', () => {
    readingContract(subject);
  });
  describe('purge', () => {
    purgeContract(subject);
  });
}

function commitContract(subject: () => Subject): void {
  const lines = async (seq: number) => {
    const rows = await subject().store.results.page(seq, { afterLine: 0, bytesMax: 1e9, rowsMax: 1e6 });
    return rows.map((row) => row.line);
  };

  test('a group moves counters, usage and retries together', async () => {
    const { store } = subject();
    const seq = await startBatch(store, 'b1');
    const segment = await claimOne(store, seq);

    const lost = await store.results.commit([
      resultOf(segment, 1, { retries: 2 }),
      resultOf(segment, 2, {
        ok: false,
        usage: { inputTokens: 0, cachedTokens: 0, outputTokens: 0, reasoningTokens: 0 },
      }),
      resultOf(segment, 4, { retries: 1 }),
    ]);

    expect(lost).toEqual([]);
    expect(await batchBySeq(store, seq)).toMatchObject({
      counts: { total: 4, completed: 2, failed: 1 },
      usage: { inputTokens: 8, cachedTokens: 2, outputTokens: 6, reasoningTokens: 4 },
      retries: 3,
    });
  });

  test('a group may span batches and segments; a lost segment does not lose the rest of the group', async () => {
    const { store } = subject();
    const one = await startBatch(store, 'b1', planOf(2));
    const two = await startBatch(store, 'b2', planOf(1));
    const [a, b] = await claimAll(store, one);
    const c = await claimOne(store, two);
    const stale = { ...held(b!), epoch: 0 };

    const lost = await store.results.commit([
      resultOf(c, 1),
      resultOf(stale, 5),
      resultOf(a!, 1),
      resultOf(stale, 6),
      resultOf({ batchSeq: 9_999, index: 3, epoch: 1 }, 1),
    ]);

    expect(lost).toEqual([stale, { batchSeq: 9_999, index: 3, epoch: 1 }]);
    expect(await lines(one)).toEqual([1]);
    expect(await lines(two)).toEqual([1]);
    expect(await batchBySeq(store, one)).toMatchObject({ counts: { completed: 1, failed: 0 } });
  });

  test('an older epoch cannot write once the segment was claimed again', async () => {
    const { store } = subject();
    const seq = await startBatch(store, 'b1');
    const zombie = await claimOne(store, seq, 'dead');
    await store.work.reclaim('alive');
    const current = await claimOne(store, seq, 'alive');

    expect(await store.results.commit(resultsOf(zombie))).toEqual([held(zombie)]);
    expect(await lines(seq)).toEqual([]);
    expect(await store.results.commit([resultOf(current, 1)])).toEqual([]);

    expect(await batchBySeq(store, seq)).toMatchObject({ counts: { completed: 1 } });
  });

  test('a line that has a result keeps it, and is counted once', async () => {
    const { store } = subject();
    const seq = await startBatch(store, 'b1');
    const segment = await claimOne(store, seq);
    const first = resultOf(segment, 1, { payload: bytes('first') });

    await store.results.commit([first, resultOf(segment, 1, { payload: bytes('again'), ok: false })]);
    expect(
      await store.results.commit([first, resultOf(segment, 1, { ok: false }), resultOf(segment, 2)]),
    ).toEqual([]);

    const rows = await store.results.page(seq, { afterLine: 0, bytesMax: 1e6, rowsMax: 10 });
    expect(rows.map((row) => [row.line, row.ok, text(row.payload)])).toEqual([
      [1, true, 'first'],
      [2, true, '{"line":2}'],
    ]);
    expect(await batchBySeq(store, seq)).toMatchObject({
      counts: { completed: 2, failed: 0 },
      usage: { inputTokens: 8 },
    });
    expect(await store.results.completeThrough(seq)).toBe(2);
  });

  test('a group that was committed and comes again, as after a lost answer, changes nothing', async () => {
    const { store } = subject();
    const seq = await startBatch(store, 'b1', planOf(1, { requestsEach: 64 }));
    const group = resultsOf(await claimOne(store, seq));
    await store.results.commit(group);
    const before = await batchBySeq(store, seq);

    expect(await store.results.commit(group)).toEqual([]);

    expect(await batchBySeq(store, seq)).toEqual(before);
    expect(await store.batches.startFinalizing(seq, 2_000)).toBe(true);
  });

  test('results that arrive while the batch is cancelling are kept; in any later state they are lost', async () => {
    const { store } = subject();
    const seq = await startBatch(store, 'b1');
    const segment = await claimOne(store, seq);
    await store.batches.cancel(scope, 'b1', 1_100);

    expect(await store.results.commit([resultOf(segment, 1)])).toEqual([]);
    await store.batches.publish(seq, {
      from: 'cancelling',
      to: 'cancelled',
      atS: 1_200,
      completed: 1,
      failed: 3,
      files: [],
    });
    expect(await store.results.commit([resultOf(segment, 2)])).toEqual([held(segment)]);

    expect(await lines(seq)).toEqual([1]);
    expect(await batchBySeq(store, seq)).toMatchObject({ counts: { total: 4, completed: 1, failed: 3 } });
  });

  test('a batch is finalized only once every request has a result', async () => {
    const { store } = subject();
    const seq = await startBatch(store, 'b1', planOf(2));
    const [first, second] = await claimAll(store, seq);
    await store.results.commit([...resultsOf(first!), ...resultsOf(second!).slice(1)]);
    expect(await store.batches.startFinalizing(seq, 1_100)).toBe(false);

    await store.results.commit([resultOf(second!, second!.firstLine, { ok: false })]);

    expect(await store.batches.startFinalizing(seq, 1_100)).toBe(true);
    expect(await batchBySeq(store, seq)).toMatchObject({
      status: 'finalizing',
      finalizingAt: 1_100,
      counts: { total: 8, completed: 7, failed: 1 },
    });
    expect(await store.batches.startFinalizing(seq, 1_200)).toBe(false);
  });

  test('a publication that lacks recorded results is a broken invariant', async () => {
    const { store } = subject();
    const seq = await startBatch(store, 'b1');
    await store.results.commit(resultsOf(await claimOne(store, seq)));
    await store.batches.startFinalizing(seq, 1_100);

    const short = store.batches.publish(seq, {
      from: 'finalizing',
      to: 'completed',
      atS: 1_200,
      completed: 3,
      failed: 0,
      files: [],
    });

    await expect(short).rejects.toMatchObject({ name: 'AssertionError' });
  });

  test('groups, claims and cancels at once never mix: every count matches its rows', async () => {
    const { store } = subject();
    const seqs = await Promise.all(
      numbers(4).map((n) => startBatch(store, `b${n}`, planOf(10, { requestsEach: 8 }))),
    );
    const drain = async (seq: number, workerId: string) => {
      for (;;) {
        const [segment] = await store.work.claim(seq, { workerId, segmentsMax: 1 });
        if (!segment) return;
        const results = resultsOf(segment);
        await Promise.all([
          store.results.commit(results.slice(0, 5)),
          store.results.commit(results.slice(3)),
          store.batches.list(scope, { orderBy: { field: 'status', direction: 'asc' }, limit: 5 }),
          store.files
            .insert(scope, { ...duplicate }, { withoutExpiryMax: 1e6, withExpiryMax: 0 })
            .catch(() => 'refused'),
        ]);
      }
    };
    const duplicate = {
      id: 'always-the-same',
      blobId: 'always-the-same',
      resourceId: scope.resourceId,
      filename: 'duplicate',
      purpose: 'batch',
      bytes: 1,
      sha256: '',
      createdAt: 1,
      expiresAt: null,
    } as const;

    await Promise.all([
      ...seqs.flatMap((seq) => [drain(seq, 'w1'), drain(seq, 'w2')]),
      store.batches.cancel(scope, 'b3', 1_100),
    ]);

    for (const seq of seqs) {
      const batch = await batchBySeq(store, seq);
      expect(batch.counts.completed).toBe((await lines(seq)).length);
      expect(batch.usage.inputTokens).toBe(4 * batch.counts.completed);
      expect(batch.status === 'in_progress' ? batch.counts.completed : 80).toBe(80);
    }
    expect(await store.files.existing(['always-the-same'])).toHaveLength(1);
  });
}

function readingContract(subject: () => Subject): void {
  test('payloads come back byte by byte, also when they are slices of a larger buffer', async () => {
    const { store } = subject();
    const seq = await startBatch(store, 'b1');
    const segment = await claimOne(store, seq);
    const all = Uint8Array.from({ length: 256 }, (_, byte) => byte);

    await store.results.commit([
      resultOf(segment, 1, { payload: all }),
      resultOf(segment, 2, { payload: all.subarray(10, 20) }),
      resultOf(segment, 3, { payload: Buffer.from('한국어') }),
      resultOf(segment, 4, { payload: new Uint8Array() }),
    ]);

    const rows = await store.results.page(seq, { afterLine: 0, bytesMax: 1e6, rowsMax: 10 });
    expect(rows.map((row) => [...row.payload])).toEqual([
      [...all],
      [...all.subarray(10, 20)],
      [...Buffer.from('한국어')],
      [],
    ]);
  });

  test('a page ends at its rows or bytes, but has at least one row', async () => {
    const { store } = subject();
    const seq = await startBatch(store, 'b1', planOf(1, { requestsEach: 5 }));
    const segment = await claimOne(store, seq);
    const payload = new Uint8Array(100);
    await store.results.commit(
      [5, 3, 1, 2, 4].map((line) => resultOf(segment, line, { payload, ok: line !== 3 })),
    );
    const page = async (query: object) =>
      (await store.results.page(seq, { afterLine: 0, bytesMax: 1e6, rowsMax: 10, ...query })).map(
        (row) => row.line,
      );

    expect(await page({})).toEqual([1, 2, 3, 4, 5]);
    expect(await page({ rowsMax: 2 })).toEqual([1, 2]);
    expect(await page({ bytesMax: 300 })).toEqual([1, 2, 3]);
    expect(await page({ bytesMax: 299 })).toEqual([1, 2]);
    expect(await page({ bytesMax: 1 })).toEqual([1]);
    expect(await page({ afterLine: 2 })).toEqual([3, 4, 5]);
    expect(await page({ afterLine: 5 })).toEqual([]);
    expect(await page({ ok: true, bytesMax: 300 })).toEqual([1, 2, 4]);
    expect(await page({ ok: false })).toEqual([3]);
  });

  test('completeThrough follows the lines without a gap, over segments and blank lines', async () => {
    const { store } = subject();
    // Lines 2-4, 6-8 and 10-12; 1, 5 and 9 are blank.
    const seq = await startBatch(store, 'b1', planOf(3, { requestsEach: 3, blankLines: 1 }));
    const [a, b, c] = await claimAll(store, seq);
    const after = async (segment: typeof a, line: number) => {
      await store.results.commit([resultOf(segment!, line)]);
      return store.results.completeThrough(seq);
    };

    expect(await store.results.completeThrough(seq)).toBe(0);
    expect(await after(a, 3)).toBe(0);
    expect(await after(a, 2)).toBe(3);
    expect(await after(b, 6)).toBe(3);
    expect(await after(a, 4)).toBe(6);
    expect(await after(b, 8)).toBe(6);
    expect(await after(c, 12)).toBe(6);
    expect(await after(b, 7)).toBe(8);
    expect(await after(c, 11)).toBe(8);
    expect(await after(c, 10)).toBe(12);
  });

  test('count has the results of an outcome up to a line', async () => {
    const { store } = subject();
    const seq = await startBatch(store, 'b1', planOf(3));
    const claimed = await claimAll(store, seq);
    await store.results.commit(
      claimed
        .flatMap((segment) => resultsOf(segment))
        .map((result) => ({ ...result, ok: result.line % 3 !== 0 })),
    );
    const count = (throughLine: number, ok: boolean) => store.results.count(seq, { throughLine, ok });

    for (const throughLine of [0, 1, 3, 4, 5, 9, 11, 12, 500]) {
      const failed = Math.floor(Math.min(throughLine, 12) / 3);
      expect(await count(throughLine, false)).toBe(failed);
      expect(await count(throughLine, true)).toBe(Math.min(throughLine, 12) - failed);
    }
  });
}

function purgeContract(subject: () => Subject): void {
  test('results and segments of terminal batches go, a bounded number at a time; live ones stay', async () => {
    const { store } = subject();
    const done = await startBatch(store, 'done', planOf(3, { requestsEach: 4 }));
    const live = await startBatch(store, 'live');
    for (const seq of [done, live])
      await store.results.commit((await claimAll(store, seq)).flatMap((segment) => resultsOf(segment)));
    await store.batches.startFinalizing(done, 1_100);
    await store.batches.publish(done, {
      from: 'finalizing',
      to: 'completed',
      atS: 1_200,
      completed: 12,
      failed: 0,
      files: [],
    });
    const left = async (seq: number) =>
      (await store.results.page(seq, { afterLine: 0, bytesMax: 1e6, rowsMax: 100 })).length;

    expect(await store.results.purge(5)).toBe(true);
    expect(await left(done)).toBe(7);
    let calls = 1;
    while (await store.results.purge(5)) calls += 1;

    expect(calls).toBeLessThanOrEqual(4);
    expect(await left(done)).toBe(0);
    expect(await left(live)).toBe(4);
    expect(await store.results.purge(5)).toBe(false);
    expect(await batchBySeq(store, done)).toMatchObject({ counts: { total: 12, completed: 12 } });
  });

  test('every terminal batch is reached, and one that is failed by its faults has nothing to purge', async () => {
    const { store } = subject();
    for (const id of ['b1', 'b2', 'b3']) {
      const seq = await startBatch(store, id);
      await store.results.commit(resultsOf(await claimOne(store, seq)));
      await endBatch(store, seq);
    }

    while (await store.results.purge(100));

    for (const id of ['b1', 'b2', 'b3']) {
      const batch = await store.batches.get(scope, id);
      expect(await store.results.page(batch!.seq, { afterLine: 0, bytesMax: 1e6, rowsMax: 10 })).toEqual([]);
    }
  });
}
