import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { eventually, many, ok, openEngineBench, type EngineBench } from '../support/engine.ts';
import { failure, lineIn, REAL, says, SPEED, waiting } from '../support/judgement.ts';
import type { UpstreamReply } from '../../src/upstream/port.ts';

let bench: EngineBench;
beforeEach(async () => {
  bench = await openEngineBench();
  bench.speed = SPEED;
});
afterEach(() => bench.close());

const fault: UpstreamReply = { ...ok, fault: { code: null, message: 'the engine failed' } };

/** Replies that a server gives to every request because of its account, its address or the set-up. */
const SET_UP: readonly (readonly [string, UpstreamReply])[] = [
  ['a redirect', failure('redirect', 302)],
  ['an HTML page under 200', failure('foreign_answer', 200)],
  ['401', says(401, 'invalid key')],
  ['402', says(402, 'payment required')],
  ['403', says(403, 'forbidden')],
  ['404', says(404, 'not found')],
  ['405', says(405, 'method not allowed')],
  ['410', says(410, 'gone')],
  ['501', says(501, 'not implemented')],
  ['400 for an empty account', says(400, 'Your credit balance is too low to access the API')],
  ['400 for an unknown model', says(400, 'Invalid model name passed in model=x')],
  ['400 without a loaded model', says(400, 'No models loaded. Please load a model')],
  [
    '429 for a spent quota',
    says(429, 'You exceeded your current quota, check your plan and billing details'),
  ],
];
const TROUBLE: readonly (readonly [string, UpstreamReply])[] = [
  ['408', says(408, 'time-out')],
  ['424', says(424, 'failed dependency')],
  ['425', says(425, 'too early')],
  ['498', says(498, 'no capacity')],
  ['500', says(500, 'internal error')],
  ['502', says(502, 'bad gateway')],
  ['503', says(503, 'overloaded')],
  ['504', says(504, 'gateway time-out')],
  ['520', says(520, 'unknown')],
  ['a success with a failure inside', fault],
  ['a broken answer', failure('bad_answer', 200)],
  ['a reset', failure('reset')],
  ['a time-out', failure('timeout')],
];
const PACE = [['429', says(429, 'slow down')]] as const;
const AWAY = [['no connection', failure('unreachable')]] as const;

describe('a server, an account or a set-up makes no line pay, however few the lines are', () => {
  describe.each([1, 3, 30])('a batch of %i lines', (lines) => {
    test.each([...SET_UP, ...TROUBLE, ...PACE, ...AWAY])(
      'whose lines all get %s is answered as a whole once that is mended',
      async (_name, reply) => {
        bench.deploy();
        const engine = await bench.start({ retriesMax: 1, ...REAL });
        let isBroken = true;
        let calls = 0;
        bench.reply = () => {
          calls += 1;
          return isBroken ? reply : ok;
        };

        const { batch } = await bench.create(engine, await bench.upload(many(lines)));
        await eventually(async () => expect(await waiting(bench, engine, batch)).toContain('model-server'));
        await eventually(() => expect(calls).toBeGreaterThan(4));
        expect((await bench.batch(batch)).counts).toMatchObject({ completed: 0, failed: 0 });
        isBroken = false;

        expect((await bench.ended(batch)).counts).toEqual({ total: lines, completed: lines, failed: 0 });
      },
    );
  });

  test.each([...SET_UP, ...TROUBLE, ...PACE, ...AWAY])(
    'a batch whose lines from the middle on all get %s is answered as a whole once that is mended',
    async (_name, reply) => {
      bench.deploy();
      const engine = await bench.start({ retriesMax: 1, ...REAL });
      let calls = 0;
      let isBroken = false;
      bench.reply = () => {
        calls += 1;
        if (calls === 15) isBroken = true;
        return isBroken ? reply : ok;
      };

      const { batch } = await bench.create(engine, await bench.upload(many(40)));
      await eventually(async () => expect(await waiting(bench, engine, batch)).toContain('model-server'));
      await eventually(() => expect(calls).toBeGreaterThan(24));
      isBroken = false;

      expect((await bench.ended(batch)).counts).toEqual({ total: 40, completed: 40, failed: 0 });
    },
  );
});

describe('a line that alone gets the same again and again pays for itself, wherever it stands', () => {
  describe.each([
    ['first', 0],
    ['in the middle', 20],
    ['last', 39],
  ] as const)('%s of 40', (_place, at) => {
    test.each([...SET_UP, ...TROUBLE, ...PACE])('%s', async (_name, reply) => {
      bench.deploy();
      const engine = await bench.start({ retriesMax: 2, ...REAL });
      bench.reply = (request) => (lineIn(request) === at ? reply : ok);

      const { batch } = await bench.create(engine, await bench.upload(many(40)));
      const done = await bench.ended(batch);

      expect(done.counts).toEqual({ total: 40, completed: 39, failed: 1 });
      expect(await bench.linesOf(done.errorFileId)).toMatchObject([
        {
          custom_id: `r${at}`,
          ...(reply.kind === 'answer'
            ? { response: { status_code: reply.status }, error: null }
            : { response: null, error: { code: 'upstream_error' } }),
        },
      ]);
    });
  });

  const REFUSALS: readonly (readonly [string, UpstreamReply])[] = [
    ['403', says(403, 'forbidden')],
    ['404', says(404, 'nothing here')],
  ];

  test.each([...REFUSALS, ...TROUBLE])(
    'the last 13 of 100 get %s: the batch ends by itself',
    async (_name, reply) => {
      bench.deploy({ concurrencyMax: 16 });
      const engine = await bench.start({ retriesMax: 2, ...REAL });
      bench.reply = (request) => (lineIn(request) >= 87 ? reply : ok);

      const { batch } = await bench.create(engine, await bench.upload(many(100)));

      expect((await bench.ended(batch)).counts).toEqual({ total: 100, completed: 87, failed: 13 });
    },
  );
});

describe('a batch holds up no other batch', () => {
  test.each([...SET_UP, ...TROUBLE])('though its own lines all get %s', async (_name, reply) => {
    bench.deploy({ concurrencyMax: 16 });
    const engine = await bench.start({ retriesMax: 1, ...REAL });
    bench.reply = ({ body }) => (Buffer.from(body).includes('"bad') ? reply : ok);

    const { batch: bad } = await bench.create(engine, await bench.upload(many(12, 'bad')));
    await eventually(() => expect(bench.calls.length).toBeGreaterThan(8));
    const startedAtMs = performance.now();
    const { batch: good } = await bench.create(engine, await bench.upload(many(100, 'good')));

    expect((await bench.ended(good)).counts.completed).toBe(100);
    // A probe would come after half a second at the earliest, were the good batch held back with the bad one.
    const isSlow = performance.now() - startedAtMs > 5_000;
    expect(isSlow).toBe(false);
    expect((await bench.batch(bad)).counts.completed).toBe(0);
  });
});
