import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest';
import {
  answer,
  hang,
  many,
  ok,
  openEngineBench,
  requestLine,
  scope,
  type EngineBench,
} from '../../test/support/engine.ts';
import { ApiError } from '../contract/error.ts';
import { systemClock } from '../core/clock.ts';
import type { Deployment } from '../deployments/port.ts';
import type { Engine, EngineOptions } from './engine.ts';

let bench: EngineBench;
beforeEach(async () => {
  bench = await openEngineBench();
});
afterEach(() => bench.close());

function startEngine(
  options: Partial<EngineOptions> = {},
  deployment: Partial<Deployment> = {},
): Promise<Engine> {
  bench.deploy(deployment);
  return bench.start(options);
}

test('a batch ends with every answer in input order, its counts and its usage', async () => {
  const engine = await startEngine();

  const { batch } = await bench.create(engine, await bench.upload(many(150)));
  const done = await bench.ended(batch);

  expect(done).toMatchObject({ status: 'completed', counts: { total: 150, completed: 150, failed: 0 } });
  expect(done.usage).toEqual({ inputTokens: 450, cachedTokens: 0, outputTokens: 300, reasoningTokens: 0 });
  const lines = await bench.linesOf(done.outputFileId);
  expect(lines.map((line) => line.custom_id)).toEqual(Array.from({ length: 150 }, (_, index) => `r${index}`));
  expect(await bench.linesOf(done.errorFileId)).toEqual([]);
  expect(bench.calls).toHaveLength(150);
});

test('a file with a bad line is failed at once, and nothing is sent from it', async () => {
  const engine = await startEngine();

  const { batch } = await bench.create(
    engine,
    await bench.upload(`${requestLine('a')}{broken\n${requestLine('a')}`),
  );

  expect(batch.status).toBe('failed');
  expect(batch.errors?.data.map(({ code, line }) => [code, line])).toEqual([
    ['invalid_json_line', 2],
    ['duplicate_custom_id', 3],
  ]);
  expect(bench.calls).toEqual([]);
});

test('a file that names no deployment of the resource is failed with the names that there are', async () => {
  const engine = await startEngine();

  const { batch } = await bench.create(engine, await bench.upload(requestLine('a', 'nope')));

  expect(batch.errors?.data[0]).toMatchObject({ code: 'model_not_found', line: 1 });
  expect(batch.errors?.data[0]?.message).toContain("'d'");
});

test.each([
  ['azure', ['url_mismatch', 'invalid_request', 'url_mismatch']],
  ['openai', ['invalid_url', 'streaming_unsupported', 'invalid_url']],
] as const)(
  'a batch of %s is judged by its own rules, however long its file takes to inspect',
  async (dialect, codes) => {
    const engine = await startEngine({ createWaitMs: 1 });
    const content = ['a', 'b', 'c'].map((id) => requestLine(id)).join('');
    const [first = '', second = '', third = ''] = content.trimEnd().split('\n');
    const responses = (line: string): string =>
      line.replace('/chat/completions', '/responses').replace('"messages"', '"input"');
    const streams = second.replace('"model"', '"stream":true,"model"');
    const file = [responses(first), streams, responses(third)].join('\n');
    const onlyResponses = [first, third].map(responses).join('\n');

    const judged = async (text: string, isLate: boolean) => {
      const inspected = Promise.withResolvers<void>();
      bench.inspecting = isLate ? inspected.promise : Promise.resolve();
      const created = await bench.create(engine, await bench.upload(text), { dialect });
      inspected.resolve();
      const { status, errors } = await bench.ended(created.batch);
      return { wasLate: created.batch.status === 'validating', status, errors };
    };

    const early = await judged(file, false);
    expect(early).toMatchObject({ errors: { data: codes.map((code) => ({ code })) } });
    expect(await judged(file, true)).toEqual({ ...early, wasLate: true });
    const aliased = await judged(onlyResponses, false);
    expect(aliased).toMatchObject({ status: dialect === 'azure' ? 'completed' : 'failed' });
    expect(await judged(onlyResponses, true)).toEqual({ ...aliased, wasLate: true });
  },
);

test('a batch beyond the enqueued-token limit is refused with the text of the original, and leaves nothing', async () => {
  const engine = await startEngine({}, { enqueuedTokensMax: 30_000 });
  const content = `${requestLine('a').trimEnd().slice(0, -5)}${'word '.repeat(60_000)}"}]}}\n`;
  const fileId = await bench.upload(content);

  const refused = await bench.create(engine, fileId).catch((error: unknown) => error);

  expect(refused).toBeInstanceOf(ApiError);
  expect(refused).toMatchObject({ code: 'tokenLimitExceeded' });
  expect(String(refused)).toContain("has surpassed the configured limit of 30K for the deployment 'd'");
  expect(await bench.state.batches.live()).toEqual([]);
});

describe('failures', () => {
  test('a poison line is recorded as failed after its retries while the others finish', async () => {
    const engine = await startEngine({ retriesMax: 2 });
    bench.reply = ({ body }) => (Buffer.from(body).includes('"r7"') ? answer(500) : ok);

    const { batch } = await bench.create(engine, await bench.upload(many(20)));
    const done = await bench.ended(batch);

    expect(done.counts).toEqual({ total: 20, completed: 19, failed: 1 });
    expect(await bench.linesOf(done.errorFileId)).toMatchObject([
      { custom_id: 'r7', response: { status_code: 500 }, error: null },
    ]);
    const calls = bench.calls.filter((body) => body.includes('"r7"')).length;
    // The first failure, and two or three more before it is known that others get through.
    expect(calls).toBeGreaterThanOrEqual(3);
    expect(calls).toBeLessThanOrEqual(5);
    expect(done.retries).toBe(calls - 1);
  });

  test('a line that the upstream rejects is failed at once, with the answer as it came', async () => {
    const engine = await startEngine();
    bench.reply = ({ body }) => (Buffer.from(body).includes('"r1"') ? answer(400) : ok);

    const { batch } = await bench.create(engine, await bench.upload(many(3)));
    const done = await bench.ended(batch);

    expect(done.counts).toEqual({ total: 3, completed: 2, failed: 1 });
    expect(bench.calls).toHaveLength(3);
  });

  test('a refused key holds the batch back, with the reason on it, and fails no line', async () => {
    const engine = await startEngine({ retriesMax: 0 });
    bench.reply = () => answer(401);

    const { batch } = await bench.create(engine, await bench.upload(many(200)));
    await vi.waitFor(async () => {
      const live = await bench.state.batches.get(scope, batch.id);
      expect(live && engine.progress(live)?.waiting).toContain('model-server refuses the requests: 401');
    });

    expect((await bench.state.batches.get(scope, batch.id))?.counts.failed).toBe(0);
    expect(bench.calls.length).toBeLessThanOrEqual(20);
    bench.reply = () => ok;
    expect((await bench.ended(batch)).counts.completed).toBe(200);
  });

  test('an upstream that cannot be reached fails no line, and work goes on when it is back', async () => {
    const engine = await startEngine({ retriesMax: 0 });
    let down = true;
    bench.reply = () =>
      down ? { kind: 'failure', reason: 'unreachable', message: 'connection refused', status: null } : ok;

    const { batch } = await bench.create(engine, await bench.upload(many(10)));
    await vi.waitFor(async () => {
      const live = await bench.state.batches.get(scope, batch.id);
      expect(live && engine.progress(live)?.waiting).toContain('connection refused');
    });
    down = false;

    expect((await bench.ended(batch)).counts).toEqual({ total: 10, completed: 10, failed: 0 });
  });

  test('no request is sent while the disk has no space for its answer', async () => {
    bench.hasDiskSpace = false;
    const engine = await startEngine();

    const { batch } = await bench.create(engine, await bench.upload(many(3)));
    await vi.waitFor(async () => {
      const live = await bench.state.batches.get(scope, batch.id);
      expect(live && engine.progress(live)?.waiting).toContain('disk');
    });
    expect(bench.calls).toEqual([]);
    bench.hasDiskSpace = true;

    expect((await bench.ended(batch)).status).toBe('completed');
  });
});

describe('endings', () => {
  test('a cancelled batch keeps the answers it has and says of each other line that it was cancelled', async () => {
    const engine = await startEngine();
    bench.reply = ({ body }, signal) => (Buffer.from(body).includes('"r1"') ? ok : hang(signal));

    const { batch } = await bench.create(engine, await bench.upload(many(100)));
    await vi.waitFor(async () =>
      expect((await bench.state.batches.get(scope, batch.id))?.counts.completed).toBe(1),
    );
    await bench.state.batches.cancel(scope, batch.id, 1);
    engine.notify();
    const done = await bench.ended(batch);

    expect(done).toMatchObject({ status: 'cancelled', counts: { total: 100, completed: 1, failed: 99 } });
    expect((await bench.linesOf(done.outputFileId)).map((line) => line.custom_id)).toEqual(['r1']);
    const errors = await bench.linesOf(done.errorFileId);
    expect(new Set(errors.map((line) => line.error?.code))).toEqual(new Set(['batch_cancelled']));
    expect(errors.map((line) => line.custom_id)).toEqual(
      Array.from({ length: 100 }, (_, index) => `r${index}`).filter((id) => id !== 'r1'),
    );
  });

  test('with a strict window, a batch past its end expires with the answers it has', async () => {
    const clock = { ...systemClock, now: () => Date.now() - 25 * 3_600_000 };
    const engine = await startEngine({ strictWindow: true });
    bench.reply = (_request, signal) => hang(signal);
    const { batch } = await createInThePast(engine, clock.now());

    expect(await bench.ended(batch)).toMatchObject({
      status: 'expired',
      counts: { total: 5, completed: 0, failed: 5 },
    });
  });

  async function createInThePast(engine: Engine, nowMs: number) {
    const now = vi.spyOn(Date, 'now').mockReturnValue(nowMs);
    try {
      return await bench.create(engine, await bench.upload(many(5)));
    } finally {
      now.mockRestore();
    }
  }
});

test('a large batch does not hold up a small one of the same deployment', async () => {
  const engine = await startEngine();
  const smallEnds: number[] = [];
  bench.reply = async ({ body }) => {
    await systemClock.sleep(2);
    if (Buffer.from(body).includes('small')) smallEnds.push(bench.calls.length);
    return ok;
  };

  const large = await bench.create(engine, await bench.upload(many(2_000, 'large')));
  await vi.waitFor(() => expect(bench.calls.length).toBeGreaterThan(50));
  const before = bench.calls.length;
  const small = await bench.create(engine, await bench.upload(many(10, 'small')));
  await bench.ended(small.batch);

  expect(smallEnds.at(-1)! - before).toBeLessThan(300);
  expect((await bench.state.batches.get(scope, large.batch.id))?.status).toBe('in_progress');
});

test('an engine that takes over sends only what has no result, and counts what may be sent twice', async () => {
  const first = await startEngine();
  bench.reply = ({ body }, signal) => (/"r[0-9]"/.test(Buffer.from(body).toString()) ? ok : hang(signal));
  const { batch } = await bench.create(first, await bench.upload(many(200)));
  await vi.waitFor(async () =>
    expect((await bench.state.batches.get(scope, batch.id))?.counts.completed).toBe(10),
  );

  // The first engine is left hanging, as a process that was paused: its late writes must not count.
  bench.reply = () => ok;
  await startEngine();
  const done = await bench.ended(batch);

  expect(done.counts).toEqual({ total: 200, completed: 200, failed: 0 });
  expect(done.resent).toBeGreaterThan(0);
  expect(done.resent).toBeLessThanOrEqual(128);
  expect(new Set((await bench.linesOf(done.outputFileId)).map((line) => line.custom_id)).size).toBe(200);
});

test('a stopped engine gives its segments back, so that the next one owes nobody a re-send', async () => {
  const first = await startEngine();
  let answered = 0;
  bench.reply = async () => {
    await systemClock.sleep(1);
    answered += 1;
    return ok;
  };
  const { batch } = await bench.create(first, await bench.upload(many(500)));
  await vi.waitFor(() => expect(answered).toBeGreaterThan(20));
  await first.stop({ drainMs: 5_000 });
  await startEngine();
  const done = await bench.ended(batch);

  expect(done).toMatchObject({ counts: { total: 500, completed: 500, failed: 0 }, resent: 0 });
  expect(bench.calls).toHaveLength(500);
});
