import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { ManualClock } from '../../../test/support/manual-clock.ts';
import { temporarySqlite } from '../../../test/support/sqlite.ts';
import {
  batchBySeq,
  bytes,
  claimOne,
  planOf,
  resultOf,
  startBatch,
} from '../../../test/support/state-store.ts';
import { noFailpoints } from '../../core/failpoint.ts';
import { silentLog } from '../../core/log.ts';
import { StoreError, type ClaimedSegment, type StateStore } from '../../stores/state/ports.ts';
import { Recorder, type RecorderOptions } from './recorder.ts';

let store: StateStore;
let remove: () => Promise<void>;
let clock: ManualClock;
let segment: ClaimedSegment;
/** What happens to a commit before it reaches the store, or after it. */
let before: () => void | Promise<void>;
let after: () => void;
let fatal: unknown;
/** Lines by what became of them, in the order in which that was reported. */
let settled: [line: number, outcome: 'recorded' | 'lost'][];

beforeEach(async () => {
  ({ store, remove } = await temporarySqlite());
  clock = new ManualClock();
  before = after = () => {};
  fatal = null;
  settled = [];
  const seq = await startBatch(store, 'b', planOf(1, { requestsEach: 1_000 }));
  segment = await claimOne(store, seq);
});
afterEach(() => remove());

const open = (options: Partial<RecorderOptions> = {}): Recorder =>
  new Recorder(
    {
      results: {
        commit: async (group) => {
          await before();
          const lost = await store.results.commit(group);
          after();
          return lost;
        },
      },
      clock,
      random: () => 0,
      log: silentLog,
      failpoint: noFailpoints,
      onFatal: (error) => (fatal = error),
    },
    { groupMax: 8, lingerMs: 10, groupBytesMax: 1_000, ...options },
  );

function record(recorder: Recorder, lines: readonly number[], given: Parameters<typeof resultOf>[2] = {}) {
  for (const line of lines)
    recorder.record(resultOf(segment, line, given), (outcome) => settled.push([line, outcome]));
}

const completed = async () => (await batchBySeq(store, segment.batchSeq)).counts.completed;

/** Commits wait from now on; each call lets the next one pass. */
function stepwise(): () => Promise<void> {
  const waiting: (() => void)[] = [];
  before = () => new Promise((resolve) => waiting.push(resolve));
  return async () => {
    await clock.advance(10);
    waiting.shift()?.();
    await clock.advance();
  };
}

const SLOW = new StoreError('the disk is full', 'disk_full');

test('a result is reported once its commit has returned, and not before', async () => {
  const pass = stepwise();
  const recorder = open();
  record(recorder, [1]);
  await clock.advance(1_000);
  expect(settled).toEqual([]);

  await pass();

  expect(settled).toEqual([[1, 'recorded']]);
  expect(await completed()).toBe(1);
});

describe('a group', () => {
  test('waits a moment for further results, and is then committed however few they are', async () => {
    const recorder = open();
    record(recorder, [1]);
    await clock.advance(9);
    record(recorder, [2]);
    expect(await completed()).toBe(0);

    await clock.advance(1);

    expect(await completed()).toBe(2);
  });

  test('does not wait when half of what may wait for the disk is there', async () => {
    const recorder = open({ groupMax: 8 });
    record(recorder, [1, 2, 3]);
    await clock.advance();
    expect(await completed()).toBe(0);

    record(recorder, [4]);
    await clock.advance();

    expect(await completed()).toBe(4);
  });

  test('takes all that came while the commit before it was on its way', async () => {
    const pass = stepwise();
    const recorder = open();
    record(recorder, [1]);
    await clock.advance(10);
    record(recorder, [2, 3, 4, 5, 6]);

    await pass();
    expect(await completed()).toBe(1);
    await pass();
    expect(await completed()).toBe(6);
  });

  test('ends before the result that would make it too large; a larger one goes alone', async () => {
    const pass = stepwise();
    const recorder = open({ groupBytesMax: 100 });
    record(recorder, [1, 2], { payload: bytes('x'.repeat(50)) });
    record(recorder, [3], { payload: bytes('x'.repeat(500)) });
    record(recorder, [4], { payload: bytes('x') });

    const counts: number[] = [];
    for (let commit = 0; commit < 3; commit += 1) {
      await pass();
      counts.push(await completed());
    }

    expect(counts).toEqual([2, 3, 4]);
  });

  test('may be as large as twice the requests in flight, unless its size is set', () => {
    const [free, set] = [open({ groupMax: null }), open({ groupMax: 8 })];
    for (const recorder of [free, set]) recorder.follow(100);

    expect([free.isFull(199, 0), free.isFull(200, 0)]).toEqual([false, true]);
    expect([set.isFull(7, 0), set.isFull(8, 0)]).toEqual([false, true]);
    free.follow(1);
    expect([free.isFull(63, 0), free.isFull(64, 0)]).toEqual([false, true]);
  });
});

test('results that are not durable take the place of requests in flight, while they wait and while they are committed', async () => {
  const pass = stepwise();
  const recorder = open({ groupMax: 8 });
  expect(recorder.isFull(3, 4)).toBe(false);
  record(recorder, [1, 2, 3, 4, 5, 6]);
  await clock.advance(10);
  record(recorder, [7, 8, 9]);

  expect(recorder.isFull(2, 4)).toBe(false);
  expect(recorder.isFull(3, 4)).toBe(true);
  await pass();
  expect(recorder.isFull(3, 4)).toBe(false);
});

test('a flush makes durable what was recorded, without a wait', async () => {
  const recorder = open({ lingerMs: 60_000 });
  record(recorder, [1]);

  await recorder.flush();

  expect(settled).toEqual([[1, 'recorded']]);
  await recorder.flush();
});

test('results of a segment that another worker has claimed are lost, and the others of their group recorded', async () => {
  const seq = await startBatch(store, 'other', planOf(1, { requestsEach: 1_000 }));
  const own = await claimOne(store, seq, 'next');
  await store.work.reclaim('next');
  const recorder = open();

  record(recorder, [1, 2]);
  recorder.record(resultOf(own, 3), (outcome) => settled.push([3, outcome]));
  await recorder.flush();

  expect(settled).toEqual([
    [1, 'lost'],
    [2, 'lost'],
    [3, 'recorded'],
  ]);
  expect(await completed()).toBe(0);
});

describe('a store that fails', () => {
  test('for a while is asked again until it takes the group', async () => {
    let failures = 3;
    before = () => {
      if (failures-- > 0) throw SLOW;
    };
    const recorder = open();
    record(recorder, [1]);
    await clock.advance(10);
    expect(settled).toEqual([]);

    await clock.advance(10_000);

    expect(settled).toEqual([[1, 'recorded']]);
    expect(fatal).toBeNull();
  });

  test('after it has committed counts the group once', async () => {
    let failures = 1;
    after = () => {
      if (failures-- > 0) throw new StoreError('the connection was lost', 'connection');
    };
    const recorder = open();
    record(recorder, [1, 2]);
    await clock.advance(10_000);

    expect(settled).toEqual([
      [1, 'recorded'],
      [2, 'recorded'],
    ]);
    expect(await completed()).toBe(2);
  });

  test('for good ends the process, and nothing of the group counts as recorded', async () => {
    const broken = new StoreError('an I/O error', 'io');
    before = () => {
      throw broken;
    };
    const recorder = open();
    record(recorder, [1]);
    await clock.advance(10);

    expect(fatal).toBe(broken);
    expect(settled).toEqual([]);
  });
});
