import { randomUUID } from 'node:crypto';
import { availableParallelism } from 'node:os';
import { join } from 'node:path';
import { Engine, type EngineOptions } from '../batch/engine.ts';
import { runExpiry } from '../batch/upload/expiry.ts';
import { named } from '../batch/upload/strays.ts';
import { createUploader, type Uploader } from '../batch/upload/upload.ts';
import { createInspectorPool } from '../batch/validate/pool.ts';
import type { AppConfig } from '../config/config.ts';
import { systemClock } from '../core/clock.ts';
import { systemUuid } from '../core/ids.ts';
import type { Log } from '../core/log.ts';
import type { Deployments } from '../deployments/port.ts';
import type { DiskBlobs } from '../stores/blobs/disk.ts';
import type { StateStore } from '../stores/state/ports.ts';
import { failpointFromEnv } from './failpoint.ts';
import { missingFiles } from './installation.ts';
import { singleProcess, type SingleProcess } from './single-process.ts';
import { closeStorage, watchDiskSpace, type Storage } from './storage.ts';

export interface AppDeps {
  readonly log: Log;
  /** A promise can no longer be kept (P9). The caller must end the process. */
  readonly onFatal: (error: unknown) => void;
}

/** Everything but the HTTP surface. */
export interface Runtime {
  readonly state: StateStore;
  readonly blobs: DiskBlobs;
  readonly deployments: Deployments;
  readonly engine: Engine;
  readonly uploader: Uploader;
  /** Sends nothing new, waits at most `drainMs` for requests in flight, saves their results, and frees the directory. */
  close(options: { readonly drainMs: number }): Promise<void>;
}

interface RuntimeParts extends AppDeps {
  readonly options?: Partial<EngineOptions>;
  readonly storage: Storage;
  readonly single: SingleProcess;
  readonly directory: { readonly deployments: Deployments; close(): Promise<void> };
}

export async function startRuntime(config: AppConfig, parts: RuntimeParts): Promise<Runtime> {
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
    options: { ...parts.options, retriesMax: config.retriesMax, strictWindow: config.strictWindow },
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
      keep: { batchesMs: config.keepBatchesMs, filesMs: config.keepFilesMs, auditMs: config.keepAuditMs },
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

export const singleOn = ({ state }: Storage, { log }: AppDeps): SingleProcess =>
  singleProcess({
    work: state.work,
    workerId: `${process.pid}-${randomUUID()}`,
    clock: systemClock,
    random: Math.random,
    log,
  });
