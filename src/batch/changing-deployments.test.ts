import { afterEach, beforeEach, expect, test } from 'vitest';
import {
  hang,
  many,
  ok,
  openEngineBench,
  scope,
  eventually,
  type EngineBench,
} from '../../test/support/engine.ts';
import { systemClock } from '../core/clock.ts';
import type { Batch } from '../contract/batch.ts';
import type { Engine } from './engine.ts';

let bench: EngineBench;
beforeEach(async () => {
  bench = await openEngineBench();
});
afterEach(() => bench.close());

async function says(engine: Engine, batch: Batch, reason: string): Promise<void> {
  await eventually(async () => expect(engine.progress(await bench.batch(batch))?.waiting).toContain(reason));
}

/** Answers when told to. */
function gated(): { answerAll: () => void } {
  const open = Promise.withResolvers<void>();
  bench.reply = (_request, signal) => Promise.race([open.promise.then(() => ok), hang(signal)]);
  return { answerAll: () => open.resolve() };
}

test('after a change nothing is sent to an upstream that was removed, and what it had in flight counts', async () => {
  const [old, young] = [bench.upstream('old'), bench.upstream('young')];
  bench.deploy({ upstreams: [old], concurrencyMax: 4 });
  const engine = await bench.start({ tickMs: 60_000 });
  const gate = gated();
  const { batch } = await bench.create(engine, await bench.upload(many(50)));
  await eventually(() => expect(bench.called).toHaveLength(4));

  bench.deploy({ upstreams: [young] });
  await engine.redeploy();
  gate.answerAll();
  const done = await bench.ended(batch);

  expect(done.counts).toEqual({ total: 50, completed: 50, failed: 0 });
  expect(bench.called.filter((name) => name === 'old')).toHaveLength(4);
  expect(bench.called.filter((name) => name === 'young')).toHaveLength(46);
});

test('an upstream that was added takes requests of a batch that runs already', async () => {
  const first = bench.upstream('first');
  bench.deploy({ upstreams: [first], concurrencyMax: 4 });
  const engine = await bench.start();
  bench.reply = async (_request, signal, name) => (name === 'first' ? hang(signal) : ok);
  const { batch } = await bench.create(engine, await bench.upload(many(20)));
  await eventually(() => expect(bench.called).toHaveLength(4));

  bench.deploy({ upstreams: [first, bench.upstream('second')], concurrencyMax: 5 });

  await eventually(async () => expect((await bench.batch(batch)).counts.completed).toBe(16));
  expect(bench.called.filter((name) => name === 'second')).toHaveLength(16);
});

test('a lower limit holds for every request sent after the change', async () => {
  bench.deploy({ concurrencyMax: 8 });
  const engine = await bench.start({ tickMs: 60_000 });
  let inFlight = 0;
  let inFlightMax = 0;
  let changed = false;
  bench.reply = async () => {
    inFlight += 1;
    if (changed) inFlightMax = Math.max(inFlightMax, inFlight);
    await systemClock.sleep(1);
    inFlight -= 1;
    return ok;
  };
  const { batch } = await bench.create(engine, await bench.upload(many(400)));
  await eventually(() => expect(bench.calls.length).toBeGreaterThan(16));

  bench.deploy({ concurrencyMax: 2 });
  await engine.redeploy();
  await eventually(() => expect(inFlight).toBeLessThanOrEqual(2));
  changed = true;
  await bench.ended(batch);

  expect(inFlightMax).toBe(2);
});

test('a batch that no upstream may serve sends nothing, says so, and starts when there is one', async () => {
  bench.deploy({ upstreams: [], sku: 'DataZoneBatch' });
  const engine = await bench.start();

  const { batch } = await bench.create(engine, await bench.upload(many(5)));
  await says(engine, batch, "No upstream serves the deployment 'd' (m, DataZoneBatch)");
  expect(bench.calls).toEqual([]);
  bench.deploy({ upstreams: [bench.upstream('here')] });

  expect((await bench.ended(batch)).counts.completed).toBe(5);
});

test('a batch whose deployment is gone waits for it, also after a restart, and fails no line', async () => {
  bench.deploy({ concurrencyMax: 2 });
  const first = await bench.start();
  const gate = gated();
  const { batch } = await bench.create(first, await bench.upload(many(10)));
  await eventually(() => expect(bench.calls).toHaveLength(2));
  const deployment = bench.deployments.get('d')!;

  bench.deployments.delete('d');
  await first.redeploy();
  gate.answerAll();
  const what = "The deployment 'd' is gone. Configure it again under the same name, or cancel the batch.";
  await says(first, batch, what);
  await first.stop({ drainMs: 1_000 });
  const second = await bench.start();
  await says(second, batch, what);
  expect(bench.calls).toHaveLength(2);
  bench.deployments.set('d', deployment);

  expect((await bench.ended(batch)).counts).toEqual({ total: 10, completed: 10, failed: 0 });
  expect(bench.calls).toHaveLength(10);
});

test('a batch whose deployment is gone can be cancelled, and keeps what it has', async () => {
  bench.deploy({ concurrencyMax: 2 });
  const engine = await bench.start();
  const gate = gated();
  const { batch } = await bench.create(engine, await bench.upload(many(10)));
  await eventually(() => expect(bench.calls).toHaveLength(2));
  bench.deployments.delete('d');
  await engine.redeploy();
  gate.answerAll();
  await eventually(async () => expect((await bench.batch(batch)).counts.completed).toBe(2));

  await bench.state.batches.cancel(scope, batch.id, 1);
  engine.notify();

  expect(await bench.ended(batch)).toMatchObject({
    status: 'cancelled',
    counts: { total: 10, completed: 2, failed: 8 },
  });
});

test('a batch with all its answers ends although its deployment is gone', async () => {
  bench.deploy();
  const first = await bench.start();
  bench.reply = (_request, signal) => hang(signal);
  const { batch } = await bench.create(first, await bench.upload(many(2)));
  await eventually(() => expect(bench.calls).toHaveLength(2));
  await first.stop({ drainMs: 0 });
  const { work, results } = bench.state;
  const [segment] = await work.claim(batch.seq, { workerId: 'one that ends now', segmentsMax: 1 });
  const result = { batchSeq: batch.seq, segmentIndex: 0, ok: true, usage: ok.usage, retries: 0 };
  await results.commit(
    [1, 2].map((line) => ({ ...result, epoch: segment!.epoch, line, payload: Buffer.from('{}') })),
  );
  bench.deployments.delete('d');

  await bench.start();

  expect(await bench.ended(batch)).toMatchObject({ status: 'completed', counts: { completed: 2 } });
});

test('what a removed upstream answers is held against no line', async () => {
  bench.deploy({ upstreams: [bench.upstream('leaving')], concurrencyMax: 3 });
  const engine = await bench.start({ retriesMax: 0 });
  const left = Promise.withResolvers<void>();
  bench.reply = async (_request, _signal, name) => {
    if (name !== 'leaving') return ok;
    await left.promise;
    return { kind: 'failure', reason: 'reset', message: 'connection reset', status: null };
  };
  const { batch } = await bench.create(engine, await bench.upload(many(9)));
  await eventually(() => expect(bench.called).toHaveLength(3));

  bench.deploy({ upstreams: [bench.upstream('staying')] });
  await engine.redeploy();
  left.resolve();

  expect((await bench.ended(batch)).counts).toEqual({ total: 9, completed: 9, failed: 0 });
});
