import { randomFillSync } from 'node:crypto';
import { open, rm, stat, statfs } from 'node:fs/promises';
import { join } from 'node:path';
import type { Clock } from './clock.ts';

/** Knows whether the disk has room for new work, so that none is begun whose results could not be stored (P10). */
export interface DiskGuard {
  /** Whether `bytes` more still leave the free bytes that the guard keeps. As of at most a tenth of a second ago. */
  hasSpace(bytes?: number): Promise<boolean>;
  /** Resolves when there is room; rejects with the signal's reason. */
  waitForSpace(signal: AbortSignal): Promise<void>;
  /** New work met a full disk and has undone its part: there is no room until the next look. The ballast stays. */
  noteFull(): void;
  /**
   * Not even the record of a cancel or a delete found space: gives up the ballast for it, and says there is no room until
   * the ballast could be made again.
   */
  dropBallast(): Promise<void>;
  /** Looks at the disk every second until aborted, so that the ballast is given up and made again unasked. */
  watch(signal: AbortSignal): Promise<void>;
}

/** The disk under the data directory, as the guard needs it. */
export interface GuardedDisk {
  /** What an unprivileged process may still write. */
  freeBytes(): Promise<number>;
  /** Makes the ballast durable, of bytes that really occupy the disk. Leaves nothing when it fails. */
  makeBallast(bytes: number): Promise<void>;
  dropBallast(): Promise<void>;
}

export interface DiskGuardOptions {
  readonly dir: string;
  readonly clock: Clock;
  readonly freeBytesMin?: number;
  /** 0: none. */
  readonly ballastBytes?: number;
  readonly disk?: GuardedDisk;
}

const MIB = 1024 * 1024;
const LOOK_EVERY_MS = 1_000;
/** A fast upload writes less in this time than the guard keeps free. */
const STALE_AFTER_MS = 100;

export function createDiskGuard(options: DiskGuardOptions): DiskGuard {
  const { clock, freeBytesMin = 256 * MIB, ballastBytes = 64 * MIB } = options;
  const disk = options.disk ?? diskUnder(options.dir);
  const dropBallastBelow = freeBytesMin / 8;
  let ballast: 'missing' | 'made' | 'dropped' = 'missing';
  let freeBytes = 0;
  let staleAtMs = -Infinity;
  let looking: Promise<void> | undefined;
  let making: Promise<void> | undefined;
  let dropping: Promise<void> | undefined;

  const make = async () => {
    try {
      if (ballastBytes > 0) await disk.makeBallast(ballastBytes);
      ballast = 'made';
    } catch {
      // Nothing is lost with it: while the disk cannot take it the state stays, and a later look tries again.
    }
  };
  const look = async () => {
    freeBytes = await disk.freeBytes();
    staleAtMs = clock.mono() + STALE_AFTER_MS;
    if (freeBytes < dropBallastBelow) return guard.dropBallast();
    if (ballast === 'made' || freeBytes < freeBytesMin + ballastBytes) return;
    making ??= make().finally(() => (making = undefined));
    // Who waits for room must see it proven; at the first start nobody needs to wait for 64 MiB.
    if (ballast === 'dropped') await making;
  };
  const lookIfStale = async () => {
    if (clock.mono() < staleAtMs) return;
    looking ??= look().finally(() => (looking = undefined));
    await looking;
  };

  const guard: DiskGuard = {
    async hasSpace(bytes = 0) {
      await lookIfStale();
      return ballast !== 'dropped' && freeBytes - bytes >= freeBytesMin;
    },
    async waitForSpace(signal) {
      signal.throwIfAborted();
      while (!(await guard.hasSpace())) await clock.sleep(LOOK_EVERY_MS, signal);
    },
    noteFull() {
      freeBytes = 0;
      staleAtMs = clock.mono() + LOOK_EVERY_MS;
    },
    async dropBallast() {
      guard.noteFull();
      await making;
      if (ballast !== 'dropped') {
        ballast = 'dropped';
        // A ballast that cannot be removed changes nothing for the caller: the disk is full.
        dropping = ballastBytes > 0 ? disk.dropBallast().catch(() => {}) : undefined;
      }
      // Whoever comes meanwhile needs the space as well, and not just the news of it.
      await dropping;
    },
    async watch(signal) {
      while (!signal.aborted) {
        await lookIfStale();
        await clock.sleep(LOOK_EVERY_MS, signal).catch(() => {});
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

/** Random bytes, since a file system that compresses would make zeros weigh nothing. */
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
