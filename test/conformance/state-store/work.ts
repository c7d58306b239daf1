import { expect, test } from 'vitest';

import {
  batchBySeq,
  endBatch,
  claimAll,
  claimOne,
  held,
  numbers,
  planOf,
  resultOf,
  resultsOf,
  scope,
  startBatch,
} from '../../support/state-store.ts';
import type { Subject } from './subject.ts';

export function workConformance(subject: () => Subject): void {
  test('segments are claimed lowest first, each once, with what the plan says', async () => {
    const { store } = subject();
    const seq = await startBatch(store, 'b1', planOf(3, { requestsEach: 2 }));

    const first = await store.work.claim(seq, { workerId: 'a', segmentsMax: 2 });
    const rest = await claimAll(store, seq, 'b');

    expect(first).toEqual([
      {
        batchSeq: seq,
        index: 0,
        epoch: 1,
        firstLine: 1,
        requests: 2,
        byteStart: 0,
        byteLength: 100,
        crashes: 0,
        suspectLine: null,
        suspectCrashes: 0,
        recordedLines: [],
      },
      expect.objectContaining({ index: 1, firstLine: 3 }),
    ]);
    expect(rest.map((segment) => segment.index)).toEqual([2]);
    expect(await claimAll(store, seq)).toEqual([]);
  });

  test('claims at once never share a segment', async () => {
    const { store } = subject();
    const seq = await startBatch(store, 'b1', planOf(40));

    const claims = await Promise.all(
      numbers(15).map((n) => store.work.claim(seq, { workerId: `w${n}`, segmentsMax: 3 })),
    );

    const indexes = claims.flat().map((segment) => segment.index);
    expect(indexes.toSorted((a, b) => a - b)).toEqual(numbers(40));
  });

  test('a claim whose answer was lost is repeated with what is held; the epochs of the first answer cannot write', async () => {
    const { store } = subject();
    const seq = await startBatch(store, 'b1', planOf(4));
    const [kept, forgotten] = await store.work.claim(seq, { workerId: 'a', segmentsMax: 2 });
    await store.work.claim(seq, { workerId: 'b', segmentsMax: 1 });

    expect(await store.work.claim(seq, { workerId: 'a', segmentsMax: 1, known: [0, 1] })).toMatchObject([
      { index: 3 },
    ]);
    const again = await store.work.claim(seq, { workerId: 'a', segmentsMax: 9, known: [kept!.index, 3] });

    expect(again).toEqual([{ ...forgotten, epoch: 2 }]);
    expect(await store.results.commit([resultOf(forgotten!, 5)])).toEqual([held(forgotten!)]);
    const all = await store.work.claim(seq, { workerId: 'a', segmentsMax: 9, known: [] });
    expect(all.map((segment) => segment.index)).toEqual([0, 1, 3]);
  });

  test('only a batch in progress has segments to claim', async () => {
    const { store } = subject();
    const seq = await startBatch(store, 'b1');
    await store.batches.cancel(scope, 'b1', 1_100);

    expect(await claimAll(store, seq)).toEqual([]);
    expect(await claimAll(store, seq + 1)).toEqual([]);
  });

  test('a released segment is claimed again with a higher epoch, no crash counted, and the lines that it has', async () => {
    const { store } = subject();
    const seq = await startBatch(store, 'b1', planOf(2, { requestsEach: 3, blankLines: 1 }));
    const [first, second] = await claimAll(store, seq);
    await store.results.commit([resultOf(first!, 4), resultOf(first!, 2), resultOf(second!, 7)]);

    await store.work.release([held(first!), { ...held(second!), epoch: 99 }]);

    expect(await claimAll(store, seq)).toEqual([{ ...first, epoch: 2, recordedLines: [2, 4] }]);
    expect(await claimAll(store, seq)).toEqual([]);
  });

  test('what is in doubt when a segment is released counts as sent again, unless its batch is being cancelled', async () => {
    const { store } = subject();
    const seq = await startBatch(store, 'b1', planOf(2));
    const [first, second] = await store.work.claim(seq, { workerId: 'w1', segmentsMax: 2 });

    await store.work.release([
      { ...held(first!), inDoubt: 2 },
      { ...held(second!), epoch: 99, inDoubt: 7 },
    ]);
    expect(await batchBySeq(store, seq)).toMatchObject({ resent: 2 });

    await store.batches.cancel(scope, 'b1', 1_100);
    await store.work.release([{ ...held(second!), inDoubt: 3 }]);
    expect(await batchBySeq(store, seq)).toMatchObject({ resent: 2 });
  });

  test('a finished segment is never claimed again, also when it is released', async () => {
    const { store } = subject();
    const seq = await startBatch(store, 'b1');
    const segment = await claimOne(store, seq);
    await store.results.commit(resultsOf(segment));

    await store.work.release([segment]);

    expect(await claimAll(store, seq)).toEqual([]);
  });

  test('reclaiming takes unfinished segments from dead owners only, blames them and counts what is in doubt', async () => {
    const { store } = subject();
    const seq = await startBatch(store, 'b1', planOf(4));
    const [partly, finished] = await store.work.claim(seq, { workerId: 'dead', segmentsMax: 2 });
    await claimOne(store, seq, 'alive');
    await store.results.commit([...resultsOf(finished!), resultOf(partly!, 1)]);

    expect(await store.work.reclaim('alive')).toEqual({ segments: 1, requests: 3 });

    expect(await batchBySeq(store, seq)).toMatchObject({ resent: 3 });
    const again = await claimAll(store, seq, 'alive');
    expect(again.map(({ index, epoch, crashes }) => ({ index, epoch, crashes }))).toEqual([
      { index: 0, epoch: 3, crashes: 1 },
      { index: 3, epoch: 1, crashes: 0 },
    ]);
    expect(await store.work.reclaim('alive')).toEqual({ segments: 0, requests: 0 });
  });

  test('what was being cancelled when its worker died is taken back but not counted as sent again', async () => {
    const { store } = subject();
    const seq = await startBatch(store, 'b1');
    const segment = await claimOne(store, seq, 'dead');
    await store.batches.cancel(scope, 'b1', 1_100);

    expect(await store.work.reclaim('alive')).toEqual({ segments: 1, requests: 0 });

    expect(await batchBySeq(store, seq)).toMatchObject({ resent: 0 });
    expect(await store.results.commit([resultOf(segment, 1)])).toEqual([held(segment)]);
  });

  test('a terminal batch is not changed by reclaiming', async () => {
    const { store } = subject();
    const seq = await startBatch(store, 'b1');
    await claimOne(store, seq, 'dead');
    await endBatch(store, seq);
    const before = await batchBySeq(store, seq);

    expect(await store.work.reclaim('alive')).toEqual({ segments: 0, requests: 0 });

    expect(await batchBySeq(store, seq)).toEqual(before);
  });

  test('a suspect is blamed for each crash while it was tried, and another suspect starts from none', async () => {
    const { store } = subject();
    const seq = await startBatch(store, 'b1');
    const crash = async (workerId: string, line: number) => {
      const segment = await claimOne(store, seq, workerId);
      expect(await store.work.markSuspect(segment, line)).toBe(true);
      await store.work.reclaim('next');
    };

    await crash('w1', 2);
    await crash('w2', 2);
    const twice = await claimOne(store, seq, 'w3');
    expect(twice).toMatchObject({ crashes: 2, suspectLine: 2, suspectCrashes: 2 });
    await store.work.release([twice]);
    await crash('w4', 3);

    expect(await claimOne(store, seq)).toMatchObject({ crashes: 3, suspectLine: 3, suspectCrashes: 1 });
  });

  test('a crash before its next trial is not the fault of an old suspect', async () => {
    const { store } = subject();
    const seq = await startBatch(store, 'b1');
    await store.work.markSuspect(await claimOne(store, seq, 'w1'), 2);
    await store.work.reclaim('next');
    await claimOne(store, seq, 'w2');

    await store.work.reclaim('next');

    expect(await claimOne(store, seq)).toMatchObject({ crashes: 2, suspectLine: 2, suspectCrashes: 1 });
  });

  test('a stale epoch can neither mark a suspect nor release', async () => {
    const { store } = subject();
    const seq = await startBatch(store, 'b1');
    const stale = await claimOne(store, seq, 'dead');
    await store.work.reclaim('alive');
    const current = await claimOne(store, seq, 'alive');

    expect(await store.work.markSuspect(stale, 1)).toBe(false);
    await store.work.release([stale]);

    expect(await claimAll(store, seq)).toEqual([]);
    expect(await store.work.markSuspect(current, 1)).toBe(true);
  });
}
