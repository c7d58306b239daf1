import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest';
import { isTerminal, type Batch } from '../contract/batch.ts';
import { ApiError } from '../contract/error.ts';
import { systemClock } from '../core/clock.ts';
import { noFailpoints } from '../core/failpoint.ts';
import { systemUuid } from '../core/ids.ts';
import { silentLog } from '../core/log.ts';
import type { Deployment } from '../deployments/port.ts';
import { openDiskBlobs, type DiskBlobs } from '../stores/blobs/disk.ts';
import { openSqliteInline } from '../stores/state/sqlite/inline.ts';
import type { StateStore } from '../stores/state/ports.ts';
import { NO_USAGE, type Upstream, type UpstreamReply, type UpstreamRequest } from '../upstream/port.ts';
import { Engine, type EngineOptions } from './engine.ts';
import { inspectInput } from './validate/inspect.ts';

const scope = { resourceId: 'default', actor: 'test' };
const ok: UpstreamReply = {
  kind: 'answer',
  status: 200,
  body: Buffer.from('{"answer":true}'),
  requestId: 'r',
  retryAfterMs: null,
  usage: { ...NO_USAGE, inputTokens: 3, outputTokens: 2 },
};
const answer = (
  status: number,
  extra: Partial<Extract<UpstreamReply, { kind: 'answer' }>> = {},
): UpstreamReply => ({
  ...ok,
  status,
  body: Buffer.from(`{"error":{"message":"status ${status}"}}`),
  usage: NO_USAGE,
  ...extra,
});
/** Answers only when the caller gives up. */
const hang = (signal: AbortSignal): Promise<UpstreamReply> =>
  new Promise((resolve) => {
    const aborted = (): void =>
      resolve({ kind: 'failure', reason: 'aborted', sent: true, message: 'aborted', status: null });
    if (signal.aborted) aborted();
    else signal.addEventListener('abort', aborted, { once: true });
  });

let dir: string;
let state: StateStore;
let blobs: DiskBlobs;
let calls: string[];
let reply: (request: UpstreamRequest, signal: AbortSignal) => UpstreamReply | Promise<UpstreamReply>;
let hasRoom: boolean;
const engines: Engine[] = [];

beforeEach(async () => {
  dir = await mkdtemp(join(tmpdir(), 'offpeak-engine-'));
  state = await openSqliteInline({ path: join(dir, 'state.db') });
  blobs = await openDiskBlobs({ dir: join(dir, 'blobs') });
  await state.resources.put({ id: 'default', location: 'koreacentral', keyDigests: [] });
  calls = [];
  reply = () => ok;
  hasRoom = true;
});

afterEach(async () => {
  await Promise.all(engines.splice(0).map((engine) => engine.stop({ drainMs: 0 })));
  await state.close();
  await blobs.close();
  await rm(dir, { recursive: true, force: true });
});

async function startEngine(
  options: Partial<EngineOptions> = {},
  deployment: Partial<Deployment> = {},
): Promise<Engine> {
  const upstream: Upstream = {
    name: 'model-server',
    async call(request, signal) {
      calls.push(Buffer.from(request.body).toString());
      return reply(request, signal);
    },
    close: () => Promise.resolve(),
  };
  const deployed: Deployment = {
    name: 'd',
    model: 'm',
    sku: 'GlobalBatch',
    enqueuedTokensMax: 1_000_000,
    upstreams: [upstream],
    concurrencyMax: 4,
    ...deployment,
  };
  const engine = new Engine({
    clock: systemClock,
    random: () => 0,
    uuid: systemUuid,
    state,
    blobs,
    deployments: {
      find: (_scope, name) => Promise.resolve(name === deployed.name ? deployed : undefined),
      list: () => Promise.resolve([deployed]),
    },
    inspect: (id) => inspectInput(blobs.read(id)),
    log: silentLog,
    failpoint: noFailpoints,
    owner: systemUuid(),
    hasRoom: () => hasRoom,
    onFatal: (error) => {
      throw error;
    },
    options: { tickMs: 20, retryBaseMs: 2, retryCapMs: 10, cancelGraceMs: 50, ...options },
  });
  await engine.start();
  engines.push(engine);
  return engine;
}

const requestLine = (id: string, model = 'd'): string =>
  `{"custom_id":"${id}","method":"POST","url":"/chat/completions","body":{"model":"${model}","messages":[{"role":"user","content":"${id}"}]}}\n`;

async function upload(content: string): Promise<string> {
  const id = `file-${systemUuid()}`;
  const blob = await blobs.put(id, [Buffer.from(content)] as never);
  await state.files.insert(
    scope,
    {
      id,
      resourceId: 'default',
      filename: 'in.jsonl',
      purpose: 'batch',
      ...blob,
      createdAt: 1,
      expiresAt: null,
    },
    { withoutExpiryMax: 500, withExpiryMax: 500 },
  );
  return id;
}

const create = (engine: Engine, inputFileId: string) =>
  engine.createBatch(scope, {
    inputFileId,
    endpoint: '/chat/completions',
    dialect: 'azure',
    metadata: null,
    outputExpiresAfterS: null,
  });

const many = (count: number, prefix = 'r'): string =>
  Array.from({ length: count }, (_, index) => requestLine(`${prefix}${index}`)).join('');

async function ended({ id }: Batch): Promise<Batch> {
  return vi.waitFor(
    async () => {
      const batch = await state.batches.get(scope, id);
      if (batch === undefined || !isTerminal(batch.status)) throw new Error(`still ${batch?.status}`);
      return batch;
    },
    { timeout: 20_000, interval: 5 },
  );
}

async function linesOf(
  fileId: string,
): Promise<
  { custom_id: string; response: { status_code: number } | null; error: { code: string } | null }[]
> {
  const text = await readFile(blobs.pathOf(fileId), 'utf8');
  return text
    .split('\n')
    .slice(0, -1)
    .map((line) => JSON.parse(line));
}

test('a batch ends with every answer in input order, its counts and its usage', async () => {
  const engine = await startEngine();

  const { batch } = await create(engine, await upload(many(150)));
  const done = await ended(batch);

  expect(done).toMatchObject({ status: 'completed', counts: { total: 150, completed: 150, failed: 0 } });
  expect(done.usage).toEqual({ inputTokens: 450, cachedTokens: 0, outputTokens: 300, reasoningTokens: 0 });
  const lines = await linesOf(done.outputFileId);
  expect(lines.map((line) => line.custom_id)).toEqual(Array.from({ length: 150 }, (_, index) => `r${index}`));
  expect(await linesOf(done.errorFileId)).toEqual([]);
  expect(calls).toHaveLength(150);
});

test('a file with a bad line is failed at once, and nothing is sent from it', async () => {
  const engine = await startEngine();

  const { batch } = await create(engine, await upload(`${requestLine('a')}{broken\n${requestLine('a')}`));

  expect(batch.status).toBe('failed');
  expect(batch.errors?.data.map(({ code, line }) => [code, line])).toEqual([
    ['invalid_json_line', 2],
    ['duplicate_custom_id', 3],
  ]);
  expect(calls).toEqual([]);
});

test('a file that names no deployment of the resource is failed with the names that there are', async () => {
  const engine = await startEngine();

  const { batch } = await create(engine, await upload(requestLine('a', 'nope')));

  expect(batch.errors?.data[0]).toMatchObject({ code: 'model_not_found', line: 1 });
  expect(batch.errors?.data[0]?.message).toContain("'d'");
});

test('a batch beyond the enqueued-token limit is refused with the text of the original, and leaves nothing', async () => {
  const engine = await startEngine({}, { enqueuedTokensMax: 30_000 });
  const content = `${requestLine('a').trimEnd().slice(0, -5)}${'word '.repeat(60_000)}"}]}}\n`;
  const fileId = await upload(content);

  const refused = await create(engine, fileId).catch((error: unknown) => error);

  expect(refused).toBeInstanceOf(ApiError);
  expect(refused).toMatchObject({ code: 'tokenLimitExceeded' });
  expect(String(refused)).toContain("has surpassed the configured limit of 30K for the deployment 'd'");
  expect(await state.batches.live()).toEqual([]);
});

describe('failures', () => {
  test('a poison line is recorded as failed after its retries while the others finish', async () => {
    const engine = await startEngine({ maxRetries: 2 });
    reply = ({ body }) => (Buffer.from(body).includes('"r7"') ? answer(500) : ok);

    const { batch } = await create(engine, await upload(many(20)));
    const done = await ended(batch);

    expect(done.counts).toEqual({ total: 20, completed: 19, failed: 1 });
    expect(await linesOf(done.errorFileId)).toMatchObject([
      { custom_id: 'r7', response: { status_code: 500 }, error: null },
    ]);
    expect(calls.filter((body) => body.includes('"r7"'))).toHaveLength(3);
    expect(done.retries).toBe(2);
  });

  test('a line that the upstream rejects is failed at once, with the answer as it came', async () => {
    const engine = await startEngine();
    reply = ({ body }) => (Buffer.from(body).includes('"r1"') ? answer(400) : ok);

    const { batch } = await create(engine, await upload(many(3)));
    const done = await ended(batch);

    expect(done.counts).toEqual({ total: 3, completed: 2, failed: 1 });
    expect(calls).toHaveLength(3);
  });

  test('a refused key pauses the deployment with a reason on the batch, and fails no line', async () => {
    const engine = await startEngine({ maxRetries: 0 });
    reply = () => answer(401);

    const { batch } = await create(engine, await upload(many(200)));
    await vi.waitFor(async () => {
      const live = await state.batches.get(scope, batch.id);
      expect(live && engine.progress(live)?.waiting).toContain('model-server: answers 401');
    });

    expect((await state.batches.get(scope, batch.id))?.counts.failed).toBe(0);
    expect(calls.length).toBeLessThanOrEqual(20);
    reply = () => ok;
    expect((await ended(batch)).counts.completed).toBe(200);
  });

  test('an upstream that cannot be reached fails no line, and work goes on when it is back', async () => {
    const engine = await startEngine({ maxRetries: 0 });
    let down = true;
    reply = () =>
      down
        ? { kind: 'failure', reason: 'unreachable', sent: false, message: 'connection refused', status: null }
        : ok;

    const { batch } = await create(engine, await upload(many(10)));
    await vi.waitFor(async () => {
      const live = await state.batches.get(scope, batch.id);
      expect(live && engine.progress(live)?.waiting).toContain('connection refused');
    });
    down = false;

    expect((await ended(batch)).counts).toEqual({ total: 10, completed: 10, failed: 0 });
  });

  test('no request is sent while the disk has no room for its answer', async () => {
    hasRoom = false;
    const engine = await startEngine();

    const { batch } = await create(engine, await upload(many(3)));
    await vi.waitFor(async () => {
      const live = await state.batches.get(scope, batch.id);
      expect(live && engine.progress(live)?.waiting).toContain('disk');
    });
    expect(calls).toEqual([]);
    hasRoom = true;

    expect((await ended(batch)).status).toBe('completed');
  });
});

describe('endings', () => {
  test('a cancelled batch keeps the answers it has and says of each other line that it was cancelled', async () => {
    const engine = await startEngine();
    reply = ({ body }, signal) => (Buffer.from(body).includes('"r1"') ? ok : hang(signal));

    const { batch } = await create(engine, await upload(many(100)));
    await vi.waitFor(async () =>
      expect((await state.batches.get(scope, batch.id))?.counts.completed).toBe(1),
    );
    await state.batches.cancel(scope, batch.id, 1);
    engine.wake();
    const done = await ended(batch);

    expect(done).toMatchObject({ status: 'cancelled', counts: { total: 100, completed: 1, failed: 99 } });
    expect((await linesOf(done.outputFileId)).map((line) => line.custom_id)).toEqual(['r1']);
    const errors = await linesOf(done.errorFileId);
    expect(new Set(errors.map((line) => line.error?.code))).toEqual(new Set(['batch_cancelled']));
    expect(errors.map((line) => line.custom_id)).toEqual(
      Array.from({ length: 100 }, (_, index) => `r${index}`).filter((id) => id !== 'r1'),
    );
  });

  test('with a strict window, a batch past its end expires with the answers it has', async () => {
    const clock = { ...systemClock, now: () => Date.now() - 25 * 3_600_000 };
    const engine = await startEngine({ strictWindow: true });
    reply = (_request, signal) => hang(signal);
    const { batch } = await createInThePast(engine, clock.now());

    expect(await ended(batch)).toMatchObject({
      status: 'expired',
      counts: { total: 5, completed: 0, failed: 5 },
    });
  });

  async function createInThePast(engine: Engine, nowMs: number) {
    const now = vi.spyOn(Date, 'now').mockReturnValue(nowMs);
    try {
      return await create(engine, await upload(many(5)));
    } finally {
      now.mockRestore();
    }
  }
});

test('a large batch does not hold up a small one of the same deployment', async () => {
  const engine = await startEngine();
  const smallEnds: number[] = [];
  reply = async ({ body }) => {
    await systemClock.sleep(2);
    if (Buffer.from(body).includes('small')) smallEnds.push(calls.length);
    return ok;
  };

  const large = await create(engine, await upload(many(2_000, 'large')));
  await vi.waitFor(() => expect(calls.length).toBeGreaterThan(50));
  const before = calls.length;
  const small = await create(engine, await upload(many(10, 'small')));
  await ended(small.batch);

  expect(smallEnds.at(-1)! - before).toBeLessThan(300);
  expect((await state.batches.get(scope, large.batch.id))?.status).toBe('in_progress');
});

test('an engine that takes over sends only what has no result, and counts what may be sent twice', async () => {
  const first = await startEngine();
  reply = ({ body }, signal) => (/"r[0-9]"/.test(Buffer.from(body).toString()) ? ok : hang(signal));
  const { batch } = await create(first, await upload(many(200)));
  await vi.waitFor(async () => expect((await state.batches.get(scope, batch.id))?.counts.completed).toBe(10));

  // The first engine is left hanging, as a process that was paused: its late writes must not count.
  reply = () => ok;
  await startEngine();
  const done = await ended(batch);

  expect(done.counts).toEqual({ total: 200, completed: 200, failed: 0 });
  expect(done.resent).toBeGreaterThan(0);
  expect(done.resent).toBeLessThanOrEqual(128);
  expect(new Set((await linesOf(done.outputFileId)).map((line) => line.custom_id)).size).toBe(200);
});

test('a stopped engine gives its segments back, so that the next one owes nobody a re-send', async () => {
  const first = await startEngine();
  let answered = 0;
  reply = async () => {
    await systemClock.sleep(1);
    answered += 1;
    return ok;
  };
  const { batch } = await create(first, await upload(many(500)));
  await vi.waitFor(() => expect(answered).toBeGreaterThan(20));
  await first.stop({ drainMs: 5_000 });
  await startEngine();
  const done = await ended(batch);

  expect(done).toMatchObject({ counts: { total: 500, completed: 500, failed: 0 }, resent: 0 });
  expect(calls).toHaveLength(500);
});
