import { existsSync } from 'node:fs';
import { open, rm, statfs } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { DatabaseSync } from 'node:sqlite';
import { setTimeout as wait } from 'node:timers/promises';
import { expect, test } from 'vitest';
import { Trial } from './trial.ts';

const MIB = 1024 * 1024;
const MEMORY = '/dev/shm';
/** The other tests must not change the free space here, so this is where the run does not write (test/support/run-setup.ts). */
const PARENT = existsSync(MEMORY) && !tmpdir().startsWith(MEMORY) ? MEMORY : '/tmp';
/** The service must keep everything but this free, and the filler takes twice as much. */
const SPACE_BYTES = 256 * MIB;
const LINES = 1_500;

test('P10: nothing is paid for while the disk is nearly full, and the batch goes on by itself when space is free again', async () => {
  const reserve = (await freeBytes(PARENT)) - SPACE_BYTES;
  const service = await Trial.open(
    'SQLite',
    { latencyMs: 50, jitterMs: 50 },
    { parent: PARENT, flags: { 'disk-reserve': String(reserve) } },
  );
  const filler = `${service.dataDir}/../filler`;
  try {
    await service.start();
    const { id } = await service.wire.create(await service.upload(LINES));
    while ((await service.wire.batch(id)).request_counts.completed < 100) await wait(20);

    await fill(filler, 2 * SPACE_BYTES);
    const paid = await untilQuiet(service);
    const paused = await service.wire.batch(id);

    expect(paused.status).toBe('in_progress');
    expect(paused.request_counts.completed).toBe(paid);
    expect(paid).toBeLessThan(LINES);
    await expect(service.upload(1)).rejects.toThrow('507');
    expect(await service.batches()).toHaveLength(1);

    await rm(filler);
    const freedAtMs = performance.now();
    while ((await service.upstream.stats()).requests === paid) await wait(20);
    const resumedMs = performance.now() - freedAtMs;
    const ended = await service.wire.untilEnded(id);

    console.info(
      `full disk: ${paid} requests paid, 0 lost; resumed ${(resumedMs / 1000).toFixed(1)} s after space was free again`,
    );
    await service.expectWhole(ended, LINES);
    expect((await service.upstream.stats()).requests).toBe(LINES);
    expect(resumedMs).toBeLessThan(10_000);
    await service.kill();
    expect(integrityOf(`${service.dataDir}/offpeak.db`)).toBe('ok');
  } finally {
    await service.close();
    await rm(filler, { force: true });
  }
});

async function freeBytes(dir: string): Promise<number> {
  const { bavail, bsize } = await statfs(dir);
  return bavail * bsize;
}

async function fill(path: string, bytes: number): Promise<void> {
  const file = await open(path, 'w');
  const block = Buffer.alloc(8 * MIB, 1);
  for (let written = 0; written < bytes; written += block.length) await file.write(block);
  await file.close();
}

/** Waits until no more requests are sent, and returns how many were. */
async function untilQuiet(service: Trial): Promise<number> {
  for (let before = -1; ;) {
    await wait(1_500);
    const { requests, inFlight } = await service.upstream.stats();
    if (requests === before && inFlight === 0) return requests;
    before = requests;
  }
}

function integrityOf(path: string): unknown {
  const database = new DatabaseSync(path);
  try {
    return database.prepare('pragma integrity_check').get()?.['integrity_check'];
  } finally {
    database.close();
  }
}
