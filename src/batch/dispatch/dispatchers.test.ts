import { afterEach, beforeEach, expect, test } from 'vitest';
import { eventually, openEngineBench, scope, type EngineBench } from '../../../test/support/engine.ts';
import type { Batch } from '../../contract/batch.ts';
import type { Clock } from '../../core/clock.ts';
import { noFailpoints } from '../../core/failpoint.ts';
import { silentLog } from '../../core/log.ts';
import { RetryStorms } from '../../serving/retry-storm.ts';
import { Servers } from '../../serving/servers.ts';
import type { Deployment } from '../../deployments/port.ts';
import { Recorder } from '../results/recorder.ts';
import { Dispatchers } from './dispatchers.ts';

let bench: EngineBench;
let nowMs: number;
let asked: string[];
/** Answers to `find` that have not come yet. */
let answers: (() => void)[];
let isSlow: boolean;
beforeEach(async () => {
  bench = await openEngineBench();
  nowMs = 0;
  asked = [];
  answers = [];
  isSlow = false;
});
afterEach(() => bench.close());

const clock: Clock = {
  now: () => nowMs,
  mono: () => nowMs,
  sleep: (_delayMs, signal) =>
    new Promise((_resolve, reject) => {
      signal?.addEventListener('abort', () => reject(signal.reason), { once: true });
    }),
};

function open(): { dispatchers: Dispatchers; recorder: Recorder } {
  const base = { clock, random: () => 0, log: silentLog, failpoint: noFailpoints };
  const onFatal = (error: unknown): never => {
    throw error;
  };
  const recorder = new Recorder(
    { ...base, results: bench.state.results, onFatal },
    { groupMax: null, lingerMs: 0, groupBytesMax: 1e6 },
  );
  const dispatchers = new Dispatchers(
    {
      ...base,
      onFatal,
      recorder,
      work: bench.state.work,
      inputs: bench.blobs,
      workerId: 'test',
      hasDiskSpace: () => true,
      suspectTurn: { line: null },
      servers: new Servers(base),
      retryStorms: new RetryStorms(base),
      deployments: {
        find: async (_scope, name): Promise<Deployment | undefined> => {
          asked.push(name);
          const found = bench.deployments.get(name);
          if (isSlow) await new Promise<void>((resolve) => answers.push(resolve));
          return found;
        },
        list: async () => [...bench.deployments.values()],
      },
    },
    { retriesMax: 0, retryBaseMs: 1, retryCapMs: 1, acceptedBefore: false },
  );
  return { dispatchers, recorder };
}

/** So many results may be without a commit. */
const groupOf = (recorder: Recorder): number => {
  let results = 0;
  while (!recorder.isFull(results, 0)) results += 1;
  return results;
};

const batchOf = (deployment: string) =>
  ({ seq: 1, resourceId: scope.resourceId, deployment }) as Batch & { deployment: string };

test('an idle dispatcher is asked about no more, kept for what it knows, and dropped after a quarter of an hour', async () => {
  bench.deploy();
  const { dispatchers } = open();
  const batch = batchOf('d');
  const dispatcher = await dispatchers.of(batch);

  nowMs = 10 * 60_000;
  asked = [];
  await dispatchers.refresh([]);
  expect(asked).toEqual([]);
  expect(await dispatchers.of(batch)).toBe(dispatcher);

  nowMs += 16 * 60_000;
  await dispatchers.refresh([]);
  expect(dispatchers.get(batch)).toBeUndefined();
});

test('the group that is committed together follows the deployment with the most requests in flight', async () => {
  bench.deploy({ name: 'narrow', concurrencyMax: 4 });
  bench.deploy({ name: 'wide', concurrencyMax: 100 });
  const { dispatchers, recorder } = open();
  await dispatchers.of(batchOf('narrow'));
  expect(groupOf(recorder)).toBe(64);

  await dispatchers.of(batchOf('wide'));
  expect(groupOf(recorder)).toBe(200);

  bench.deploy({ name: 'wide', concurrencyMax: 50 });
  await dispatchers.refresh([]);
  expect(groupOf(recorder)).toBe(100);
});

test('deployments are read one after another, so that a late answer does not undo a later one', async () => {
  const [old, young] = [bench.upstream('old'), bench.upstream('young')];
  bench.deploy({ upstreams: [old] });
  const { dispatchers } = open();
  isSlow = true;
  const first = dispatchers.refresh([batchOf('d')]);
  const second = dispatchers.refresh([batchOf('d')]);

  await eventually(() => expect(answers).toHaveLength(1));
  bench.deploy({ upstreams: [young] });
  answers.shift()?.();
  expect((await first).get('default/d')?.upstreams).toEqual([old]);
  await eventually(() => expect(answers).toHaveLength(1));
  answers.shift()?.();

  expect((await second).get('default/d')?.upstreams).toEqual([young]);
  expect(asked).toEqual(['d', 'd']);
});
