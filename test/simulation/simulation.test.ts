import { afterAll, describe, expect, test } from 'vitest';
import type { Batch } from '../../src/contract/batch.ts';
import { MUTANTS } from './mutants.ts';
import { makePlan, type JobLine, type Plan } from './plan.ts';
import { Pool } from './pool.ts';
import { BLAME_REGRESSIONS, REGRESSIONS } from './regressions.ts';
import { Summary } from './summary.ts';
import { WELL } from './sim-upstream.ts';
import { runHistory, World } from './world.ts';

const SEEDS = 400;
/** Histories about who is to blame. */
const BLAME_SEEDS = 100;
/** Histories in which a planted bug must be seen. */
const MUTANT_SEEDS = 100;

const pool = new Pool();
afterAll(() => pool.close());

test(`${SEEDS} histories of crashes, power cuts, zombies and bad upstreams keep every promise`, async () => {
  const summary = new Summary();
  const seeds = Array.from({ length: SEEDS }, (_, i) => i + 1);

  await Promise.all(seeds.map(async (seed) => summary.add(await pool.run({ seed }))));

  console.info(summary.toString());
  expect(summary.violations).toEqual([]);
  // A simulation in which nothing goes wrong proves nothing.
  expect(summary.crashes).toBeGreaterThan(SEEDS);
  expect(summary.powerCuts).toBeGreaterThan(SEEDS / 4);
  expect(summary.zombies).toBeGreaterThan(SEEDS / 10);
  expect(summary.resends.some((count) => count > 0)).toBe(true);
  expect(summary.room['admittedAfterWaiting']).toBeGreaterThan(SEEDS / 10);
  expect(summary.room['borrowed']).toBeGreaterThan(SEEDS / 10);
});

test(`${BLAME_SEEDS} histories of lines, servers, accounts and set-ups that fail make nobody else pay`, async () => {
  const summary = new Summary();
  const seeds = Array.from({ length: BLAME_SEEDS }, (_, i) => i + 1);

  await Promise.all(seeds.map(async (seed) => summary.add(await pool.run({ seed, weather: 'blame' }))));

  console.info(summary.toString());
  expect(summary.violations).toEqual([]);
  expect(summary.troubles).toBeGreaterThan(BLAME_SEEDS / 2);
  expect(summary.deaths).toBeGreaterThan(BLAME_SEEDS / 10);
  expect(summary.failedLines).toBeGreaterThan(BLAME_SEEDS);
});

test.each(Object.entries(BLAME_REGRESSIONS))('seed %s blames nobody wrongly: %s', async (seed) => {
  const { violation } = await pool.run({ seed: Number(seed), weather: 'blame' });

  expect(violation).toBeNull();
});

test.each(Object.entries(REGRESSIONS))('seed %s keeps every promise: %s', async (seed) => {
  const { violation } = await pool.run({ seed: Number(seed) });

  expect(violation).toBeNull();
});

test('the same seed gives the same history', async () => {
  const first = await runHistory(makePlan(7, 'everything'), { trace: true });
  const second = await runHistory(makePlan(7, 'everything'), { trace: true });

  expect(second.trace).toEqual(first.trace);
  expect(first.trace.length).toBeGreaterThan(100);
});

describe('a planted bug is found', () => {
  test.each(Object.keys(MUTANTS))('%s', async (mutant) => {
    const weather = MUTANTS[mutant]!.weather;
    let found: number | null = null;
    for (let seed = 1; seed <= MUTANT_SEEDS && found === null; seed += 1) {
      const { violation } = await pool.run({ seed, weather, mutant });
      if (violation !== null) found = seed;
    }

    expect(found).not.toBeNull();
    const { violation } = await pool.run({ seed: found ?? 0, weather });
    expect(violation).toBeNull();
  });
});

test('P15: a line that outlasts ten stops is not blamed for them, and each stop says what it cut', async () => {
  const stops = Array.from({ length: 10 }, (_, i) => ({
    kind: 'stop' as const,
    atMs: SMALL_AT_MS + 20_000 * (i + 1),
    drainMs: 1_000,
    downMs: 100,
  }));
  const plan = plainPlan({ large: 0, small: 3 });
  const deployments = plan.deployments.map((one) => ({ ...one, latencyMs: [40_000, 50_000] as const }));
  const world = new World({ ...plan, deployments, faults: stops, calmAtMs: stops.at(-1)!.atMs }, {}, false);

  const { violation } = await world.run();
  const [batch] = await world.observer.batches.list(SCOPE, { limit: 1, orderBy: BY_TIME }).then(batchesOf);
  await world.close();

  expect(violation).toBeNull();
  expect(batch).toMatchObject({ status: 'completed', counts: { total: 3, completed: 3, failed: 0 } });
  expect(batch?.resent).toBe(world.upstreams.get('alpha-1')!.calls.length - 3);
});

test('P18: a batch of 10 lines starts within 5 s beside one of 600', async () => {
  const world = new World(plainPlan({ large: 600, small: 10 }), {}, false);

  const { violation } = await world.run();
  await world.close();

  expect(violation).toBeNull();
  const calls = world.upstreams.get('alpha-1')!.calls;
  const firstMs = calls.find(({ line }) => line.startsWith('small'))?.startMs ?? Infinity;
  expect(firstMs).toBeLessThan(SMALL_AT_MS + 5_000);
  expect(calls.filter(({ startMs }) => startMs > firstMs).length).toBeGreaterThan(300);
});

const SMALL_AT_MS = 20_000;
const SCOPE = { resourceId: 'default', actor: 'test' };
const BY_TIME = { field: 'created_at', direction: 'asc' } as const;
const batchesOf = (list: { batches: Batch[] } | 'unknown_after'): Batch[] =>
  list === 'unknown_after' ? [] : list.batches;

/** A plan in which nothing fails. */
function plainPlan(sizes: { readonly large: number; readonly small: number }): Plan {
  const job = (name: 'large' | 'small', atMs: number): Plan['jobs'][number] => {
    const lines = Array.from({ length: sizes[name] }, (_, i): JobLine => ({
      name: `${name}:${i}`,
      customId: `${name}-${i}`,
      body: `{"model":"alpha","line":"${name}:${i}","messages":[{}]}`,
      fate: WELL,
    }));
    const text = lines
      .map(
        ({ customId, body }) =>
          `{"custom_id":"${customId}","method":"POST","url":"/chat/completions","body":${body}}`,
      )
      .join('\n');
    return {
      name,
      resourceId: 'default',
      deployment: 'alpha',
      atMs,
      lines,
      text,
      hasBadLine: false,
      withIdempotencyKey: true,
      whenFull: null,
      dialect: 'azure',
      cancelAfterMs: null,
      deleteInputAfterMs: null,
    };
  };
  const { tuning } = makePlan(1);
  return {
    seed: 1,
    tuning: {
      ...tuning,
      commitGroupMax: 64,
      commitLingerMs: 5,
      segmentRequestsMax: 64,
      createWaitMs: 30_000,
      tickMs: 1_000,
    },
    deployments: [
      {
        name: 'alpha',
        resourceId: 'default',
        upstreams: ['alpha-1'],
        model: 'model-alpha',
        concurrencyMax: 8,
        enqueuedTokensMax: 1_000_000,
        sharedTokensMax: null,
        whenFull: 'fail',
        latencyMs: [100, 3_000],
      },
    ],
    jobs: [job('large', 0), job('small', SMALL_AT_MS)].filter(({ lines }) => lines.length > 0),
    outages: [],
    servers: {},
    listings: {},
    isExact: true,
    changes: [],
    faults: [],
    calmAtMs: 0,
  };
}
