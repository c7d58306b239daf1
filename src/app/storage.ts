import { stat } from 'node:fs/promises';
import { join } from 'node:path';
import type { AppConfig } from '../config/config.ts';
import { systemClock } from '../core/clock.ts';
import { DataDirError, openDataDir, type DataDir } from '../core/data-dir.ts';
import { createDiskGuard, type DiskGuard } from '../core/disk-guard.ts';
import type { Log } from '../core/log.ts';
import { openDiskBlobs, readDiskBlobs, type DiskBlobs } from '../stores/blobs/disk.ts';
import { onFullDisk } from '../stores/state/on-full-disk.ts';
import type { StateStore } from '../stores/state/ports.ts';
import { isNewPostgres, openPostgresStore, postgresLabel } from '../stores/state/postgres/open.ts';
import { openSqliteStore } from '../stores/state/sqlite/thread.ts';
import { failpointFromEnv } from './failpoint.ts';
import { expectNoDatabase, openPepper, tieTogether } from './installation.ts';

const DISK_POLL_MS = 1_000;

export interface Storage {
  readonly dataDir: DataDir;
  readonly pepper: Uint8Array;
  readonly state: StateStore;
  readonly blobs: DiskBlobs;
  readonly diskGuard: DiskGuard;
}

interface OpenDeps {
  readonly log: Log;
  readonly onFatal: (error: unknown) => void;
}

type StorageConfig = Pick<AppConfig, 'dataDir' | 'database' | 'adopt' | 'diskReserveBytes' | 'ballastBytes'>;

export async function openStorage(config: StorageConfig, { log, onFatal }: OpenDeps): Promise<Storage> {
  // Files that are made from here on are for this user alone. A directory that others share keeps its own mode.
  process.umask(0o077);
  const dataDir = await openDataDir(config.dataDir);
  try {
    const diskGuard = createDiskGuard({
      dir: dataDir.path,
      clock: systemClock,
      freeBytesMin: config.diskReserveBytes,
      ballastBytes: config.ballastBytes,
    });
    const { adopt } = config;
    const halves = {
      dataDir,
      blobs: readDiskBlobs({ dir: dataDir.blobsDir }),
      database: labelOf(config, dataDir),
    };
    await expectDatabase(halves, { url: config.database, adopt });
    const store = await openState(config, dataDir, onFatal);
    try {
      const state = onFullDisk(store, () => diskGuard.dropBallast());
      await tieTogether({ ...halves, state }, { adopt, log, failpoint: failpointFromEnv() });
      const pepper = await openPepper({ dataDir, state }, { adopt, log });
      const blobs = await openDiskBlobs({ dir: dataDir.blobsDir });
      await blobs.sweep();
      return { dataDir, pepper, state, blobs, diskGuard };
    } catch (error) {
      await store.close();
      throw error;
    }
  } catch (error) {
    dataDir.close();
    throw error;
  }
}

const openState = (
  { database }: StorageConfig,
  dataDir: DataDir,
  onFatal: (error: unknown) => void,
): Promise<StateStore> =>
  database === null
    ? openSqliteStore({ path: sqlitePath(dataDir), onFatal })
    : openPostgresStore({ url: database, onLost: onFatal });

export const sqlitePath = ({ path }: Pick<DataDir, 'path'>): string => join(path, 'offpeak.db');

/** The database's name for people, without a password. */
export function labelOf(
  { database }: Pick<StorageConfig, 'database'>,
  dataDir: Pick<DataDir, 'path'>,
): string {
  return database === null ? sqlitePath(dataDir) : postgresLabel(database);
}

/** A database, or its tables, are made only where there cannot have been any. */
async function expectDatabase(
  halves: Parameters<typeof expectNoDatabase>[0],
  { url, adopt }: { readonly url: string | null; readonly adopt: boolean },
): Promise<void> {
  if (url !== null) {
    if (!adopt && (await isNewPostgres({ url })))
      await expectNoDatabase(halves, 'has nothing of Offpeak in it');
    return;
  }
  const path = sqlitePath(halves.dataDir);
  if ((await bytesOf(path)) > 0) return;
  if ((await bytesOf(`${path}-wal`)) > 0)
    throw new DataDirError(
      `${path} is missing or empty, and ${path}-wal, which holds its last changes, is there. Put ${path} back beside it; ` +
        'or move the -wal file away when you restore a backup.',
    );
  if (!adopt)
    await expectNoDatabase(
      halves,
      'is not there, or empty. If the state is in PostgreSQL, give --database as before',
    );
}

export const bytesOf = async (path: string): Promise<number> =>
  stat(path).then(
    ({ size }) => size,
    () => 0,
  );

export async function closeStorage({ state, blobs, dataDir }: Storage): Promise<void> {
  await state.close();
  await blobs.close();
  dataDir.close();
}

/** Dispatchers ask before every request, so the answer of the guard is kept. */
export function watchDiskSpace(
  { diskGuard, dataDir: { path } }: Pick<Storage, 'diskGuard'> & { readonly dataDir: Pick<DataDir, 'path'> },
  { signal, log, onFatal }: OpenDeps & { readonly signal: AbortSignal },
): { readonly isThere: boolean } {
  const diskSpace = { isThere: true };
  const poll = async (): Promise<void> => {
    while (!signal.aborted) {
      const isThere = await diskGuard.hasSpace();
      if (isThere !== diskSpace.isThere) log.event(isThere ? 'disk.ok' : 'disk.low', { path });
      diskSpace.isThere = isThere;
      await systemClock.sleep(DISK_POLL_MS, signal).catch(() => {
        // The app closes.
      });
    }
  };
  Promise.all([poll(), diskGuard.watch(signal)]).catch(onFatal);
  return diskSpace;
}
