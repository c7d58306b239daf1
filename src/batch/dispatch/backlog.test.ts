import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { openDispatchBench, type DispatchBench } from '../../../test/support/dispatch.ts';
import { many } from '../../../test/support/engine.ts';
import { claimAll, resultOf } from '../../../test/support/state-store.ts';
import { Backlog, type Line } from './backlog.ts';
import { chooseClaim, refill } from './refill.ts';

let bench: DispatchBench;
beforeEach(async () => {
  bench = await openDispatchBench();
});
afterEach(() => bench.close());

const backlogOf = async (id: string, input: string): Promise<Backlog> =>
  new Backlog(await bench.batch(id, input), { acceptedBefore: false });

const fill = (backlog: Backlog, segmentsMax = 100): Promise<void> =>
  refill(backlog, { workerId: bench.workerId, segmentsMax }, { work: bench.store.work, inputs: bench.blobs });

/** In the order in which they are sent. */
const numbersOf = (lines: readonly Line[]): number[] => lines.map(({ number }) => number).reverse();
const range = (first: number, last: number): number[] =>
  Array.from({ length: last - first + 1 }, (_, index) => first + index);

const take = (lines: Line[]): Line => {
  const line = lines.pop();
  if (line === undefined) throw new Error('no line is left');
  return line;
};

describe('a claim', () => {
  test('makes the lines of its segments ready in input order, behind those that are ready', async () => {
    const backlog = await backlogOf('1', many(200));

    await fill(backlog, 1);
    expect(numbersOf(backlog.ready)).toEqual(range(1, 64));
    await fill(backlog, 2);

    expect(numbersOf(backlog.ready)).toEqual(range(1, 192));
    expect(backlog.unrecorded).toBe(192);
  });

  test('brings the request of each line as it stands in the input, and where its model name lies', async () => {
    const backlog = await backlogOf('1', many(2));
    await fill(backlog);

    const { customIdJson, endpoint, body, model } = take(backlog.ready);

    const text = Buffer.from(body).toString();
    expect([Buffer.from(customIdJson).toString(), endpoint]).toEqual(['"r0"', '/chat/completions']);
    expect(text).toBe('{"model":"d","messages":[{"role":"user","content":"r0"}]}');
    expect(text.slice(model.start, model.end)).toBe('"d"');
  });

  test('leaves out lines that have a result, and blank lines', async () => {
    const batch = await bench.batch('1', `\n${many(3)}\n\n${many(2, 's')}`);
    const [segment] = await claimAll(bench.store, batch.seq, bench.workerId);
    if (segment) await bench.store.results.commit([resultOf(segment, 3)]);
    await bench.crash();
    const backlog = new Backlog(batch, { acceptedBefore: false });

    await fill(backlog);

    expect(numbersOf(backlog.ready)).toEqual([2, 4, 7, 8]);
    expect(backlog.unrecorded).toBe(4);
  });

  test('that finds nothing exhausts the backlog, which is drained when every line has its result', async () => {
    const backlog = await backlogOf('1', many(2));
    let isDrained = false;
    void backlog.drained.promise.then(() => (isDrained = true));
    await fill(backlog);
    await fill(backlog);
    expect(backlog.isExhausted).toBe(true);

    backlog.settle(take(backlog.ready));
    await bench.clock.advance();
    expect(isDrained).toBe(false);
    backlog.settle(take(backlog.ready));
    await bench.clock.advance();

    expect(isDrained).toBe(true);
  });

  test('of a segment that was held at three ends of a process brings suspects, first the one that was noted last', async () => {
    const batch = await bench.batch('1', many(4));
    for (let crash = 0; crash < 3; crash += 1) {
      const [segment] = await claimAll(bench.store, batch.seq, bench.workerId);
      if (segment) await bench.store.work.markSuspect(segment, 3);
      await bench.crash();
    }
    const backlog = new Backlog(batch, { acceptedBefore: false });

    await fill(backlog);

    expect(numbersOf(backlog.crashSuspects)).toEqual([3, 1, 2, 4]);
    expect(backlog.ready).toEqual([]);
  });

  test('whose bytes are not those that were validated fails, and its segments are there to be given back', async () => {
    const backlog = await backlogOf('1', many(70));
    bench.inputs.set(
      backlog.batch.inputBlobId,
      Buffer.from(many(70).replace('"url":"/chat', '"url":"/chit')),
    );

    await expect(fill(backlog)).rejects.toThrow(
      'the 64 requests from line 1 on are not those that were validated',
    );

    expect(Array.from(backlog.segments, ({ claim }) => claim.index)).toEqual([0, 1]);
  });
});

test('a lost segment takes its lines out of every list', async () => {
  const backlog = await backlogOf('1', many(70));
  await fill(backlog);
  const [first, second, third] = [take(backlog.ready), take(backlog.ready), take(backlog.ready)];
  backlog.deathSuspects.push(second);
  backlog.crashSuspects.push(third);

  first.segment.isLost = true;
  backlog.settle(first);

  expect(numbersOf(backlog.ready)).toEqual(range(65, 70));
  expect([backlog.crashSuspects, backlog.deathSuspects]).toEqual([[], []]);
  expect(backlog.unrecorded).toBe(6);
});

describe('which batch claims next', () => {
  const choose = (backlogs: readonly Backlog[], windowSize = 32, hasUpstream = true) => {
    const claim = chooseClaim(backlogs, { windowSize, hasUpstream });
    return claim && { batch: claim.backlog.batch.id, segmentsMax: claim.segmentsMax };
  };

  test('one that has nothing, a single segment', async () => {
    const [full, empty] = [await backlogOf('full', many(70)), await backlogOf('empty', many(70))];
    await fill(full, 1);

    expect(choose([full, empty], 320)).toEqual({ batch: 'empty', segmentsMax: 1 });
  });

  test('then one after another in turn, and a wide window several segments at a time, eight at most', async () => {
    const [one, other] = [await backlogOf('one', many(200)), await backlogOf('other', many(200))];
    await fill(one, 1);
    await fill(other, 1);

    expect(choose([one, other], 48)).toEqual({ batch: 'one', segmentsMax: 4 });
    expect(choose([other, one], 48)).toEqual({ batch: 'other', segmentsMax: 4 });
    expect(choose([one, other], 10_000)).toEqual({ batch: 'one', segmentsMax: 8 });
  });

  test('none, while five windows of lines are ready, or one window and 128 lines', async () => {
    const backlog = await backlogOf('1', many(640));
    await fill(backlog, 1);
    expect(choose([backlog], 12)).toBeUndefined();
    expect(choose([backlog], 13)).toBeDefined();

    await fill(backlog, 2);
    expect(choose([backlog], 64)).toBeUndefined();
    expect(choose([backlog], 65)).toBeDefined();
  });

  test('none, while so many lines are without a result that more would only be in doubt after a crash', async () => {
    const backlog = await backlogOf('1', many(640));
    await fill(backlog, 6);
    backlog.ready.length = 0;

    expect(choose([backlog], 32)).toBeUndefined();
    expect(choose([backlog], 33)).toBeDefined();
  });

  test('one whose ready lines have all failed, since those after them may be well', async () => {
    const backlog = await backlogOf('1', many(200));
    await fill(backlog, 2);
    expect(choose([backlog], 8)).toBeUndefined();

    backlog.troubled = backlog.unrecorded;

    expect(choose([backlog], 8)).toEqual({ batch: '1', segmentsMax: 1 });
  });

  test('without an upstream none that has a segment: one is enough to see whether anything is left', async () => {
    const backlog = await backlogOf('1', many(200));
    expect(choose([backlog], 32, false)).toEqual({ batch: '1', segmentsMax: 1 });
    await fill(backlog, 1);

    expect(choose([backlog], 32, false)).toBeUndefined();
  });

  test('none that is halted, or has nothing left to claim', async () => {
    const [halted, exhausted] = [await backlogOf('halted', many(1)), await backlogOf('exhausted', many(1))];
    halted.halt();
    await fill(exhausted);
    await fill(exhausted);

    expect(choose([halted, exhausted])).toBeUndefined();
  });
});

describe('only the last lines are left', () => {
  const failing = async (lines: number, troubled: number, given = { acceptedBefore: true }) => {
    const backlog = new Backlog(await bench.batch('1', many(lines)), given);
    await fill(backlog);
    await fill(backlog);
    backlog.troubled = troubled;
    return backlog;
  };

  test('when all that are left have failed, and others were accepted', async () => {
    expect(await failing(3, 3)).toMatchObject({ isTail: true, failingLines: 3 });
  });

  test.each([
    ['one has not failed', 3, 2, { acceptedBefore: true }],
    ['none was ever accepted', 3, 3, { acceptedBefore: false }],
  ] as const)('but not when %s', async (_why, lines, troubled, given) => {
    expect((await failing(lines, troubled, given)).isTail).toBe(false);
  });
});
