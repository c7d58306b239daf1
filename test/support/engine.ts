/** The real engine over a real SQLite file and blobs on disk; only the model servers are functions of the test. */
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { vi } from 'vitest';
import { singleProcess } from '../../src/app/single-process.ts';
import { Engine, type EngineOptions } from '../../src/batch/engine.ts';
import type { CreateRequest, Created } from '../../src/batch/admission/create.ts';
import { inspectInput } from '../../src/batch/validate/inspect.ts';
import { isTerminal, type Batch } from '../../src/contract/batch.ts';
import { systemClock, type Clock } from '../../src/core/clock.ts';
import { noFailpoints } from '../../src/core/failpoint.ts';
import { systemUuid } from '../../src/core/ids.ts';
import { createLog } from '../../src/core/log.ts';
import type { Deployment } from '../../src/deployments/port.ts';
import { openDiskBlobs, type DiskBlobs } from '../../src/stores/blobs/disk.ts';
import { deploymentFor } from './deployment.ts';
import { change, resourceOf } from './state-store.ts';
import { openSqliteInline } from '../../src/stores/state/sqlite/inline.ts';
import type { StateStore } from '../../src/stores/state/ports.ts';
import {
  NO_USAGE,
  type Upstream,
  type UpstreamAnswer,
  type UpstreamProbe,
  type UpstreamReply,
  type UpstreamRequest,
} from '../../src/upstream/port.ts';

export const scope = { resourceId: 'default', actor: 'test' };

export const ok: UpstreamAnswer = {
  kind: 'answer',
  status: 200,
  body: Buffer.from('{"answer":true}'),
  requestId: 'r',
  retryAfterMs: null,
  usage: { ...NO_USAGE, inputTokens: 3, outputTokens: 2 },
  fault: null,
};

export const answer = (status: number, extra: Partial<UpstreamAnswer> = {}): UpstreamReply => ({
  ...ok,
  status,
  body: Buffer.from(`{"error":{"message":"status ${status}"}}`),
  usage: NO_USAGE,
  ...extra,
});

/** Answers only when the caller gives up. */
export const hang = (signal: AbortSignal): Promise<UpstreamReply> =>
  new Promise((resolve) => {
    const aborted = (): void =>
      resolve({ kind: 'failure', reason: 'aborted', message: 'aborted', status: null });
    if (signal.aborted) aborted();
    else signal.addEventListener('abort', aborted, { once: true });
  });

/** A clock on which minutes pass in no time; what the machine does seems to take longer by it. */
const faster = (speed: number): Clock => ({
  now: () => Date.now(),
  mono: () => systemClock.mono() * speed,
  sleep: (delayMs, signal) => systemClock.sleep(delayMs / speed, signal),
});

export const requestLine = (id: string, model = 'd'): string =>
  `{"custom_id":"${id}","method":"POST","url":"/chat/completions","body":{"model":"${model}","messages":[{"role":"user","content":"${id}"}]}}\n`;

export const many = (count: number, prefix = 'r'): string =>
  Array.from({ length: count }, (_, index) => requestLine(`${prefix}${index}`)).join('');

/** Patient, since the machine may be slow and shared. */
export const eventually = <T>(holds: () => T | Promise<T>): Promise<T> =>
  vi.waitFor(holds, { timeout: 20_000, interval: 5 });

interface ResultLine {
  readonly custom_id: string;
  readonly response: { readonly status_code: number } | null;
  readonly error: { readonly code: string } | null;
}

export async function openEngineBench(): Promise<EngineBench> {
  const dir = await mkdtemp(join(tmpdir(), 'offpeak-engine-'));
  const state = await openSqliteInline({ path: join(dir, 'state.db') });
  const blobs = await openDiskBlobs({ dir: join(dir, 'blobs') });
  await state.resources.put(resourceOf('default'), change);
  return new EngineBench(dir, state, blobs);
}

export class EngineBench {
  readonly state: StateStore;
  readonly blobs: DiskBlobs;
  /** Bodies sent, in order. */
  readonly calls: string[] = [];
  /** Upstreams called, in the same order. */
  readonly called: string[] = [];
  reply: (
    request: UpstreamRequest,
    signal: AbortSignal,
    upstream: string,
  ) => UpstreamReply | Promise<UpstreamReply> = () => ok;
  /** What an upstream says when it is asked for its models. */
  probe: () => UpstreamProbe = () => ({ kind: 'models', ids: ['m'] });
  hasDiskSpace = true;
  /** How much faster than the wall's the clock of the engines runs. Set it before they start. */
  speed = 1;
  /** No file is inspected before. */
  inspecting: Promise<void> = Promise.resolve();
  /** Events of the log, with their fields. */
  readonly logged: Record<string, unknown>[] = [];
  readonly #log = createLog(({ event, fields }) =>
    this.logged.push({ event, ...Object.fromEntries(fields) }),
  );
  /** What callers can name; may change while engines run. */
  readonly deployments = new Map<string, Deployment>();
  readonly #dir: string;
  readonly #engines: Engine[] = [];

  constructor(dir: string, state: StateStore, blobs: DiskBlobs) {
    this.#dir = dir;
    this.state = state;
    this.blobs = blobs;
  }

  upstream(name: string): Upstream {
    return {
      name,
      server: name,
      model: 'm',
      call: async (request, signal) => {
        this.calls.push(Buffer.from(request.body).toString());
        this.called.push(name);
        return this.reply(request, signal, name);
      },
      probe: () => Promise.resolve(this.probe()),
      close: () => Promise.resolve(),
    };
  }

  /** Makes the deployment, or changes what is said of it. */
  deploy(change: Partial<Deployment> = {}): void {
    const name = change.name ?? 'd';
    const upstreams = [this.upstream('model-server')];
    const before = this.deployments.get(name) ?? deploymentFor({ name, upstreams });
    this.deployments.set(name, { ...before, ...change });
  }

  async start(options: Partial<EngineOptions> = {}, clock: Clock = faster(this.speed)): Promise<Engine> {
    const { state, blobs, deployments } = this;
    const onFatal = (error: unknown): void => {
      throw error;
    };
    const log = this.#log;
    const random = (): number => 0;
    const engine = new Engine({
      ...singleProcess({ work: state.work, workerId: systemUuid(), clock, random, log }),
      clock,
      random,
      uuid: systemUuid,
      state,
      blobs,
      deployments: {
        find: (_scope, name) => Promise.resolve(deployments.get(name)),
        list: () => Promise.resolve([...deployments.values()]),
      },
      inspect: async (id) => {
        await this.inspecting;
        return inspectInput(blobs.read(id));
      },
      log,
      failpoint: noFailpoints,
      hasDiskSpace: () => this.hasDiskSpace,
      onFatal,
      options: {
        retriesMax: 5,
        strictWindow: false,
        tickMs: 20,
        retryBaseMs: 2,
        retryCapMs: 10,
        cancelGraceMs: 50,
        ...options,
      },
    });
    await engine.start();
    this.#engines.push(engine);
    return engine;
  }

  async upload(content: string): Promise<string> {
    const id = `file-${systemUuid()}`;
    const { bytes, sha256 } = await this.blobs.put(id, [Buffer.from(content)] as never);
    await this.state.files.insert(
      scope,
      {
        id,
        blobId: id,
        resourceId: 'default',
        filename: 'in.jsonl',
        purpose: 'batch',
        bytes,
        sha256,
        createdAt: 1,
        expiresAt: null,
      },
      { withoutExpiryMax: 500, withExpiryMax: 500 },
    );
    return id;
  }

  create(engine: Engine, inputFileId: string, more: Partial<CreateRequest> = {}): Promise<Created> {
    return engine.createBatch(scope, {
      inputFileId,
      endpoint: '/chat/completions',
      dialect: 'azure',
      metadata: null,
      outputExpiresAfterS: null,
      ...more,
    });
  }

  async batch({ id }: Pick<Batch, 'id'>): Promise<Batch> {
    const batch = await this.state.batches.get(scope, id);
    if (batch === undefined) throw new Error(`${id} is gone`);
    return batch;
  }

  async ended({ id }: Pick<Batch, 'id'>): Promise<Batch> {
    return eventually(async () => {
      const batch = await this.batch({ id });
      if (!isTerminal(batch.status)) throw new Error(`still ${batch.status}`);
      return batch;
    });
  }

  async linesOf(fileId: string): Promise<ResultLine[]> {
    const file = await this.state.files.get(scope, fileId);
    if (file === undefined) throw new Error(`${fileId} is gone`);
    const text = await readFile(this.blobs.pathOf(file.blobId), 'utf8');
    return text
      .split('\n')
      .slice(0, -1)
      .map((line) => JSON.parse(line));
  }

  async close(): Promise<void> {
    await Promise.all(this.#engines.splice(0).map((engine) => engine.stop({ drainMs: 0 })));
    await this.state.close();
    await this.blobs.close();
    await rm(this.#dir, { recursive: true, force: true });
  }
}
