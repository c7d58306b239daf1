import { randomBytes, randomUUID } from 'node:crypto';
import { join } from 'node:path';
import { availableParallelism } from 'node:os';
import type { FastifyInstance } from 'fastify';
import { Engine, type EngineOptions } from './batch/engine.ts';
import { runExpiry } from './batch/upload/expiry.ts';
import { createImporter } from './batch/upload/import.ts';
import { createUploader, type Uploader } from './batch/upload/upload.ts';
import { createInspectorPool } from './batch/validate/pool.ts';
import type { AppConfig, DeploymentConfig, UpstreamConfig } from './config/config.ts';
import { DEFAULT_RESOURCE_ID } from './contract/scope.ts';
import { systemClock } from './core/clock.ts';
import { openDataDir } from './core/data-dir.ts';
import { createDiskGuard, type DiskGuard } from './core/disk-guard.ts';
import { noFailpoints, type Failpoint } from './core/failpoint.ts';
import { systemUuid } from './core/ids.ts';
import type { Log } from './core/log.ts';
import { createConfiguredDeployments } from './deployments/configured.ts';
import type { Deployment, Deployments } from './deployments/port.ts';
import { createAuthenticator, keyDigest } from './http/auth.ts';
import { createHttpServer } from './http/server.ts';
import { openDiskBlobs, type DiskBlobs } from './stores/blobs/disk.ts';
import { onFullDisk } from './stores/state/on-full-disk.ts';
import { openPostgresStore } from './stores/state/postgres/open.ts';
import { openSqliteStore } from './stores/state/sqlite/thread.ts';
import type { StateStore } from './stores/state/ports.ts';
import { createHttpUpstream } from './upstream/openai-http.ts';
import type { Upstream } from './upstream/port.ts';
import { createSimulator } from './upstream/simulator/simulator.ts';

const ROOM_LOOK_MS = 1_000;

/** The composition root: the only file that names an implementation of a port. */

export interface AppDeps {
  readonly log: Log;
  /** A promise can no longer be kept (P9): the caller ends the process. */
  readonly onFatal: (error: unknown) => void;
  /** What serves the batches instead of the configured deployments. */
  readonly deployments?: Deployments;
}

/** Everything but the HTTP surface. */
export interface Core {
  readonly state: StateStore;
  readonly blobs: DiskBlobs;
  readonly deployments: Deployments;
  readonly engine: Engine;
  readonly uploader: Uploader;
  readonly pepper: Uint8Array;
  /** Sends nothing new, waits `drainMs` at most for what is in flight, makes it durable, lets the directory go. */
  close(options: { readonly drainMs: number }): Promise<void>;
}

export async function openCore(config: AppConfig, deps: AppDeps): Promise<Core> {
  const { log, onFatal } = deps;
  const { dataDir, state, blobs, diskGuard } = await openStorage(config, onFatal);
  const background = new AbortController();
  const room = watchRoom(diskGuard, { signal: background.signal, onFatal });
  const inspectors = createInspectorPool({
    resolvePath: (id) => blobs.pathOf(id),
    threads: Math.max(1, availableParallelism() - 1),
  });
  const deployments = deps.deployments ?? configuredDeployments(config);
  const engine = new Engine({
    clock: systemClock,
    random: Math.random,
    uuid: systemUuid,
    state,
    blobs,
    deployments,
    inspect: inspectors.inspect,
    log,
    failpoint: failpointFromEnv(),
    owner: `${process.pid}-${randomUUID()}`,
    hasRoom: () => room.isThere,
    onFatal,
    options: engineOptions(config),
  });
  const limits = { withoutExpiryMax: config.filesMax, withExpiryMax: config.expiringFilesMax };
  const uploader = createUploader({
    state,
    blobs,
    clock: systemClock,
    uuid: systemUuid,
    diskGuard,
    log,
    limits,
  });
  await engine.start();
  const expiry = runExpiry({ uploader, clock: systemClock, log }, background.signal).catch(onFatal);

  return {
    state,
    blobs,
    deployments,
    engine,
    uploader,
    pepper: dataDir.pepper,
    async close({ drainMs }) {
      await engine.stop({ drainMs });
      background.abort();
      await expiry;
      await inspectors.close();
      await closeUpstreams(deployments);
      await state.close();
      await blobs.close();
      dataDir.close();
    },
  };
}

async function openStorage(config: AppConfig, onFatal: AppDeps['onFatal']) {
  // What is made from here on is for this user alone; a directory that others share keeps its own mode.
  process.umask(0o077);
  const dataDir = await openDataDir(config.dataDir);
  try {
    const diskGuard = createDiskGuard({
      dir: dataDir.path,
      clock: systemClock,
      freeBytesMin: config.diskReserveBytes,
      ballastBytes: config.ballastBytes,
    });
    const store = await openState(config, { path: join(dataDir.path, 'offpeak.db'), onFatal });
    const state = onFullDisk(store, () => diskGuard.dropBallast());
    const blobs = await openDiskBlobs({ dir: dataDir.blobsDir });
    await blobs.sweep();
    return { dataDir, state, blobs, diskGuard };
  } catch (error) {
    dataDir.close();
    throw error;
  }
}

/** What may be in doubt after a crash grows with what is in flight anyway; a small group would hold up a wide window. */
const engineOptions = ({ deployments, retriesMax, strictWindow }: AppConfig): Partial<EngineOptions> => ({
  maxRetries: retriesMax,
  strictWindow,
  commitGroupMax: 2 * Math.max(32, ...deployments.map(({ concurrencyMax }) => concurrencyMax)),
});

export interface App extends Core {
  readonly http: FastifyInstance;
  /** The key that was made at this first start; it is shown now or never. */
  readonly firstKey: string | null;
  listen(): Promise<{ readonly url: string }>;
}

export async function createApp(config: AppConfig, deps: AppDeps): Promise<App> {
  const core = await openCore(config, deps);
  const firstKey = await settleKey(core, config);
  let ready = false;
  const { uploader } = core;
  const importer = createImporter({ uploader, clock: systemClock, importHosts: config.importHosts });
  const http = createHttpServer({
    ...core,
    importer,
    authenticate: createAuthenticator({
      resources: core.state.resources,
      pepper: core.pepper,
      clock: systemClock,
    }),
    clock: systemClock,
    uuid: systemUuid,
    log: deps.log,
    ready: () => ready,
    onFatal: deps.onFatal,
  });
  return {
    ...core,
    http,
    firstKey,
    async listen() {
      const url = await http.listen({ host: config.host, port: config.port });
      ready = true;
      return { url };
    },
    async close(options) {
      ready = false;
      await Promise.all([http.close(), importer.close(), core.close(options)]);
    },
  };
}

function openState(
  config: AppConfig,
  { path, onFatal }: { readonly path: string; readonly onFatal: (error: unknown) => void },
): Promise<StateStore> {
  return config.database === null
    ? openSqliteStore({ path, onFatal })
    : openPostgresStore({ url: config.database, onLost: onFatal });
}

/** The configured key opens the default resource; without one, the first start makes a key and returns it. */
async function settleKey({ state, pepper }: Core, config: AppConfig): Promise<string | null> {
  const known = await state.resources.get(DEFAULT_RESOURCE_ID);
  const made = config.apiKey === null && known === undefined ? randomBytes(32).toString('hex') : null;
  const key = config.apiKey ?? made;
  const keyDigests = key === null ? (known?.keyDigests ?? []) : [keyDigest(pepper, key)];
  await state.resources.put({ id: DEFAULT_RESOURCE_ID, location: config.location, keyDigests });
  return made;
}

const configuredDeployments = (config: AppConfig): Deployments =>
  createConfiguredDeployments(
    config.deployments.map((deployment): Deployment => ({
      ...deployment,
      upstreams: deployment.upstreams.map((upstream) => openUpstream(upstream, deployment, config)),
    })),
  );

function openUpstream(
  upstream: UpstreamConfig,
  { concurrencyMax }: Pick<DeploymentConfig, 'concurrencyMax'>,
  config: AppConfig,
): Upstream {
  if (upstream.kind === 'http') {
    return createHttpUpstream({
      name: new URL(upstream.url).host,
      baseUrl: upstream.url,
      apiKey: upstream.apiKey ?? undefined,
      authStyle: upstream.authStyle,
      azureApiVersion: upstream.apiVersion ?? undefined,
      model: upstream.model,
      timeoutMs: upstream.requestTimeoutMs,
      connectionsMax: concurrencyMax,
    });
  }
  return createSimulator({
    model: upstream.model,
    latencyMs: config.simulatorLatencyMs,
    tokensPerSecond: config.simulatorTokensPerSecond,
    errorRate: config.simulatorErrorRate,
    requestsPerMinute: config.simulatorRequestsPerMinute,
    tokensPerMinute: config.simulatorTokensPerMinute,
    seed: config.simulatorSeed,
    clock: systemClock,
  });
}

async function closeUpstreams(deployments: Deployments): Promise<void> {
  const all = await deployments.list({ resourceId: DEFAULT_RESOURCE_ID, actor: 'app' });
  await Promise.all(all.flatMap(({ upstreams }) => upstreams.map((upstream) => upstream.close())));
}

/** The dispatchers ask before every request, so the guard's answer is kept at hand. */
function watchRoom(
  guard: DiskGuard,
  { signal, onFatal }: { readonly signal: AbortSignal; readonly onFatal: (error: unknown) => void },
): { readonly isThere: boolean } {
  const room = { isThere: true };
  const look = async (): Promise<void> => {
    while (!signal.aborted) {
      room.isThere = await guard.hasRoom();
      await systemClock.sleep(ROOM_LOOK_MS, signal).catch(() => {
        // The app closes.
      });
    }
  };
  Promise.all([look(), guard.watch(signal)]).catch(onFatal);
  return room;
}

/** `OFFPEAK_FAILPOINT=name` kills the process, as kill -9 does, when it gets there: for crash tests. */
function failpointFromEnv(): Failpoint {
  const chosen = process.env['OFFPEAK_FAILPOINT'];
  if (chosen === undefined || chosen === '') return noFailpoints;
  return (name) => {
    if (name === chosen) process.kill(process.pid, 'SIGKILL');
  };
}
