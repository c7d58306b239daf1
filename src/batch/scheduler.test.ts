import { afterEach, beforeEach, expect, test } from 'vitest';
import { deploymentFor } from '../../test/support/deployment.ts';
import { eventually, openEngineBench, type EngineBench } from '../../test/support/engine.ts';
import { batchBySeq, batchOf, createBatch, planOf, scope, upTo } from '../../test/support/state-store.ts';
import type { Batch } from '../contract/batch.ts';
import { nowS, systemClock } from '../core/clock.ts';
import { createLog } from '../core/log.ts';
import type { Deployment } from '../deployments/port.ts';
import { LocalQueue } from '../stores/queue/local.ts';
import { StoreError, type StateStore } from '../stores/state/ports.ts';
import type { DeploymentKey } from './deployment-key.ts';
import { AdmissionQueue } from './admission/admission-queue.ts';
import { Scheduler, type Stages } from './scheduler.ts';

const DAY_MS = 24 * 3_600_000;
const NOW_S = nowS(systemClock);

let bench: EngineBench;
let store: StateStore;
let queue: LocalQueue;
let stopping: AbortController;
let scheduler: Scheduler;
let deployments: Map<DeploymentKey, Deployment>;
/** Stages that were run, as `batch status`. */
let stages: string[];
/** Batches whose end was logged. */
let ended: string[];
let fatal: unknown[];

beforeEach(async () => {
  bench = await openEngineBench();
  store = bench.state;
  queue = new LocalQueue();
  stopping = new AbortController();
  deployments = new Map([['alpha/gpt', deploymentFor({ name: 'gpt', enqueuedTokensMax: 100 })]]);
  [stages, ended, fatal] = [[], [], []];
});
afterEach(async () => {
  await stop();
  await bench.close();
});

/** Each stage moves a batch on in the store, as the engine's do. */
const moving: Stages = {
  validating: async ({ seq, waitingTokens, ...batch }) => {
    const enqueuedTokens = waitingTokens ?? batch.enqueuedTokens;
    const planned = await store.batches.plan(seq, planOf(0, { enqueuedTokens, room: upTo(115), atS: NOW_S }));
    return planned === 'planned' ? 'goes_on' : 'rests';
  },
  in_progress: async ({ seq }) => {
    await store.batches.startFinalizing(seq, 2_000);
    return 'goes_on';
  },
  finalizing: async ({ seq }) => {
    const nothing = { completed: 0, failed: 0, files: [] };
    await store.batches.publish(seq, { from: 'finalizing', to: 'completed', atS: 2_000, ...nothing });
    return 'goes_on';
  },
  cancelling: async () => 'rests',
};

function start(given: Partial<Stages> = {}, tickMs = DAY_MS): void {
  const run = { ...moving, ...given };
  const noted =
    (status: keyof Stages) =>
    async (batch: Batch): ReturnType<Stages['validating']> => {
      stages.push(`${batch.id} ${batch.status}`);
      return run[status](batch);
    };
  scheduler = new Scheduler({
    queue,
    batches: store.batches,
    dispatchers: { refresh: async () => new Map(deployments) },
    admissionQueue: new AdmissionQueue(),
    lifecycleLog: { ended: ({ id }) => void ended.push(id) },
    stages: {
      validating: noted('validating'),
      in_progress: noted('in_progress'),
      finalizing: noted('finalizing'),
      cancelling: noted('cancelling'),
    },
    onPass: async () => {},
    onRest: () => {},
    tickMs,
    clock: systemClock,
    random: () => 0,
    log: createLog(() => {}),
    onFatal: (error) => void fatal.push(error),
    signal: stopping.signal,
  });
  scheduler.start();
}

async function stop(): Promise<void> {
  stopping.abort(new Error('the test is over'));
  await scheduler.stop();
}

const wait = (id: string, enqueuedTokens: number) =>
  store.batches.create(scope, batchOf(id, { enqueuedTokens, createdAt: NOW_S, whenFull: 'wait' }), {
    room: upTo(100),
  });

const completed = ({ seq }: Batch) =>
  eventually(async () => expect(await batchBySeq(store, seq)).toMatchObject({ status: 'completed' }));

test('a live batch goes through its stages to its end, which is logged once', async () => {
  const batch = await createBatch(store, 'b');

  start();

  await eventually(() => expect(ended).toEqual(['b']));
  expect(stages).toEqual(['b validating', 'b in_progress', 'b finalizing']);
  expect(await batchBySeq(store, batch.seq)).toMatchObject({ status: 'completed' });
});

test('a batch goes on at the stage where an earlier process has left it', async () => {
  const batch = await createBatch(store, 'b');
  await store.batches.plan(batch.seq, planOf(0));

  start();
  await completed(batch);

  expect(stages).toEqual(['b in_progress', 'b finalizing']);
});

test('a change that is notified is followed at once', async () => {
  start();
  const batch = await createBatch(store, 'b');

  queue.notify();

  await eventually(() => expect(ended).toEqual([batch.id]));
});

test('a change that nobody notified is followed at the next tick', async () => {
  start({}, 5);

  const batch = await createBatch(store, 'b');

  await eventually(() => expect(ended).toEqual([batch.id]));
});

test('a batch whose deployment is gone waits until that is back', async () => {
  const gone = await createBatch(store, 'gone', { deployment: 'other' });
  const here = await createBatch(store, 'here');
  start();
  await completed(here);
  expect(stages).not.toContain('gone validating');

  deployments.set('alpha/other', deploymentFor({ name: 'other' }));
  queue.notify();

  await completed(gone);
  expect(stages).toContain('gone validating');
});

test('of the batches that wait for room only the one that can start is tried', async () => {
  await wait('holder', 90);
  await wait('large', 80);
  for (const id of ['small', 'last']) await wait(id, 20);
  deployments.set('alpha/gpt', deploymentFor({ name: 'gpt', enqueuedTokensMax: 115 }));
  start({ in_progress: async () => 'rests' });

  await eventually(() => expect(stages).toContain('small in_progress'));

  expect(stages.filter((stage) => stage.endsWith('validating'))).toEqual([
    'holder validating',
    'small validating',
  ]);
});

test('a stage that fails for a transient reason is run again, and any other failure is fatal', async () => {
  const batch = await createBatch(store, 'b');
  const failures = [new StoreError('busy', 'busy'), new Error('a bug')];
  start({
    finalizing: () => Promise.reject(failures.shift() ?? new Error('a third time')),
  });

  await eventually(() => expect(fatal).toHaveLength(1));

  expect(fatal).toMatchObject([{ message: 'a bug' }]);
  expect(stages.filter((stage) => stage === 'b finalizing')).toHaveLength(2);
  expect(await batchBySeq(store, batch.seq)).toMatchObject({ status: 'finalizing' });
});

test('a stop lets the stage under way finish, and runs no other', async () => {
  const batch = await createBatch(store, 'b');
  const gate = Promise.withResolvers<void>();
  start({ in_progress: (running) => gate.promise.then(() => moving.in_progress(running)) });
  await eventually(() => expect(stages).toContain('b in_progress'));

  const stopped = stop();
  gate.resolve();
  await stopped;

  expect(stages.at(-1)).toBe('b in_progress');
  expect(await batchBySeq(store, batch.seq)).toMatchObject({ status: 'finalizing' });
});
