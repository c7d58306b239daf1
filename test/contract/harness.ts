/** A whole service on a real socket: SQLite file, blobs on disk, engine, simulator. Two resources, A and B. */
import { mkdtemp, rm } from 'node:fs/promises';
import { connect } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Engine } from '../../src/batch/engine.ts';
import { createImporter } from '../../src/batch/upload/import.ts';
import { createUploader } from '../../src/batch/upload/upload.ts';
import { inspectInput } from '../../src/batch/validate/inspect.ts';
import { systemClock } from '../../src/core/clock.ts';
import { createDiskGuard } from '../../src/core/disk-guard.ts';
import { noFailpoints } from '../../src/core/failpoint.ts';
import { systemUuid } from '../../src/core/ids.ts';
import type { Log, LogFields } from '../../src/core/log.ts';
import type { Deployment, Deployments } from '../../src/deployments/port.ts';
import { createAuthenticator, keyDigest } from '../../src/http/auth.ts';
import { createHttpServer, type HttpDeps, type HttpOptions } from '../../src/http/server.ts';
import { openDiskBlobs } from '../../src/stores/blobs/disk.ts';
import { openSqliteInline } from '../../src/stores/state/sqlite/inline.ts';
import type { Upstream } from '../../src/upstream/port.ts';
import { createSimulator } from '../../src/upstream/simulator/simulator.ts';

export const DEPLOYMENT = 'gpt-4o-batch-deployment';
export const KEY_A = 'key-of-resource-a-0123456789';
export const KEY_A2 = 'second-key-of-resource-a-0123';
export const KEY_B = 'key-of-resource-b-0123456789';
export const LIMIT = 100_000;

export interface Service {
  readonly url: string;
  readonly port: number;
  readonly logged: string[];
  readonly deps: HttpDeps;
  /** Requests of the upstream wait until `open`; none wait at first. */
  readonly gate: Gate;
  fetch(path: string, init?: RequestInit): Promise<Response>;
  json(path: string, init?: RequestInit): Promise<{ status: number; headers: Headers; body: Json }>;
  /** Writes bytes as they are, and returns all that comes back until the server closes or `ms` pass in silence. */
  raw(bytes: string | Uint8Array, options?: { readonly end?: boolean }): Promise<string>;
  /** Uploads lines to resource A through the v1 surface and returns the id. */
  upload(content: string, key?: string): Promise<string>;
  createBatch(content: string, key?: string): Promise<Json>;
  waitFor(batchId: string, status: string, key?: string): Promise<Json>;
  /** Only the HTTP server, as a shutdown does first. */
  closeHttp(): Promise<void>;
  close(): Promise<void>;
}

// Bodies are asserted member by member.
// oxlint-disable-next-line typescript/no-explicit-any
export type Json = any;

export interface StartOptions {
  readonly http?: Partial<HttpOptions>;
  readonly ready?: () => boolean;
  readonly importHosts?: readonly string[];
  readonly filesMax?: number;
  readonly wrap?: (deps: HttpDeps) => HttpDeps;
}

export async function startService(options: StartOptions = {}): Promise<Service> {
  const dir = await mkdtemp(join(tmpdir(), 'offpeak-contract-'));
  const state = await openSqliteInline({ path: join(dir, 'state.db') });
  const blobs = await openDiskBlobs({ dir: join(dir, 'blobs') });
  const logged: string[] = [];
  const log = collectLog(logged);
  const gate = new Gate();
  const deployments = deploymentsOf(gate);
  const fatal: unknown[] = [];
  const clock = systemClock;
  const uuid = systemUuid;
  const engine = new Engine({
    clock,
    random: Math.random,
    uuid,
    state,
    blobs,
    deployments,
    inspect: (id) => inspectInput(blobs.read(id)),
    log,
    failpoint: noFailpoints,
    owner: 'test',
    hasRoom: () => true,
    onFatal: (error) => fatal.push(error),
    options: { tickMs: 50, cancelGraceMs: 50 },
  });
  const diskGuard = createDiskGuard({ dir, clock, freeBytesMin: 0, ballastBytes: 0 });
  const limits = { withoutExpiryMax: options.filesMax ?? 500 };
  const uploader = createUploader({ state, blobs, clock, uuid, diskGuard, log, limits });
  const importer = createImporter({ uploader, clock, importHosts: options.importHosts ?? [] });
  const pepper = 'pepper';
  const digest = (key: string): string => keyDigest(pepper, key);
  await state.resources.put({
    id: 'a',
    location: 'koreacentral',
    keyDigests: [digest(KEY_A), digest(KEY_A2)],
  });
  await state.resources.put({ id: 'b', location: 'westus', keyDigests: [digest(KEY_B)] });
  const plain: HttpDeps = {
    state,
    blobs,
    uploader,
    importer,
    engine,
    deployments,
    authenticate: createAuthenticator({ resources: state.resources, pepper, clock }),
    clock,
    uuid,
    log,
    ready: options.ready ?? (() => true),
    onFatal: (error) => fatal.push(error),
    options: { authFailuresPerMinuteMax: 10_000, ...options.http },
  };
  const deps = options.wrap?.(plain) ?? plain;
  const http = createHttpServer(deps);
  await engine.start();
  const url = await http.listen({ host: '127.0.0.1', port: 0 });
  const port = Number(new URL(url).port);
  return {
    ...calls(url, port),
    url,
    port,
    logged,
    deps,
    gate,
    closeHttp: () => http.close(),
    async close() {
      gate.open();
      http.server.closeAllConnections();
      await http.close();
      await engine.stop({ drainMs: 0 });
      await importer.close();
      await state.close();
      await blobs.close();
      await rm(dir, { recursive: true, force: true });
      if (fatal.length > 0) throw new AggregateError(fatal, 'the service met a fatal error');
    },
  };
}

/** Lets a number of requests through; the others wait until there is room, or are aborted. */
class Gate {
  #passes = Infinity;
  #waiting: (() => void)[] = [];

  close(passes = 0): void {
    this.#passes = passes;
  }

  open(): void {
    this.#passes = Infinity;
    for (const resume of this.#waiting.splice(0)) resume();
  }

  async pass(signal: AbortSignal): Promise<void> {
    while (this.#passes <= 0 && !signal.aborted) {
      const { promise, resolve } = Promise.withResolvers<void>();
      this.#waiting.push(resolve);
      signal.addEventListener('abort', () => resolve(), { once: true });
      await promise;
    }
    this.#passes -= 1;
  }
}

function deploymentsOf(gate: Gate): Deployments {
  const simulator = createSimulator({ model: 'gpt-4o' });
  const upstream: Upstream = {
    ...simulator,
    async call(request, signal) {
      await gate.pass(signal);
      return simulator.call(request, signal);
    },
  };
  const deployment: Deployment = {
    name: DEPLOYMENT,
    model: 'gpt-4o',
    sku: 'GlobalBatch',
    enqueuedTokensMax: LIMIT,
    concurrencyMax: 1,
    upstreams: [upstream],
  };
  return {
    find: async (_scope, name) => (name === DEPLOYMENT ? deployment : undefined),
    list: async () => [deployment],
  };
}

function collectLog(lines: string[]): Log {
  const write = (fields: LogFields, message: string): void => {
    lines.push(JSON.stringify({ ...fields, message }));
  };
  return { debug: write, info: write, warn: write, error: write };
}

export const line = (index: number, model = DEPLOYMENT): string =>
  JSON.stringify({
    custom_id: `task-${index}`,
    method: 'POST',
    url: '/chat/completions',
    body: { model, messages: [{ role: 'user', content: `Question ${index}?` }] },
  });

export const lines = (count: number): string =>
  Array.from({ length: count }, (_, index) => `${line(index)}\n`).join('');

export function form(content: string | Uint8Array, fields: Record<string, string> = {}): FormData {
  const data = new FormData();
  for (const [name, value] of Object.entries({ purpose: 'batch', ...fields })) data.append(name, value);
  data.append('file', new Blob([content]), 'test.jsonl');
  return data;
}

function calls(
  url: string,
  port: number,
): Pick<Service, 'fetch' | 'json' | 'raw' | 'upload' | 'createBatch' | 'waitFor'> {
  const request = (path: string, init: RequestInit = {}): Promise<Response> => {
    const headers = new Headers(init.headers);
    if (!headers.has('api-key') && !headers.has('authorization')) headers.set('api-key', KEY_A);
    return fetch(url + path, { ...init, headers });
  };
  const json: Service['json'] = async (path, init) => {
    const response = await request(path, init);
    const text = await response.text();
    return {
      status: response.status,
      headers: response.headers,
      body: text === '' ? null : JSON.parse(text),
    };
  };
  const upload = async (content: string, key = KEY_A): Promise<string> => {
    const { status, body } = await json('/openai/v1/files', {
      method: 'POST',
      body: form(content),
      headers: { 'api-key': key },
    });
    if (status !== 201) throw new Error(`upload failed: ${JSON.stringify(body)}`);
    return body.id;
  };
  return {
    fetch: request,
    json,
    upload,
    raw: (bytes, options = {}) => exchange(port, bytes, options.end ?? false),
    async createBatch(content, key = KEY_A) {
      const input_file_id = await upload(content, key);
      const { body } = await json('/openai/v1/batches', {
        method: 'POST',
        headers: { 'api-key': key, 'content-type': 'application/json' },
        body: JSON.stringify({ input_file_id, endpoint: '/chat/completions', completion_window: '24h' }),
      });
      return body;
    },
    async waitFor(batchId, status, key = KEY_A) {
      for (;;) {
        const { body } = await json(`/openai/v1/batches/${batchId}`, { headers: { 'api-key': key } });
        if (body.status === status) return body;
        if (['failed', 'completed', 'cancelled', 'expired'].includes(body.status))
          throw new Error(`the batch ended as ${body.status}: ${JSON.stringify(body.errors)}`);
        await systemClock.sleep(20);
      }
    },
  };
}

const SILENCE_MS = 10_000;

function exchange(port: number, bytes: string | Uint8Array, end: boolean): Promise<string> {
  const { promise, resolve, reject } = Promise.withResolvers<string>();
  const socket = connect(port, '127.0.0.1');
  let answer = '';
  socket.setTimeout(SILENCE_MS, () => reject(new Error(`silence after: ${answer}`)));
  socket.on('data', (chunk) => {
    answer += chunk.toString('latin1');
    if (isWhole(answer)) socket.destroy();
  });
  socket.on('error', (error: NodeJS.ErrnoException) =>
    // The server may close while we still write; what it said before is the answer.
    error.code === 'ECONNRESET' || error.code === 'EPIPE' ? resolve(answer) : reject(error),
  );
  socket.on('close', () => resolve(answer));
  socket.on('connect', () => {
    socket.write(bytes);
    if (end) socket.end();
  });
  return promise;
}

function isWhole(answer: string): boolean {
  const split = answer.indexOf('\r\n\r\n');
  const length = /content-length: (\d+)/i.exec(answer)?.[1];
  return split !== -1 && length !== undefined && answer.length - split - 4 >= Number(length);
}
