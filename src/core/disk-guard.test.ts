import { mkdtemp, readdir, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { type Clock, systemClock } from './clock.ts';
import { createDiskGuard, type DiskGuardOptions, type GuardedDisk } from './disk-guard.ts';

const MIB = 1024 * 1024;

/** A disk of so many free bytes, on which the ballast weighs what it weighs. */
function makeDisk(freeBytes: number) {
  const disk = {
    freeBytes,
    checks: 0,
    ballast: 0,
    refuseBallast: undefined as string | undefined,
  };
  const port: GuardedDisk = {
    async freeBytes() {
      disk.checks++;
      return disk.freeBytes;
    },
    async makeBallast(bytes) {
      for (let turn = 0; turn < 5; turn++) await new Promise(setImmediate);
      if (disk.refuseBallast) throw Object.assign(new Error('injected'), { code: disk.refuseBallast });
      disk.freeBytes -= bytes - disk.ballast;
      disk.ballast = bytes;
    },
    async dropBallast() {
      disk.freeBytes += disk.ballast;
      disk.ballast = 0;
    },
  };
  return { disk, port };
}

/** Time that a test moves; `sleep` returns after the move that reaches its end. */
function makeClock() {
  let nowMs = 0;
  const sleepers = new Set<{ at: number; wake: () => void }>();
  const clock: Clock = {
    now: () => nowMs,
    mono: () => nowMs,
    sleep: (delayMs, signal) =>
      new Promise((resolve, reject) => {
        if (signal?.aborted) return reject(signal.reason);
        const sleeper = { at: nowMs + delayMs, wake: resolve };
        sleepers.add(sleeper);
        signal?.addEventListener('abort', () => {
          sleepers.delete(sleeper);
          reject(signal.reason);
        });
      }),
  };
  const settle = async () => {
    for (let turn = 0; turn < 20; turn++) await new Promise(setImmediate);
  };
  return {
    clock,
    advance: async (ms: number) => {
      nowMs += ms;
      for (const sleeper of sleepers) {
        if (sleeper.at > nowMs) continue;
        sleepers.delete(sleeper);
        sleeper.wake();
      }
      await settle();
    },
  };
}

function makeGuard(freeBytes: number, options: Partial<DiskGuardOptions> = {}) {
  const { disk, port } = makeDisk(freeBytes);
  const time = makeClock();
  const guard = createDiskGuard({
    dir: '/nowhere',
    clock: time.clock,
    disk: port,
    freeBytesMin: 256 * MIB,
    ballastBytes: 64 * MIB,
    ...options,
  });
  return { disk, guard, advance: time.advance };
}

describe('space', () => {
  test('is there while 256 MiB stay free', async () => {
    const { disk, guard, advance } = makeGuard(1_000 * MIB, { ballastBytes: 0 });
    expect(await guard.hasSpace()).toBe(true);
    expect(await guard.hasSpace(744 * MIB)).toBe(true);
    expect(await guard.hasSpace(744 * MIB + 1)).toBe(false);

    for (const [freeBytes, hasSpace] of [
      [256 * MIB, true],
      [256 * MIB - 1, false],
      [257 * MIB, true],
    ] as const) {
      disk.freeBytes = freeBytes;
      await advance(1_000);
      expect(await guard.hasSpace()).toBe(hasSpace);
    }
  });

  test('is checked ten times a second at most, however many ask', async () => {
    const { disk, guard, advance } = makeGuard(1_000 * MIB);

    for (let round = 0; round < 3; round++) {
      await Promise.all(Array.from({ length: 100 }, () => guard.hasSpace()));
      await advance(99);
      await guard.hasSpace();
      expect(disk.checks).toBe(round + 1);
      await advance(1);
    }
  });

  test('is denied for a second after new work met a full disk, and the ballast stays', async () => {
    const { disk, guard, advance } = makeGuard(1_000 * MIB);
    await guard.hasSpace();
    await advance(0);

    guard.noteFull();

    expect(await guard.hasSpace()).toBe(false);
    await advance(999);
    expect(await guard.hasSpace()).toBe(false);
    await advance(1);
    expect(await guard.hasSpace()).toBe(true);
    expect(disk.ballast).toBe(64 * MIB);
  });
});

describe('the ballast', () => {
  test('is made when there is space for it, and the first start does not wait for it', async () => {
    const { disk, guard, advance } = makeGuard(1_000 * MIB);

    expect(await guard.hasSpace()).toBe(true);
    await advance(1_000);

    expect(disk.ballast).toBe(64 * MIB);
  });

  test('is not made of the last space', async () => {
    const { disk, guard, advance } = makeGuard(319 * MIB);

    expect(await guard.hasSpace()).toBe(true);
    await advance(1_000);
    expect(await guard.hasSpace()).toBe(true);

    expect(disk.ballast).toBe(0);
  });

  test('is given up when the disk fills, unasked; there is space again only once it could be made again', async () => {
    const { disk, guard, advance } = makeGuard(1_000 * MIB);
    const stopping = new AbortController();
    const watching = guard.watch(stopping.signal);
    await advance(1_000);
    expect(disk.ballast).toBe(64 * MIB);

    disk.freeBytes = 1 * MIB;
    await advance(1_000);
    expect([disk.ballast, disk.freeBytes]).toEqual([0, 65 * MIB]);

    disk.freeBytes = 300 * MIB;
    await advance(1_000);
    expect(await guard.hasSpace()).toBe(false);
    expect(disk.ballast).toBe(0);

    disk.freeBytes = 400 * MIB;
    await advance(1_000);
    expect(await guard.hasSpace()).toBe(true);
    expect(disk.ballast).toBe(64 * MIB);
    stopping.abort();
    await watching;
  });

  test('is given up at once when asked for, whatever the disk says of itself', async () => {
    const { disk, guard, advance } = makeGuard(1_000 * MIB);
    await guard.hasSpace();
    await advance(1_000);
    disk.refuseBallast = 'EDQUOT';

    await guard.dropBallast();

    expect(disk.ballast).toBe(0);
    expect(await guard.hasSpace()).toBe(false);
    for (let second = 0; second < 5; second++) {
      await advance(1_000);
      expect(await guard.hasSpace()).toBe(false);
    }
    disk.refuseBallast = undefined;
    await advance(1_000);
    expect(await guard.hasSpace()).toBe(true);
    expect(disk.ballast).toBe(64 * MIB);
  });

  test('that is still being made when it is asked for is given up all the same', async () => {
    const { disk, guard, advance } = makeGuard(1_000 * MIB);
    await guard.hasSpace();

    await guard.dropBallast();
    await advance(999);

    expect(disk.ballast).toBe(0);
    expect(await guard.hasSpace()).toBe(false);
  });

  test('of 0 bytes is none, and a full disk still holds back for a second', async () => {
    const { disk, guard, advance } = makeGuard(1_000 * MIB, { ballastBytes: 0 });
    await guard.dropBallast();
    expect(await guard.hasSpace()).toBe(false);

    await advance(1_000);

    expect(await guard.hasSpace()).toBe(true);
    expect(disk.ballast).toBe(0);
  });
});

describe('on a real disk', () => {
  let dir: string;
  beforeEach(async () => {
    dir = await mkdtemp(join(tmpdir(), 'offpeak-guard-'));
  });
  afterEach(() => rm(dir, { recursive: true }));

  const settled = async (options: { ballastBytes: number }) => {
    const stopping = new AbortController();
    const guard = createDiskGuard({ dir, clock: systemClock, freeBytesMin: 0, ...options });
    await guard.hasSpace();
    stopping.abort();
    // Ends only when the ballast that was begun is made.
    await guard.watch(stopping.signal);
    return guard;
  };

  test('the ballast is of bytes that are really allocated, kept over restarts, and given up as a file', async () => {
    const guard = await settled({ ballastBytes: 5 * MIB + 1 });
    const made = await stat(join(dir, 'ballast'));
    expect(made.size).toBe(5 * MIB + 1);
    expect(made.blocks * 512).toBeGreaterThanOrEqual(made.size);
    expect(made.mode & 0o777).toBe(0o600);

    await settled({ ballastBytes: 5 * MIB + 1 });
    expect((await stat(join(dir, 'ballast'))).mtimeMs).toBe(made.mtimeMs);

    await guard.dropBallast();
    expect(await readdir(dir)).toEqual([]);
  });

  test('a ballast that a crash cut short, or of another size, is made anew', async () => {
    await writeFile(join(dir, 'ballast'), 'cut short');

    await settled({ ballastBytes: MIB });

    expect((await stat(join(dir, 'ballast'))).size).toBe(MIB);
  });

  test("the free bytes are those of the directory's disk", async () => {
    const roomy = createDiskGuard({ dir, clock: systemClock, freeBytesMin: 1, ballastBytes: 0 });
    const greedy = createDiskGuard({ dir, clock: systemClock, freeBytesMin: 2 ** 60, ballastBytes: 0 });

    expect(await roomy.hasSpace()).toBe(true);
    expect(await roomy.hasSpace(2 ** 60)).toBe(false);
    expect(await greedy.hasSpace()).toBe(false);
  });
});
