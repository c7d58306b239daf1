/**
 * A whole service on a real socket: SQLite file, blobs on disk, engine, simulator. Two resources of one subscription, each
 * with a deployment of the same name: A is the default one, which plain addresses lead to, and B is at `/beta/...`.
 */
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Engine } from '../../src/batch/engine.ts';
import { createImporter } from '../../src/batch/upload/import.ts';
import { createUploader, type Uploader } from '../../src/batch/upload/upload.ts';
import { inspectInput } from '../../src/batch/validate/inspect.ts';
import type { Action, DeploymentRow, Resource } from '../../src/contract/control.ts';
import { DEFAULT_RESOURCE_ID } from '../../src/contract/scope.ts';
import { nowS, systemClock, type Clock } from '../../src/core/clock.ts';
import { createDiskGuard } from '../../src/core/disk-guard.ts';
import { noFailpoints } from '../../src/core/failpoint.ts';
import { systemUuid } from '../../src/core/ids.ts';
import { createLog, type Log } from '../../src/core/log.ts';
import { createCatalog } from '../../src/deployments/catalog/catalog.ts';
import { createControlPlane } from '../../src/deployments/control/control-plane.ts';
import type { Declared } from '../../src/config/declared.ts';
import { createDeployments } from '../../src/deployments/directory.ts';
import { singleProcess } from '../../src/app/single-process.ts';
import { Fleet } from '../../src/deployments/fleet/fleet.ts';
import type { FleetUpstream } from '../../src/deployments/fleet/serving.ts';
import type { HttpDeps, HttpOptions } from '../../src/http/deps.ts';
import { createHttpServer } from '../../src/http/server.ts';
import { openDiskBlobs } from '../../src/stores/blobs/disk.ts';
import type { StateStore } from '../../src/stores/state/ports.ts';
import { openSqliteInline } from '../../src/stores/state/sqlite/inline.ts';
import { createIdentity, type Identity } from '../../src/identity/identity.ts';
import { keyDigest } from '../../src/identity/keys.ts';
import type { IdentityConfig } from '../../src/identity/port.ts';
import { createSimulator } from '../../src/upstream/simulator/simulator.ts';
import { exchange } from './raw.ts';

export const DEPLOYMENT = 'gpt-4o-batch-deployment';
export const RESOURCE_A = DEFAULT_RESOURCE_ID;
export const RESOURCE_B = 'beta';
export const KEY_A = 'key-of-resource-a-0123456789';
export const KEY_A2 = 'second-key-of-resource-a-0123';
export const KEY_B = 'key-of-resource-b-0123456789';
export const ADMIN_KEY = 'key-of-the-operators-0123456789';
export const SUBSCRIPTION = '00000000-0000-0000-0000-000000000000';
export const GROUP = 'offpeak';
export const LIMIT = 100_000;

export interface Route {
  readonly method: string;
  readonly url: string;
  readonly action: Action | 'none' | undefined;
}

export interface Service extends AsyncDisposable {
  readonly url: string;
  readonly port: number;
  readonly logged: string[];
  /** The registered routes. Their paths are those of the router. */
  readonly routes: readonly Route[];
  readonly deps: HttpDeps;
  readonly uploader: Uploader;
  readonly identity: Identity;
  /** The database and all files are here. */
  readonly dir: string;
  /** While it is closed, requests to the upstream wait. At first it is open. */
  readonly gate: Gate;
  fetch(path: string, init?: RequestInit): Promise<Response>;
  json(path: string, init?: RequestInit): Promise<Answer>;
  /** Sends a form as it is, and everything else as JSON. */
  post(path: string, body?: object, headers?: Record<string, string>): Promise<Answer>;
  /** Writes bytes as they are, and returns what comes back until the whole answer is there or the server closes. */
  raw(bytes: string | Uint8Array, options?: { readonly end?: boolean }): Promise<string>;
  /** Uploads lines to the key's resource through the v1 surface and returns the id. */
  upload(content: string, key?: string): Promise<string>;
  createBatch(content: string, key?: string): Promise<Json>;
  waitFor(batchId: string, status: string, key?: string): Promise<Json>;
  /** Closes only the HTTP server, as a shutdown does first. */
  closeHttp(): Promise<void>;
  close(): Promise<void>;
}

interface Answer {
  readonly status: number;
  readonly headers: Headers;
  readonly body: Json;
}

// Bodies are asserted member by member.
// oxlint-disable-next-line typescript/no-explicit-any
export type Json = any;

export interface StartOptions {
  readonly http?: Partial<HttpOptions>;
  readonly ready?: () => boolean;
  readonly importHosts?: readonly string[];
  readonly filesMax?: number;
  /** It dates uploads and files. */
  readonly clock?: Pick<Clock, 'now'>;
  readonly identity?: IdentityConfig;
  /** The control plane takes this for the configuration's. The test puts its rows. */
  readonly declared?: Partial<Declared>;
  readonly tls?: HttpDeps['tls'];
  readonly wrap?: (deps: HttpDeps) => HttpDeps;
}

export async function startService(options: StartOptions = {}): Promise<Service> {
  const dir = await mkdtemp(join(tmpdir(), 'offpeak-contract-'));
  const store = await openSqliteInline({ path: join(dir, 'state.db') });
  const blobs = await openDiskBlobs({ dir: join(dir, 'blobs') });
  const logged: string[] = [];
  const log = collectLog(logged);
  const gate = new Gate();
  const fatal: unknown[] = [];
  const clock = systemClock;
  const uuid = systemUuid;
  const identity = createIdentity(
    { resources: store.resources, pepper: PEPPER, clock, log },
    options.identity ?? { tokens: null, roleAssignments: [] },
  );
  const state: StateStore = { ...store, resources: identity.resources };
  await fill(state);
  const catalog = createCatalog();
  const fleet = new Fleet({ dataZoneOf: (region) => catalog.dataZoneOf(region), log });
  fleet.replace([upstreamBehind(gate)]);
  const serving = { catalog: () => catalog, fleet };
  const deployments = createDeployments({ ...state, ...serving });
  const random = Math.random;
  const single = singleProcess({ work: state.work, workerId: 'test', clock, random, log });
  const controlPlane = createControlPlane({
    ...serving,
    store: state,
    declared: () => ({
      resources: [],
      offer: 'enterprise',
      concurrencyMax: 1,
      enqueuedTokensDefault: LIMIT,
      ...options.declared,
    }),
    digest,
    clock,
    ...single,
  });
  const engine = new Engine({
    ...single,
    clock,
    random,
    uuid,
    state,
    blobs,
    deployments,
    inspect: (id) => inspectInput(blobs.read(id)),
    log,
    failpoint: noFailpoints,
    hasDiskSpace: () => true,
    onFatal: (error) => fatal.push(error),
    options: { retriesMax: 5, strictWindow: false, tickMs: 50, cancelGraceMs: 50 },
  });
  const diskGuard = createDiskGuard({ dir, clock, freeBytesMin: 0, ballastBytes: 0 });
  const limits = { withoutExpiryMax: options.filesMax ?? 500, withExpiryMax: 500 };
  const uploader = createUploader({
    state,
    blobs,
    clock: { ...clock, ...options.clock },
    uuid,
    diskGuard,
    log,
    limits,
  });
  const importer = createImporter({ uploader, clock, importHosts: options.importHosts ?? [] });
  const plain: HttpDeps = {
    state,
    blobs,
    uploader,
    importer,
    engine,
    deployments,
    controlPlane,
    authenticate: identity.authenticate,
    clock,
    uuid,
    log,
    ready: options.ready ?? (() => true),
    onFatal: (error) => fatal.push(error),
    ...(options.tls !== undefined && { tls: options.tls }),
    options: {
      resourceDomains: ['localhost', 'openai.azure.com'],
      connectionsPerAddressMax: 100,
      trustedProxies: [],
      authFailuresPerMinuteMax: 10_000,
      ...options.http,
    },
  };
  const deps = options.wrap?.(plain) ?? plain;
  const http = createHttpServer(deps);
  const routes: Route[] = [];
  http.addHook('onRoute', ({ method, url, config }) => {
    for (const name of [method].flat()) routes.push({ method: name, url, action: config?.action });
  });
  await engine.start();
  const url = await http.listen({ host: '127.0.0.1', port: 0 });
  const port = Number(new URL(url).port);
  const close = async (): Promise<void> => {
    gate.open();
    http.server.closeAllConnections();
    await http.close();
    await engine.stop({ drainMs: 0 });
    await importer.close();
    await fleet.close();
    await state.close();
    await blobs.close();
    await rm(dir, { recursive: true, force: true });
    if (fatal.length > 0) throw new AggregateError(fatal, 'the service met a fatal error');
  };
  return {
    ...calls(url, port),
    url,
    port,
    logged,
    routes,
    deps,
    uploader,
    identity,
    dir,
    gate,
    closeHttp: () => http.close(),
    close,
    [Symbol.asyncDispose]: close,
  };
}

/** Lets a number of requests through. The others wait until it opens, or are aborted. */
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

function upstreamBehind(gate: Gate): FleetUpstream {
  return {
    name: 'simulator',
    kind: 'simulator',
    region: 'koreacentral',
    dataZone: 'koreacentral',
    models: null,
    onlyFor: null,
    fingerprint: '',
    open(model) {
      const simulator = createSimulator({ model });
      return {
        ...simulator,
        async call(request, signal) {
          await gate.pass(signal);
          return simulator.call(request, signal);
        },
      };
    },
  };
}

const PEPPER = 'pepper';
/** The store keeps keys as this digest. */
export const digest = (key: string): string => keyDigest(PEPPER, key);

async function fill(state: StateStore): Promise<void> {
  const change = { actor: 'test', atS: nowS(systemClock) };
  const resources = [
    { id: RESOURCE_A, location: 'koreacentral', keys: [KEY_A, KEY_A2] },
    { id: RESOURCE_B, location: 'westus', keys: [KEY_B] },
  ];
  for (const { id, location, keys } of resources) {
    await state.resources.put(resourceOf(id, location), change);
    for (const [index, key] of keys.entries())
      await state.resources.putKey(
        id,
        { slot: index === 0 ? 1 : 2, digest: digest(key), hint: key.slice(-4) },
        change,
      );
    await state.deployments.put(
      { resourceId: id, actor: 'test' },
      { ...deploymentOf(id), createdAt: change.atS, updatedAt: change.atS },
      { quotaTokensMax: null, atS: change.atS },
    );
  }
  await state.resources.setAdminKeyDigest(digest(ADMIN_KEY), change);
}

const resourceOf = (id: string, location: string): Resource => ({
  id,
  location,
  subscriptionId: SUBSCRIPTION,
  resourceGroup: GROUP,
  offer: 'enterprise',
  keyAuthDisabled: false,
  owner: 'api',
  tags: {},
  createdAt: nowS(systemClock),
});

const deploymentOf = (resourceId: string): Omit<DeploymentRow, 'createdAt' | 'updatedAt'> => ({
  resourceId,
  name: DEPLOYMENT,
  model: 'gpt-4o',
  version: '2024-08-06',
  sku: 'GlobalBatch',
  enqueuedTokensMax: LIMIT,
  dynamicQuota: false,
  whenFull: 'fail',
  versionUpgradeOption: 'NoAutoUpgrade',
  contentFilter: null,
  concurrencyMax: 1,
  upstreams: null,
  owner: 'api',
  tags: {},
});

function collectLog(lines: string[]): Log {
  return createLog(({ event, fields, message }) =>
    lines.push(JSON.stringify({ event, ...Object.fromEntries(fields), message })),
  );
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

/** The body of a create. */
export const batchOn = (input_file_id: string, more: object = {}) => ({
  input_file_id,
  endpoint: '/chat/completions',
  completion_window: '24h',
  ...more,
});

export function form(content: string | Uint8Array, fields: Record<string, string> = {}): FormData {
  const data = new FormData();
  for (const [name, value] of Object.entries({ purpose: 'batch', ...fields })) data.append(name, value);
  data.append('file', new Blob([content]), 'test.jsonl');
  return data;
}

function calls(
  url: string,
  port: number,
): Pick<Service, 'fetch' | 'json' | 'post' | 'raw' | 'upload' | 'createBatch' | 'waitFor'> {
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
  const post: Service['post'] = (path, body, headers = {}) =>
    json(
      path,
      body === undefined || body instanceof FormData
        ? { method: 'POST', headers, body }
        : {
            method: 'POST',
            headers: { 'content-type': 'application/json', ...headers },
            body: JSON.stringify(body),
          },
    );
  const upload = async (content: string, key = KEY_A): Promise<string> => {
    const { status, body } = await post(`${rootOf(key)}/files`, form(content), { 'api-key': key });
    if (status !== 201) throw new Error(`upload failed: ${JSON.stringify(body)}`);
    return body.id;
  };
  return {
    fetch: request,
    json,
    post,
    upload,
    raw: (bytes, options = {}) => exchange(port, bytes, options.end ?? false),
    async createBatch(content, key = KEY_A) {
      const input_file_id = await upload(content, key);
      return (await post(`${rootOf(key)}/batches`, batchOn(input_file_id), { 'api-key': key })).body;
    },
    async waitFor(batchId, status, key = KEY_A) {
      for (;;) {
        const { body } = await json(`${rootOf(key)}/batches/${batchId}`, { headers: { 'api-key': key } });
        if (body.status === status) return body;
        if (['failed', 'completed', 'cancelled', 'expired'].includes(body.status))
          throw new Error(`the batch ended as ${body.status}: ${JSON.stringify(body.errors)}`);
        await systemClock.sleep(20);
      }
    },
  };
}

const rootOf = (key: string): string => (key === KEY_B ? `/${RESOURCE_B}/openai/v1` : '/openai/v1');
