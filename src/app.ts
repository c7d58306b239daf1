import { randomUUID } from 'node:crypto';
import { availableParallelism } from 'node:os';
import { join } from 'node:path';
import { Server as TlsServer } from 'node:tls';
import type { FastifyInstance } from 'fastify';
import { openControlPlane, type OpenedControlPlane } from './app/control-plane.ts';
import { failpointFromEnv } from './app/failpoint.ts';
import type { FirstKeys, KeepFirstKeys } from './app/first-keys.ts';
import { missingFiles } from './app/installation.ts';
import { loggedControlPlane } from './app/logged-control-plane.ts';
import { redeployingControlPlane } from './app/redeploying-control-plane.ts';
import { openRunDeployment } from './app/run-deployment.ts';
import { singleProcess, type SingleProcess } from './app/single-process.ts';
import { closeStorage, openStorage, watchDiskSpace, type Storage } from './app/storage.ts';
import { openTls, readOwnTls } from './app/tls.ts';
import { Engine, type EngineOptions } from './batch/engine.ts';
import { runExpiry } from './batch/upload/expiry.ts';
import type { Keep } from './batch/upload/retention.ts';
import { named } from './batch/upload/strays.ts';
import { createImporter } from './batch/upload/import.ts';
import { createUploader, type Uploader } from './batch/upload/upload.ts';
import { createInspectorPool } from './batch/validate/pool.ts';
import type { AppConfig } from './config/config.ts';
import { systemClock } from './core/clock.ts';
import { proxiesOf } from './core/proxy.ts';
import { systemUuid } from './core/ids.ts';
import type { Log } from './core/log.ts';
import type { ControlPlane } from './deployments/control/port.ts';
import type { Deployments } from './deployments/port.ts';
import { createHttpServer } from './http/server.ts';
import type { DiskBlobs } from './stores/blobs/disk.ts';
import type { StateStore } from './stores/state/ports.ts';

/** The composition root. Only this file and those in `app/` name an implementation of a port. */

export interface AppDeps {
  readonly log: Log;
  /** A promise can no longer be kept (P9). The caller must end the process. */
  readonly onFatal: (error: unknown) => void;
}

/** Everything but the HTTP surface. */
export interface Core {
  readonly state: StateStore;
  readonly blobs: DiskBlobs;
  readonly deployments: Deployments;
  readonly engine: Engine;
  readonly uploader: Uploader;
  /** Sends nothing new, waits at most `drainMs` for requests in flight, saves their results, and frees the directory. */
  close(options: { readonly drainMs: number }): Promise<void>;
}

/** For `offpeak run`: the first deployment of the configuration, on its first upstream. */
export async function openLocalCore(
  config: AppConfig,
  deps: AppDeps & Pick<EngineOptions, 'acceptedBefore'>,
): Promise<Core> {
  const storage = await openStorage(config, deps);
  return startCore(config, {
    ...deps,
    options: { acceptedBefore: deps.acceptedBefore },
    storage,
    single: singleOn(storage, deps),
    directory: await openRunDeployment(config, { ...storage, log: deps.log }),
  });
}

interface CoreParts extends AppDeps {
  readonly options?: Partial<EngineOptions>;
  readonly storage: Storage;
  readonly single: SingleProcess;
  readonly directory: { readonly deployments: Deployments; close(): Promise<void> };
}

async function startCore(config: AppConfig, parts: CoreParts): Promise<Core> {
  const { log, onFatal, directory, storage, single } = parts;
  const { state, blobs, diskGuard } = storage;
  const background = new AbortController();
  const diskSpace = watchDiskSpace(storage, { signal: background.signal, log, onFatal });
  const inspectors = createInspectorPool({
    resolvePath: (id) => blobs.pathOf(id),
    threads: Math.max(1, availableParallelism() - 1),
  });
  const { deployments } = directory;
  const engine = new Engine({
    ...single,
    clock: systemClock,
    random: Math.random,
    uuid: systemUuid,
    state,
    blobs,
    deployments,
    inspect: inspectors.inspect,
    log,
    failpoint: failpointFromEnv(),
    hasDiskSpace: () => diskSpace.isThere,
    onFatal,
    options: { ...parts.options, maxRetries: config.retriesMax, strictWindow: config.strictWindow },
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
  const straysDir = join(storage.dataDir.blobsDir, 'strays');
  const back = await uploader.bringStraysBack();
  if (back.count > 0) log.event('strays.back', { ...named(back), path: straysDir });
  const missing = await missingFiles(storage);
  if (missing.count > 0) log.event('files.missing', { ...named(missing), path: storage.dataDir.blobsDir });
  await engine.start();
  const expiry = runExpiry(
    {
      uploader,
      stores: storage,
      keep: keepOf(config),
      clock: systemClock,
      log,
      straysDir,
    },
    background.signal,
  ).catch(onFatal);

  return {
    state,
    blobs,
    deployments,
    engine,
    uploader,
    async close({ drainMs }) {
      await engine.stop({ drainMs });
      background.abort();
      await expiry;
      await inspectors.close();
      await directory.close();
      await closeStorage(storage);
    },
  };
}

const singleOn = ({ state }: Storage, { log }: AppDeps): SingleProcess =>
  singleProcess({
    work: state.work,
    owner: `${process.pid}-${randomUUID()}`,
    clock: systemClock,
    random: Math.random,
    log,
  });

const keepOf = ({ keepBatchesMs, keepFilesMs, keepAuditMs }: AppConfig): Keep => ({
  batchesMs: keepBatchesMs,
  filesMs: keepFilesMs,
  auditMs: keepAuditMs,
});

export interface App extends Core {
  readonly http: FastifyInstance;
  readonly controlPlane: ControlPlane;
  readonly firstKeys: FirstKeys;
  readonly checkUpstreams: OpenedControlPlane['checkUpstreams'];
  /** The certificate that clients must trust. Null: the service speaks HTTP, or has a certificate of the operator's own. */
  readonly localCertPath: string | null;
  listen(): Promise<{ readonly url: string }>;
  /**
   * Puts another configuration in force; batches go on. It reaches requests by `engine.redeploy`, `dispatchers.refresh` and
   * `dispatcher.update`: when it resolves, every request that is sent from then on follows it. Options that need a restart
   * are not looked at. It rejects with a `ConfigError`, and changes nothing, when the configuration has faults.
   */
  apply(config: AppConfig): Promise<void>;
}

export async function createApp(
  config: AppConfig,
  deps: AppDeps & { readonly keepFirstKeys?: KeepFirstKeys },
): Promise<App> {
  const storage = await openStorage(config, deps);
  const single = singleOn(storage, deps);
  const { tls, opened } = await openTlsAndControlPlane(config, storage, { ...deps, ...single }).catch(
    async (error: unknown) => {
      await closeStorage(storage);
      throw error;
    },
  );
  const { controlPlane } = opened;
  const core = await startCore(config, { ...deps, storage, single, directory: opened });
  let ready = false;
  const importer = createImporter({
    uploader: core.uploader,
    clock: systemClock,
    importHosts: config.importHosts,
    proxyFor: proxiesOf(process.env),
  });
  const http = createHttpServer({
    ...core,
    importer,
    controlPlane: loggedControlPlane(redeployingControlPlane(controlPlane, core.engine), deps.log),
    authenticate: opened.authenticate,
    clock: systemClock,
    uuid: systemUuid,
    log: deps.log,
    ready: () => ready,
    onFatal: deps.onFatal,
    ...(tls.tls && { tls: tls.tls }),
    options: {
      resourceDomains: config.resourceDomains,
      connectionsPerAddressMax: config.connectionsPerAddressMax,
      trustedProxies: config.trustedProxies,
    },
  });
  return {
    ...core,
    http,
    controlPlane,
    firstKeys: opened.firstKeys,
    checkUpstreams: opened.checkUpstreams,
    localCertPath: tls.localCertPath,
    async listen() {
      const url = await http.listen({ host: config.host, port: config.port });
      ready = true;
      return { url };
    },
    async apply(next) {
      const renewed = await readOwnTls(config);
      await opened.apply(next);
      if (renewed && http.server instanceof TlsServer) http.server.setSecureContext(renewed);
      await core.engine.redeploy();
    },
    async close(options) {
      ready = false;
      await Promise.all([http.close(), importer.close(), core.close(options)]);
    },
  };
}

/** Finds every fault of a configuration before anything else is opened. */
async function openTlsAndControlPlane(
  config: AppConfig,
  storage: Storage,
  {
    log,
    exclusive,
    keepFirstKeys = async () => {},
  }: AppDeps & Pick<SingleProcess, 'exclusive'> & { readonly keepFirstKeys?: KeepFirstKeys },
) {
  return {
    tls: await openTls(config, storage.dataDir),
    opened: await openControlPlane(config, storage, { log, exclusive, keepFirstKeys }),
  };
}
