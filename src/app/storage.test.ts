import { afterEach, expect, test, vi } from 'vitest';
import { systemClock } from '../core/clock.ts';
import { createDiskGuard } from '../core/disk-guard.ts';
import { createLog } from '../core/log.ts';
import { watchDiskSpace } from './storage.ts';

const stopping = new AbortController();
afterEach(() => stopping.abort());

test('a disk that is nearly full is logged once, and so is that it has space again', async () => {
  const disk = { free: 2_000 };
  const told: unknown[] = [];
  const diskGuard = createDiskGuard({
    dir: '/data',
    clock: systemClock,
    freeBytesMin: 1_000,
    ballastBytes: 0,
    disk: { freeBytes: async () => disk.free, makeBallast: async () => {}, dropBallast: async () => {} },
  });
  const diskSpace = watchDiskSpace(
    { diskGuard, dataDir: { path: '/data' } },
    {
      signal: stopping.signal,
      log: createLog(({ event, level, fields }) => told.push([event, level, ...fields])),
      onFatal: (error) => {
        throw error;
      },
    },
  );
  const becomes = (isThere: boolean) =>
    vi.waitFor(() => expect(diskSpace.isThere).toBe(isThere), { timeout: 20_000, interval: 20 });

  disk.free = 500;
  await becomes(false);
  disk.free = 2_000;
  await becomes(true);

  expect(told).toEqual([
    ['disk.low', 'warn', ['path', '/data']],
    ['disk.ok', 'info', ['path', '/data']],
  ]);
});
