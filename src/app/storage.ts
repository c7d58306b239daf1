import { join } from 'node:path';
import type { AppConfig } from '../config/config.ts';
import { systemClock } from '../core/clock.ts';
import { openDataDir, type DataDir } from '../core/data-dir.ts';
import { createDiskGuard, type DiskGuard } from '../core/disk-guard.ts';
import { openDiskBlobs, type DiskBlobs } from '../stores/blobs/disk.ts';
import { onFullDisk } from '../stores/state/on-full-disk.ts';
import type { StateStore } from '../stores/state/ports.ts';
import { openPostgresStore } from '../stores/state/postgres/open.ts';
import { openSqliteStore } from '../stores/state/sqlite/thread.ts';

const ROOM_LOOK_MS = 1_000;

export interface Storage {
  readonly dataDir: DataDir;
  readonly state: StateStore;
  readonly blobs: DiskBlobs;
  readonly diskGuard: DiskGuard;
}

type StorageConfig = Pick<AppConfig, 'dataDir' | 'database' | 'diskReserveBytes' | 'ballastBytes'>;

export async function openStorage(
  config: StorageConfig,
  onFatal: (error: unknown) => void,
): Promise<Storage> {
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
    const store =
      config.database === null
        ? await openSqliteStore({ path: join(dataDir.path, 'offpeak.db'), onFatal })
        : await openPostgresStore({ url: config.database, onLost: onFatal });
    const state = onFullDisk(store, () => diskGuard.dropBallast());
    const blobs = await openDiskBlobs({ dir: dataDir.blobsDir });
    await blobs.sweep();
    return { dataDir, state, blobs, diskGuard };
  } catch (error) {
    dataDir.close();
    throw error;
  }
}

export async function closeStorage({ state, blobs, dataDir }: Storage): Promise<void> {
  await state.close();
  await blobs.close();
  dataDir.close();
}

/** The dispatchers ask before every request, so the guard's answer is kept at hand. */
export function watchRoom(
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
