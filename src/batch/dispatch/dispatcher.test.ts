import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { openDispatchBench, type DispatchBench } from '../../../test/support/dispatch.ts';
import { many, ok } from '../../../test/support/engine.ts';
import { failure, says } from '../../../test/support/judgement.ts';
import { claimAll } from '../../../test/support/state-store.ts';
import type { Upstream, UpstreamProbe } from '../../upstream/port.ts';
import { InputDamage } from '../inputs.ts';
import type { Dispatcher } from './dispatcher.ts';

let bench: DispatchBench;
beforeEach(async () => {
  bench = await openDispatchBench();
});
afterEach(() => bench.close());

const numbered = (prefix: string, ...numbers: number[]): string[] =>
  numbers.map((number) => `${prefix}${number}`);
const upTo = (prefix: string, count: number): string[] =>
  numbered(prefix, ...Array.from({ length: count }, (_, index) => index));

describe('turns', () => {
  test('batches take turns line by line, and one that starts is next', async () => {
    const dispatcher = bench.dispatcher({ concurrencyMax: 1 });
    const [first, second] = [await bench.batch('1', many(6, 'a')), await bench.batch('2', many(3, 'b'))];

    const runs = [dispatcher.run(first)];
    await bench.clock.advance();
    await bench.answer('a0');
    await bench.answer('a1');
    runs.push(dispatcher.run(second));
    await bench.clock.advance();
    await bench.answerAll();
    await Promise.all(runs);

    expect(bench.sent).toEqual(['a0', 'a1', 'a2', 'b0', 'a3', 'b1', 'a4', 'b2', 'a5']);
  });

  test('a batch whose lines are held back loses its turn to one whose lines can go', async () => {
    const dispatcher = bench.dispatcher({ concurrencyMax: 3 });
    const [bad, good] = [await bench.batch('1', many(9, 'bad')), await bench.batch('2', many(9, 'good'))];
    void dispatcher.run(bad);
    await bench.clock.advance();
    await bench.answerAll(says(401, 'no'));
    const sent = bench.sent.length;

    const done = dispatcher.run(good);
    await bench.answerAll();
    await done;

    expect((await bench.stored(good)).counts.completed).toBe(9);
    expect(bench.sent.slice(sent, sent + 9)).toEqual(upTo('good', 9));
  });

  test('never more requests are in flight than the deployment allows, whatever it allows now', async () => {
    const dispatcher = bench.dispatcher({ concurrencyMax: 4 });
    const done = dispatcher.run(await bench.batch('1', many(20)));
    await bench.clock.advance();
    expect(bench.pending).toHaveLength(4);

    dispatcher.update(bench.target({ concurrencyMax: 2 }));
    await bench.answer();
    await bench.answer();
    expect(bench.pending).toHaveLength(2);
    await bench.answer();
    expect(bench.pending).toHaveLength(2);

    dispatcher.update(bench.target({ concurrencyMax: 7 }));
    expect(bench.pending).toHaveLength(7);
    await bench.answerAll();
    await done;
  });

  test('nothing new goes to an upstream that is left out, and what it still answers counts', async () => {
    const [old, young] = [bench.upstream('old'), bench.upstream('young')];
    const dispatcher = bench.dispatcher({ upstreams: [old], concurrencyMax: 2 });
    const batch = await bench.batch('1', many(6));
    const done = dispatcher.run(batch);
    await bench.clock.advance();

    dispatcher.update(bench.target({ upstreams: [young], concurrencyMax: 2 }));
    await bench.answer('r0');
    expect(bench.pending.map(({ upstream }) => upstream)).toEqual(['old', 'young']);
    await bench.answerAll();
    await done;

    expect((await bench.stored(batch)).counts.completed).toBe(6);
    expect(bench.sent).toHaveLength(6);
  });
});

describe('a batch that is stopped', () => {
  test('sends nothing more, and records what is answered within the grace', async () => {
    const dispatcher = bench.dispatcher();
    const batch = await bench.batch('1', many(20));
    const done = dispatcher.run(batch);
    await bench.clock.advance();

    dispatcher.stopBatch(batch.seq, 1_000);
    await bench.answer('r0');
    await bench.answer('r3');
    await bench.clock.advance(1_000);
    await done;

    expect(bench.sent).toEqual(upTo('r', 4));
    expect(await bench.stored(batch)).toMatchObject({ counts: { completed: 2 } });
  });

  test('gives its segments back without blame, and counts requests that were cut off as in doubt', async () => {
    const dispatcher = bench.dispatcher();
    const batch = await bench.batch('1', many(20));
    const done = dispatcher.run(batch);
    await bench.clock.advance();
    await bench.answer('r0');

    dispatcher.stopBatch(batch.seq, 1_000);
    await bench.clock.advance(1_000);
    await done;

    expect((await bench.stored(batch)).resent).toBe(4);
    expect(await claimAll(bench.store, batch.seq, 'next')).toMatchObject([
      { crashes: 0, suspectLine: null, recordedLines: [1] },
    ]);
    expect(dispatcher.isIdle).toBe(true);
  });

  test('gives back what a claim brings that was under way', async () => {
    const dispatcher = bench.dispatcher();
    const batch = await bench.batch('1', many(3));
    const done = dispatcher.run(batch);
    dispatcher.stopBatch(batch.seq, 0);
    await bench.clock.advance();
    await done;

    expect(bench.sent).toEqual([]);
    expect(await claimAll(bench.store, batch.seq, 'next')).toHaveLength(1);
  });

  test('ends at once when nothing is in flight', async () => {
    const dispatcher = bench.dispatcher({ upstreams: [] });
    const batch = await bench.batch('1', many(3));
    const done = dispatcher.run(batch);
    await bench.clock.advance();

    dispatcher.stopAll(60_000);
    await bench.clock.advance();

    await done;
    expect(await claimAll(bench.store, batch.seq)).toHaveLength(1);
  });
});

test('nothing is sent while the disk is full; a second after it has space again, lines go out by themselves', async () => {
  bench.hasDiskSpace = false;
  const dispatcher = bench.dispatcher();
  const batch = await bench.batch('1', many(3));
  const done = dispatcher.run(batch);
  await bench.clock.advance(10_000);
  expect(bench.sent).toEqual([]);
  expect(dispatcher.activity(batch.seq)?.waiting).toContain('The disk is nearly full');

  bench.hasDiskSpace = true;
  await bench.clock.advance(1_000);
  expect(dispatcher.activity(batch.seq)?.waiting).toBeNull();
  await bench.answerAll();
  await done;

  expect(bench.sent).toEqual(upTo('r', 3));
});

test('nothing is sent while as many results wait for their commit as a crash may put in doubt', async () => {
  const { promise: committing, resolve: commit } = Promise.withResolvers<void>();
  bench.committing = committing;
  const dispatcher = bench.dispatcher({ concurrencyMax: 4 });
  const batch = await bench.batch('1', many(200));
  const done = dispatcher.run(batch);
  await bench.answerAll();
  // A group of 64, and the requests that may be in flight.
  expect(bench.sent).toHaveLength(64 + 4);

  commit();
  await bench.answerAll();
  await done;

  expect((await bench.stored(batch)).counts.completed).toBe(200);
});

test('lines of a segment that another worker has taken are not sent, and late answers are not recorded', async () => {
  const dispatcher = bench.dispatcher();
  const batch = await bench.batch('1', many(20));
  const done = dispatcher.run(batch);
  await bench.clock.advance();
  await bench.answer('r0');

  await bench.store.work.reclaim('another');
  await claimAll(bench.store, batch.seq, 'another');
  await bench.answer('r1');
  const sent = bench.sent.length;
  await bench.answerAll();
  await done;

  expect(bench.sent).toHaveLength(sent);
  expect((await bench.stored(batch)).counts).toMatchObject({ completed: 1, failed: 0 });
});

describe('an input that is not the one that was validated', () => {
  test.each([
    ['has fewer lines', many(10).replace('\n', ' ')],
    ['has lines that are no requests', '?'.repeat(many(10).length)],
  ])('it %s: the batch ends with the damage, and its segments are given back', async (_what, other) => {
    const dispatcher = bench.dispatcher();
    const batch = await bench.batch('1', many(10));
    bench.inputs.set(batch.inputBlobId, Buffer.from(other));

    const damage = await dispatcher.run(batch).catch((error: unknown) => error);

    expect(damage).toBeInstanceOf(InputDamage);
    expect(damage).toMatchObject({ kind: 'changed', at: { firstLine: 1, requests: 10 } });
    expect(bench.sent).toEqual([]);
    expect(await claimAll(bench.store, batch.seq, 'next')).toHaveLength(1);
  });
});

describe('a batch that is held back', () => {
  test('is probed with any one line that was not sent before, and one accepted line frees it', async () => {
    const dispatcher = bench.dispatcher({ concurrencyMax: 3 });
    const done = dispatcher.run(await bench.batch('1', many(30)));
    await bench.clock.advance();
    await bench.answerAll(says(401, 'no'));
    await bench.clock.advance(400);
    // Two were in flight when the third one failed.
    expect(bench.sent).toEqual(upTo('r', 5));

    await bench.clock.advance(200);
    // Chance, which is 0 here, makes it the last one.
    expect(bench.pending.map(({ customId }) => customId)).toEqual(['r29']);
    await bench.clock.advance(60_000);
    expect(bench.pending).toHaveLength(1);

    await bench.answer();
    expect(bench.pending).toHaveLength(3);
    await bench.answerAll();
    await done;
  });

  test('is probed more and more rarely, at most once a minute', async () => {
    const dispatcher = bench.dispatcher();
    void dispatcher.run(await bench.batch('1', many(30)));
    await bench.answerAll(says(401, 'no'));
    const pausesMs: number[] = [];
    for (let probe = 0; probe < 10; probe += 1) {
      const beganMs = bench.clock.mono();
      while (bench.pending.length === 0) await bench.clock.advance(500);
      pausesMs.push(bench.clock.mono() - beganMs);
      await bench.answer(null, says(401, 'no'));
    }

    expect(pausesMs).toEqual([...pausesMs].sort((a, b) => a - b));
    expect(pausesMs.slice(-3)).toEqual([30_000, 30_000, 30_000]);
  });
});

describe('a line that ends this process', () => {
  /** A batch whose lines have ended the process three times. */
  const suspectBatch = async (id: string, lines: string) => {
    const batch = await bench.batch(id, lines);
    for (let crash = 0; crash < 3; crash += 1) {
      await claimAll(bench.store, batch.seq, bench.workerId);
      await bench.crash();
    }
    return batch;
  };

  test('is sought among the lines of its segment one at a time, while other batches go on', async () => {
    const suspects = await suspectBatch('1', many(3, 's'));
    const dispatcher = bench.dispatcher();
    const runs = [dispatcher.run(suspects), dispatcher.run(await bench.batch('2', many(5)))];
    await bench.clock.advance();

    expect(bench.pending.map(({ customId }) => customId).sort()).toEqual(['r0', 'r1', 'r2', 's0']);
    for (const id of upTo('r', 5)) await bench.answer(id);
    expect(bench.pending.map(({ customId }) => customId)).toEqual(['s0']);
    await bench.answer('s0');
    expect(bench.pending.map(({ customId }) => customId)).toEqual(['s1']);
    await bench.answerAll();
    await Promise.all(runs);

    expect((await bench.stored(suspects)).counts.completed).toBe(3);
  });

  test('is known to the next process, since its try was noted before it was sent', async () => {
    const batch = await suspectBatch('1', many(3, 's'));
    void bench.dispatcher().run(batch);
    await bench.clock.advance();
    await bench.answer('s0');
    expect(bench.pending.map(({ customId }) => customId)).toEqual(['s1']);

    await bench.crash();

    expect(await claimAll(bench.store, batch.seq, bench.workerId)).toMatchObject([
      { suspectLine: 2, suspectCrashes: 1, recordedLines: [1] },
    ]);
  });

  test('is failed without being sent when the process ended twice while it was tried alone', async () => {
    const batch = await suspectBatch('1', many(3, 's'));
    for (let crash = 0; crash < 2; crash += 1) {
      void bench.dispatcher().run(batch);
      await bench.clock.advance();
      await bench.crash();
    }

    const done = bench.dispatcher().run(batch);
    await bench.answerAll();
    await done;

    expect(bench.sent).toEqual(['s0', 's0', 's1', 's2']);
    expect((await bench.stored(batch)).counts).toEqual({ total: 3, completed: 2, failed: 1 });
    const [failed] = await bench.store.results.page(batch.seq, {
      afterLine: 0,
      bytesMax: 1e6,
      rowsMax: 9,
      ok: false,
    });
    expect(JSON.parse(Buffer.from(failed?.payload ?? []).toString())).toMatchObject({
      custom_id: 's0',
      response: null,
      error: { code: 'internal_error' },
    });
  });

  test('is sought by one dispatcher of the process at a time', async () => {
    const [one, other] = [await suspectBatch('1', many(2, 's')), await suspectBatch('2', many(2, 't'))];
    const [first, second] = [bench.dispatcher(), bench.dispatcher()];
    const runs = [first.run(one), second.run(other)];
    await bench.clock.advance();
    expect(bench.sent).toEqual(['s0']);

    await bench.answer('s0');
    await bench.answer('s1');
    expect(bench.pending).toEqual([]);
    second.wake();
    await bench.answerAll();
    await Promise.all(runs);

    expect(bench.sent).toEqual(['s0', 's1', 't0', 't1']);
  });

  test.each([
    ['the disk is full', () => (bench.hasDiskSpace = false)],
    ['the batch is stopped', (dispatcher: Dispatcher) => dispatcher.stopAll(0)],
    [
      'the upstream is left out',
      (dispatcher: Dispatcher) => dispatcher.update(bench.target({ upstreams: [] })),
    ],
  ])('is not sent when %s once its try has been noted, and is no longer blamed', async (_why, happens) => {
    const { promise: noting, resolve: note } = Promise.withResolvers<void>();
    bench.noting = noting;
    const batch = await suspectBatch('1', many(2, 's'));
    const dispatcher = bench.dispatcher();
    void dispatcher.run(batch);
    await bench.clock.advance();

    happens(dispatcher);
    note();
    await bench.clock.advance();

    expect(bench.sent).toEqual([]);
    await bench.crash();
    expect(await claimAll(bench.store, batch.seq, bench.workerId)).toMatchObject([{ suspectLine: 0 }]);
  });

  test('is not sought among lines that wait for their next try', async () => {
    const dispatcher = bench.dispatcher();
    const done = dispatcher.run(await suspectBatch('1', many(2, 's')));
    await bench.clock.advance();

    await bench.answer('s0', says(500, 'try again'));
    expect(bench.pending.map(({ customId }) => customId)).toEqual(['s1']);
    await bench.answer('s1');
    await bench.clock.advance(1_000);
    expect(bench.pending.map(({ customId }) => customId)).toEqual(['s0']);
    await bench.answerAll();
    await done;
  });

  test('is not sought among lines whose rejections are held', async () => {
    const batch = await suspectBatch('1', many(2, 's'));
    const done = bench.dispatcher().run(batch);
    await bench.clock.advance();

    await bench.answer('s0', says(400, 'temperature is not supported'));
    expect(bench.pending.map(({ customId }) => customId)).toEqual(['s1']);
    await bench.answerAll();
    await done;

    expect((await bench.stored(batch)).counts).toEqual({ total: 2, completed: 1, failed: 1 });
  });
});

describe('a line that fells its server', () => {
  test('is sought among those that were in flight at the death, which go last and a few at a time', async () => {
    const dispatcher = bench.dispatcher({ concurrencyMax: 12 });
    const batch = await bench.batch('1', many(40));
    const done = dispatcher.run(batch);
    await bench.clock.advance();
    await bench.answerAll(failure('reset'));
    const suspects = [...bench.sent];
    const pendingSuspects = () => bench.pending.filter(({ customId }) => suspects.includes(customId));
    await bench.clock.advance(2_000);
    expect(bench.pending).toHaveLength(1);
    expect(pendingSuspects()).toHaveLength(0);

    await bench.answer();
    while (bench.sent.length < 40) {
      expect(pendingSuspects()).toHaveLength(0);
      await bench.answer();
    }
    while (bench.pending.length > pendingSuspects().length) await bench.answer();
    expect(pendingSuspects()).toHaveLength(8);
    await bench.answerAll();
    await done;

    expect((await bench.stored(batch)).counts.completed).toBe(40);
  });
});

test('each answer is recorded for its own line, whatever the order in which answers come', async () => {
  const dispatcher = bench.dispatcher({ concurrencyMax: 5 });
  const batch = await bench.batch('1', many(5));
  const done = dispatcher.run(batch);
  await bench.clock.advance();
  for (const id of ['r4', 'r1', 'r0', 'r3', 'r2']) await bench.answer(id);
  await done;

  const rows = await bench.store.results.page(batch.seq, { afterLine: 0, bytesMax: 1e6, rowsMax: 9 });
  expect(
    rows.map(({ payload, line }) => [line, JSON.parse(Buffer.from(payload).toString()).custom_id]),
  ).toEqual([
    [1, 'r0'],
    [2, 'r1'],
    [3, 'r2'],
    [4, 'r3'],
    [5, 'r4'],
  ]);
});

test('the tries of an outage in which the server asked all to slow down are not held against a last line', async () => {
  let listing: UpstreamProbe = { kind: 'answer', status: 429, message: 'slow down' };
  const upstream: Upstream = { ...bench.upstream('model-server'), probe: async () => listing };
  const dispatcher = bench.dispatcher({ upstreams: [upstream] });
  const batch = await bench.batch('a', many(2));
  const running = dispatcher.run(batch);
  await bench.clock.advance();
  await bench.answer('r0');
  for (let minute = 0; minute < 20; minute += 1) {
    if (minute === 19) listing = { kind: 'models', ids: ['m'] };
    await bench.answer('r1', says(429, 'slow down'));
    await bench.clock.advance(60_000);
  }

  for (const reply of [says(504, 'timed out'), says(429, 'wait'), ok]) {
    await bench.answer('r1', reply);
    await bench.clock.advance(60_000);
  }
  await running;

  expect((await bench.stored(batch)).counts).toEqual({ total: 2, completed: 2, failed: 0 });
});
