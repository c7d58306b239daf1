import { randomFillSync } from 'node:crypto';
import { open, rm, stat, statfs } from 'node:fs/promises';
import { join } from 'node:path';
import type { Clock } from './clock.ts';

/**
 * Knows whether the disk has space for new work, so that no work starts whose results could not be stored (P10).
 *
 * On a full disk even a cancel or a delete cannot be recorded, so the guard keeps a ballast: a file that can be removed then.
 * The ballast is `missing` from the start until the disk has space for it; `made`; or `dropped`, to free its space. While it
 * is dropped there is no space for new work: the disk must prove that it can take the ballast again.
 */
export interface DiskGuard {
  /** Whether `bytes` more leave the free bytes that the guard keeps. The answer is a tenth of a second old at most. */
  hasSpace(bytes?: number): Promise<boolean>;
  /** New work met a full disk and has undone its part. There is no space until the next check; the ballast stays. */
  noteFull(): void;
  /** Drops the ballast. Call it when not even the record of a cancel or a delete found space. */
  dropBallast(): Promise<void>;
  /** Checks the disk every second until aborted, so that the ballast is dropped and made again unasked. */
  watch(signal: AbortSignal): Promise<void>;
}

/** The disk under the data directory, as the guard needs it. */
export interface GuardedDisk {
  /** What an unprivileged process may still write. */
  freeBytes(): Promise<number>;
  /** Makes a durable ballast, of bytes that really occupy the disk. It leaves nothing when it fails. */
  makeBallast(bytes: number): Promise<void>;
  dropBallast(): Promise<void>;
}

export interface DiskGuardOptions {
  readonly dir: string;
  readonly clock: Clock;
  readonly freeBytesMin: number;
  /** The size of the ballast. 0: there is none. */
  readonly ballastBytes: number;
  readonly disk?: GuardedDisk;
}

const MIB = 1024 * 1024;
const CHECK_EVERY_MS = 1_000;
/** A fast upload writes less in this time than the guard keeps free. */
const STALE_AFTER_MS = 100;

export function createDiskGuard(options: DiskGuardOptions): DiskGuard {
  const { clock, freeBytesMin, ballastBytes } = options;
  const disk = options.disk ?? diskUnder(options.dir);
  const dropBallastBelow = freeBytesMin / 8;
  let ballast: 'missing' | 'made' | 'dropped' = 'missing';
  let freeBytes = 0;
  let staleAtMs = -Infinity;
  let checking: Promise<void> | undefined;
  let making: Promise<void> | undefined;
  let dropping: Promise<void> | undefined;

  const make = async () => {
    try {
      if (ballastBytes > 0) await disk.makeBallast(ballastBytes);
      ballast = 'made';
    } catch {
      // Nothing is lost: the disk cannot take the ballast now, and a later check tries again.
    }
  };
  const check = async () => {
    freeBytes = await disk.freeBytes();
    staleAtMs = clock.mono() + STALE_AFTER_MS;
    if (freeBytes < dropBallastBelow) return guard.dropBallast();
    if (ballast === 'made' || freeBytes < freeBytesMin + ballastBytes) return;
    making ??= make().finally(() => (making = undefined));
    // After a full disk the space must be proven. At a first start nobody needs to wait for 64 MiB.
    if (ballast === 'dropped') await making;
  };
  const checkIfStale = async () => {
    if (clock.mono() < staleAtMs) return;
    checking ??= check().finally(() => (checking = undefined));
    await checking;
  };

  const guard: DiskGuard = {
    async hasSpace(bytes = 0) {
      await checkIfStale();
      return ballast !== 'dropped' && freeBytes - bytes >= freeBytesMin;
    },
    noteFull() {
      freeBytes = 0;
      staleAtMs = clock.mono() + CHECK_EVERY_MS;
    },
    async dropBallast() {
      guard.noteFull();
      await making;
      if (ballast !== 'dropped') {
        ballast = 'dropped';
        // When the ballast cannot be removed, the caller meets a full disk again.
        dropping = ballastBytes > 0 ? disk.dropBallast().catch(() => {}) : undefined;
      }
      // A second caller waits too: it needs the space, not only the state.
      await dropping;
    },
    async watch(signal) {
      while (!signal.aborted) {
        await checkIfStale();
        await clock.sleep(CHECK_EVERY_MS, signal).catch(() => {});
      }
      await making;
    },
  };
  return guard;
}

function diskUnder(dir: string): GuardedDisk {
  const path = join(dir, 'ballast');
  return {
    async freeBytes() {
      const { bavail, bsize } = await statfs(dir);
      return bavail * bsize;
    },
    async makeBallast(bytes) {
      const found = await stat(path).catch(() => undefined);
      if (found?.size === bytes) return;
      try {
        await writeNoise(path, bytes);
      } catch (error) {
        await rm(path, { force: true });
        throw error;
      }
    },
    dropBallast: () => rm(path, { force: true }),
  };
}

/** The bytes are random, since a file system that compresses would store zeros in no space. */
async function writeNoise(path: string, bytes: number): Promise<void> {
  const block = randomFillSync(Buffer.allocUnsafe(MIB));
  const handle = await open(path, 'w', 0o600);
  try {
    for (let left = bytes; left > 0; left -= MIB) {
      await handle.writeFile(block.subarray(0, Math.min(MIB, left)));
    }
    await handle.sync();
  } finally {
    await handle.close();
  }
}
