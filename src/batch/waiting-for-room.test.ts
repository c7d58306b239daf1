import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import {
  hang,
  many,
  ok,
  openEngineBench,
  requestLine,
  scope,
  eventually,
  type EngineBench,
} from '../../test/support/engine.ts';
import { QUEUE_PASS_S } from '../contract/control.ts';
import { isTerminal, type Batch } from '../contract/batch.ts';
import type { Engine } from './engine.ts';

let bench: EngineBench;
beforeEach(async () => {
  bench = await openEngineBench();
});
afterEach(() => bench.close());

/** Tokens of one request of `many`, as the service counts them. */
async function tokensOf(content: string): Promise<number> {
  bench.deploy({ name: 'd' });
  const engine = await bench.start();
  const { batch } = await bench.create(engine, await bench.upload(content));
  await bench.ended(batch);
  await engine.stop({ drainMs: 0 });
  bench.calls.length = 0;
  return batch.enqueuedTokens;
}

const wait = async (engine: Engine, content: string): Promise<Batch> =>
  (await bench.create(engine, await bench.upload(content), { whenFull: 'wait' })).batch;

/** Each request is answered once its batch, named by the prefix of its ids, is let go. */
function gates(): { letGo: (prefix: string) => void } {
  const open = new Map<string, PromiseWithResolvers<void>>();
  const gate = (prefix: string) => {
    const known = open.get(prefix) ?? Promise.withResolvers<void>();
    open.set(prefix, known);
    return known;
  };
  bench.reply = ({ body }, signal) => {
    const prefix = /"content":"([a-z]+)/.exec(Buffer.from(body).toString())?.[1] ?? '';
    return Promise.race([gate(prefix).promise.then(() => ok), hang(signal)]);
  };
  return { letGo: (prefix) => gate(prefix).resolve() };
}

const running = (batch: Batch) =>
  eventually(async () => expect((await bench.batch(batch)).status).toBe('in_progress'));

test('fifty creates at once on a limit for three all complete, and never more than the limit is held', async () => {
  const one = await tokensOf(many(3, 'one'));
  bench.deploy({ enqueuedTokensMax: 3 * one });
  const engine = await bench.start();
  let heldMax = 0;
  bench.reply = async () => {
    const held = (await bench.state.batches.enqueuedTokens(scope)).get('d')?.held ?? 0;
    heldMax = Math.max(heldMax, held);
    return ok;
  };
  const files = await Promise.all(Array.from({ length: 50 }, () => bench.upload(many(3, 'one'))));

  const created = await Promise.all(files.map((file) => bench.create(engine, file, { whenFull: 'wait' })));
  const done = await Promise.all(created.map(({ batch }) => bench.ended(batch)));

  expect(done.map(({ status }) => status)).toEqual(Array.from({ length: 50 }, () => 'completed'));
  expect(created.some(({ batch }) => batch.waitingTokens !== null)).toBe(true);
  expect(heldMax).toBeLessThanOrEqual(3 * one);
  expect(bench.calls).toHaveLength(150);
});

test('batches that wait start by age, each with its place and reason before', async () => {
  const one = await tokensOf(many(2, 'a'));
  bench.deploy({ enqueuedTokensMax: one });
  const engine = await bench.start({ tickMs: 60_000 });
  const { letGo } = gates();
  const first = await wait(engine, many(2, 'a'));
  await running(first);
  const second = await wait(engine, many(2, 'b'));
  const third = await wait(engine, many(2, 'c'));

  expect(engine.progress(third)).toMatchObject({
    queue: { position: 2, length: 2, tokens: one, tokensAhead: one },
    waiting: `Waits for room: place 2 in the queue of deployment d; needs ${one} tokens, 0 of ${one} are free.`,
    enqueuedTokens: { held: one, limit: one },
  });
  letGo('a');
  await running(second);
  await eventually(() => expect(engine.progress(third)?.queue?.position).toBe(1));
  expect((await bench.batch(third)).status).toBe('validating');
  letGo('c');
  letGo('b');
  await bench.ended(third);

  const order = await Promise.all(
    [first, second, third].map(async (batch) => (await bench.batch(batch)).status),
  );
  expect(order).toEqual(['completed', 'completed', 'completed']);
});

test('a small one passes a large one that does not fit', async () => {
  const one = await tokensOf(requestLine('a'));
  bench.deploy({ enqueuedTokensMax: 4 * one });
  const engine = await bench.start();
  const { letGo } = gates();
  const first = await wait(engine, many(2, 'a'));
  await running(first);
  const large = await wait(engine, many(4, 'b'));
  expect(large.waitingTokens).toBeGreaterThan(0);

  const small = await wait(engine, many(1, 'c'));
  letGo('c');
  await bench.ended(small);

  expect((await bench.batch(large)).status).toBe('validating');
  letGo('a');
  letGo('b');
  expect((await bench.ended(large)).status).toBe('completed');
});

test('nothing passes a large one that has waited long enough, though it would fit', async () => {
  const one = await tokensOf(requestLine('a'));
  bench.deploy({ enqueuedTokensMax: 4 * one });
  const engine = await bench.start();
  const { letGo } = gates();
  await running(await wait(engine, many(2, 'a')));
  const now = vi.spyOn(Date, 'now').mockReturnValue(Date.now() - (QUEUE_PASS_S + 60) * 1_000);
  const large = await wait(engine, many(4, 'b'));
  now.mockRestore();

  const small = await wait(engine, many(1, 'c'));

  expect(small.waitingTokens).toBe(one);
  await eventually(() =>
    expect(engine.progress(small)?.waiting).toMatch(/place 2 .* are free, kept for older batches\.$/),
  );
  for (const prefix of ['a', 'b', 'c']) letGo(prefix);
  const [largeDone, smallDone] = [await bench.ended(large), await bench.ended(small)];
  expect(smallDone.inProgressAt).toBeGreaterThanOrEqual(largeDone.completedAt ?? Infinity);
});

test('a batch that waits can be cancelled, and those behind it move up', async () => {
  const one = await tokensOf(many(2, 'a'));
  bench.deploy({ enqueuedTokensMax: one });
  const engine = await bench.start();
  const { letGo } = gates();
  await running(await wait(engine, many(2, 'a')));
  const second = await wait(engine, many(2, 'b'));
  const third = await wait(engine, many(2, 'c'));

  await bench.state.batches.cancel(scope, second.id, 1);
  engine.notify();

  expect(await bench.ended(second)).toMatchObject({ status: 'cancelled', counts: { total: 0 } });
  await eventually(() => expect(engine.progress(third)?.queue?.position).toBe(1));
  letGo('a');
  letGo('c');
  expect((await bench.ended(third)).status).toBe('completed');
});

test('batches wait on after a restart, in their order', async () => {
  const one = await tokensOf(many(2, 'a'));
  bench.deploy({ enqueuedTokensMax: one });
  const before = await bench.start();
  const { letGo } = gates();
  const first = await wait(before, many(2, 'a'));
  await running(first);
  const second = await wait(before, many(2, 'b'));
  const third = await wait(before, many(2, 'c'));
  await before.stop({ drainMs: 0 });

  const engine = await bench.start();
  await eventually(() =>
    expect([second, third].map((batch) => engine.progress(batch)?.queue?.position)).toEqual([1, 2]),
  );
  for (const prefix of ['a', 'b', 'c']) letGo(prefix);

  const done = await Promise.all([first, second, third].map((batch) => bench.ended(batch)));
  expect(done.every(({ status }) => status === 'completed')).toBe(true);
});

test('a raised limit starts those that wait, a lowered one refuses what can never fit any more', async () => {
  const one = await tokensOf(many(2, 'a'));
  bench.deploy({ enqueuedTokensMax: one, whenFull: 'wait' });
  const engine = await bench.start({ tickMs: 60_000 });
  const { letGo } = gates();
  const first = await wait(engine, many(2, 'a'));
  await running(first);
  const second = await wait(engine, many(2, 'b'));
  expect(second.waitingTokens).toBe(one);

  bench.deploy({ enqueuedTokensMax: 2 * one });
  await engine.redeploy();
  await running(second);
  const third = await wait(engine, many(2, 'c'));
  bench.deploy({ enqueuedTokensMax: one - 1 });
  await engine.redeploy();

  const refused = await bench.ended(third);
  expect(refused).toMatchObject({ status: 'failed', enqueuedTokens: 0 });
  expect(refused.errors?.data[0]).toMatchObject({ code: 'token_limit_exceeded', line: null });
  expect(refused.errors?.data[0]?.message).toContain('it can never start under this limit');
  letGo('a');
  letGo('b');
  expect((await bench.ended(second)).status).toBe('completed');
});

test('a batch that waits for room waits for its deployment too, should that go', async () => {
  const one = await tokensOf(many(2, 'a'));
  bench.deploy({ enqueuedTokensMax: one });
  const engine = await bench.start();
  const { letGo } = gates();
  await running(await wait(engine, many(2, 'a')));
  const second = await wait(engine, many(2, 'b'));
  const deployment = bench.deployments.get('d')!;

  bench.deployments.delete('d');
  await engine.redeploy();
  letGo('a');
  letGo('b');
  await eventually(() => expect(engine.progress(second)?.waiting).toContain("The deployment 'd' is gone."));
  expect(isTerminal((await bench.batch(second)).status)).toBe(false);
  bench.deployments.set('d', deployment);

  expect((await bench.ended(second)).status).toBe('completed');
});

test('a batch whose file took long to inspect waits or fails as its deployment says', async () => {
  const one = await tokensOf(many(2, 'a'));
  bench.deploy({ enqueuedTokensMax: one, whenFull: 'wait' });
  bench.deploy({ name: 'e', enqueuedTokensMax: one, whenFull: 'fail' });
  const engine = await bench.start({ createWaitMs: 1 });
  const { letGo } = gates();
  const strictly = (content: string): string => content.replaceAll('"model":"d"', '"model":"e"');
  const [holder, strictHolder] = [many(2, 'a'), strictly(many(2, 'a'))];
  await running(await wait(engine, holder));
  await running(await wait(engine, strictHolder));
  const inspected = Promise.withResolvers<void>();
  bench.inspecting = inspected.promise;

  const { batch: patient } = await bench.create(engine, await bench.upload(many(2, 'b')));
  const { batch: strict } = await bench.create(engine, await bench.upload(strictly(many(2, 'b'))));
  expect(patient).toMatchObject({ deployment: null, whenFull: null });
  inspected.resolve();

  await eventually(async () => expect((await bench.batch(patient)).waitingTokens).toBe(one));
  expect((await bench.ended(strict)).errors?.data[0]?.code).toBe('token_limit_exceeded');
  letGo('a');
  letGo('b');
  expect((await bench.ended(patient)).status).toBe('completed');
});
