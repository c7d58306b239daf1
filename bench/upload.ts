import { randomBytes } from 'node:crypto';
import { mkdtemp, open, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createUploader, type Uploader } from '../src/batch/upload/upload.ts';
import { DEFAULT_RESOURCE_ID } from '../src/contract/scope.ts';
import { systemClock } from '../src/core/clock.ts';
import { createDiskGuard } from '../src/core/disk-guard.ts';
import { systemUuid } from '../src/core/ids.ts';
import { silentLog } from '../src/core/log.ts';
import { openDiskBlobs } from '../src/stores/blobs/disk.ts';
import { openSqliteInline } from '../src/stores/state/sqlite/inline.ts';
import { NO_LIMITS, resourceOf } from '../test/support/state-store.ts';
import { median, type Measurement } from './measurement.ts';

const FILE_BYTES = 180 * 1024 * 1024;
/** Chunks from a socket have this size. */
const CHUNK_BYTES = 64 * 1024;
const ROUNDS = 9;
const scope = { resourceId: DEFAULT_RESOURCE_ID, actor: 'bench' };

/** Measures an upload (digest, fsyncs, row) against a plain loop that writes the same chunks to a file and fsyncs it. */
export async function run(): Promise<Measurement> {
  const dir = await mkdtemp(join(tmpdir(), 'offpeak-bench-upload-'));
  const state = await openSqliteInline({ path: join(dir, 'state.db') });
  const blobs = await openDiskBlobs({ dir: join(dir, 'blobs') });
  try {
    await state.resources.put(resourceOf(scope.resourceId), { actor: scope.actor, atS: 0 });
    const diskGuard = createDiskGuard({ dir, clock: systemClock, freeBytesMin: 0, ballastBytes: 0 });
    const uploader = createUploader({
      state,
      blobs,
      clock: systemClock,
      uuid: systemUuid,
      diskGuard,
      log: silentLog,
      limits: NO_LIMITS,
    });
    const ours: number[] = [];
    const yardstick: number[] = [];
    const rounds = [
      async () => void ours.push(await mbPerSecondOfUpload(uploader)),
      async () => void yardstick.push(await mbPerSecondOfPlainWrite(join(dir, 'plain'))),
    ];
    for (let round = 0; round < ROUNDS; round++) {
      // The two take turns to be first, so that neither always meets the disk just after the other.
      for (const measure of round % 2 === 0 ? rounds : rounds.toReversed()) await measure();
    }
    const [fast, plain] = [median(ours), median(yardstick)];
    return {
      name: 'upload of 180 MiB',
      unit: 'MB/s',
      ours: fast,
      yardstick: plain,
      ratio: fast / plain,
    };
  } finally {
    await blobs.close();
    await state.close();
    await rm(dir, { recursive: true });
  }
}

async function mbPerSecondOfUpload(uploader: Uploader): Promise<number> {
  const startMs = performance.now();
  const file = await uploader.uploadFile(scope, {
    filename: 'in.jsonl',
    purpose: 'batch',
    chunks: stream(),
    expiresAfterS: null,
  });
  const speed = mbPerSecond(startMs);
  await uploader.deleteFile(scope, file.id);
  return speed;
}

async function mbPerSecondOfPlainWrite(path: string): Promise<number> {
  const startMs = performance.now();
  const handle = await open(path, 'w');
  for await (const chunk of stream()) await handle.write(chunk);
  await handle.sync();
  await handle.close();
  const speed = mbPerSecond(startMs);
  await rm(path);
  return speed;
}

const mbPerSecond = (startMs: number): number => FILE_BYTES / 1_000 / (performance.now() - startMs);

const block = randomBytes(4 * 1024 * 1024);

async function* stream(): AsyncGenerator<Uint8Array> {
  for (let at = 0; at < FILE_BYTES; at += CHUNK_BYTES) {
    yield block.subarray(at % block.length, (at % block.length) + CHUNK_BYTES);
  }
}
