import { afterEach, beforeEach, expect, test } from 'vitest';
import { overriding } from '../../../test/simulation/overriding.ts';
import {
  eventually,
  hang,
  many,
  ok,
  openEngineBench,
  scope,
  type EngineBench,
} from '../../../test/support/engine.ts';
import type { Batch } from '../../contract/batch.ts';
import { systemClock } from '../../core/clock.ts';
import { noFailpoints } from '../../core/failpoint.ts';
import { silentLog } from '../../core/log.ts';
import { Inputs } from '../inputs.ts';
import { systemUuid } from '../../core/ids.ts';
import { BlobStoreError } from '../../stores/blobs/port.ts';
import { StoreError } from '../../stores/state/ports.ts';
import { finalize, type FinalizeDeps } from './finalize.ts';

let bench: EngineBench;
beforeEach(async () => {
  bench = await openEngineBench();
});
afterEach(() => bench.close());

/** Makes a cancelled batch of three lines, of which `r1` has its answer. */
async function cancelledBatch(): Promise<{
  readonly inputFileId: string;
  readonly batch: Batch;
  readonly deps: FinalizeDeps;
}> {
  bench.deploy();
  bench.reply = ({ body }, signal) => (Buffer.from(body).includes('"r1"') ? ok : hang(signal));
  const engine = await bench.start();
  const inputFileId = await bench.upload(many(3));
  const { batch } = await bench.create(engine, inputFileId);
  await eventually(async () => expect((await bench.batch(batch)).counts.completed).toBe(1));
  await engine.stop({ drainMs: 0 });
  await bench.state.batches.cancel(scope, batch.id, 1);
  const deps: FinalizeDeps = {
    batches: bench.state.batches,
    results: bench.state.results,
    blobs: bench.blobs,
    clock: systemClock,
    uuid: systemUuid,
    failpoint: noFailpoints,
    inputs: new Inputs({ files: bench.state.files, blobs: bench.blobs }),
    log: silentLog,
  };
  return { inputFileId, batch: await bench.batch(batch), deps };
}

const ENDING = { from: 'cancelling', to: 'cancelled' } as const;

async function storedBlobs(): Promise<Set<string>> {
  const ids = new Set<string>();
  for await (const id of bench.blobs.list()) ids.add(id);
  return ids;
}

test('a process that comes late replaces no file that another has published, and leaves nothing behind', async () => {
  const { inputFileId, batch, deps } = await cancelledBatch();
  const { blobs, results } = deps;

  // This process read the results before the last one was there. It writes what it read after the other has published.
  const late = { ...batch, counts: { ...batch.counts, completed: 0 } };
  let published: boolean | undefined;
  const lateBlobs = overriding(blobs, {
    put: async (...args) => {
      published ??= await finalize(batch, ENDING, deps);
      return blobs.put(...args);
    },
  });
  const lateResults = overriding(results, { page: () => Promise.resolve([]) });
  const came = await finalize(late, ENDING, { ...deps, blobs: lateBlobs, results: lateResults });

  expect([published, came]).toEqual([true, false]);
  const ended = await bench.batch(batch);
  expect((await bench.linesOf(ended.outputFileId)).map((line) => line.custom_id)).toEqual(['r1']);
  expect((await bench.linesOf(ended.errorFileId)).map((line) => line.custom_id)).toEqual(['r0', 'r2']);
  const named = [ended.outputFileId, ended.errorFileId].map(
    async (id) => (await bench.state.files.get(scope, id))?.blobId,
  );
  expect(await storedBlobs()).toEqual(new Set([inputFileId, ...(await Promise.all(named))]));
});

test('an attempt that fails leaves no blob behind, so that a disk that is full does not fill further', async () => {
  const { inputFileId, batch, deps } = await cancelledBatch();
  const { blobs } = deps;
  const full = overriding(blobs, {
    put: async (id, chunks) => {
      if (id.startsWith(batch.errorFileId)) throw new BlobStoreError('ENOSPC', 'disk_full');
      return blobs.put(id, chunks);
    },
  });
  const busy = overriding(deps.batches, { publish: () => Promise.reject(new StoreError('busy', 'busy')) });

  for (const _ of [1, 2])
    await expect(finalize(batch, ENDING, { ...deps, blobs: full })).rejects.toThrow('ENOSPC');
  await expect(finalize(batch, ENDING, { ...deps, batches: busy })).rejects.toThrow('busy');

  expect(await storedBlobs()).toEqual(new Set([inputFileId]));
  expect(await finalize(batch, ENDING, deps)).toBe(true);
});

test('a batch that ends before its validation does leaves no files', async () => {
  bench.deploy();
  const engine = await bench.start({ createWaitMs: 1 });
  const inspected = Promise.withResolvers<void>();
  bench.inspecting = inspected.promise;
  const inputFileId = await bench.upload(many(3));
  const { batch } = await bench.create(engine, inputFileId);
  await bench.state.batches.cancel(scope, batch.id, 1);
  inspected.resolve();
  engine.notify();

  const ended = await bench.ended(batch);

  expect(ended).toMatchObject({ status: 'cancelled', counts: { total: 0, completed: 0, failed: 0 } });
  const files = await bench.state.files.list(scope, { limit: 9, order: 'asc' });
  expect(files).toMatchObject({ files: [{ id: inputFileId }] });
  expect(await storedBlobs()).toEqual(new Set([inputFileId]));
});

test.each([
  ['azure', 2],
  ['openai', 1],
] as const)('a batch of %s without failures has %i files', async (dialect, count) => {
  bench.deploy();
  const engine = await bench.start();
  const inputFileId = await bench.upload(many(3));

  const { batch } = await bench.create(engine, inputFileId, { dialect });
  const ended = await bench.ended(batch);

  const named = [ended.outputFileId, ended.errorFileId].map((id) => bench.state.files.get(scope, id));
  const files = (await Promise.all(named)).filter((file) => file !== undefined);
  expect(files).toHaveLength(count);
  expect(await storedBlobs()).toEqual(new Set([inputFileId, ...files.map(({ blobId }) => blobId)]));
});

test('what may have been published is kept, though nobody answered', async () => {
  const { batch, deps } = await cancelledBatch();
  const lost = overriding(deps.batches, {
    publish: async (...args) => {
      await deps.batches.publish(...args);
      throw new StoreError('the answer was lost', 'connection');
    },
  });

  await expect(finalize(batch, ENDING, { ...deps, batches: lost })).rejects.toThrow('lost');
  expect(await finalize(batch, ENDING, deps)).toBe(false);

  expect((await bench.linesOf(batch.outputFileId)).map((line) => line.custom_id)).toEqual(['r1']);
  expect((await bench.linesOf(batch.errorFileId)).map((line) => line.custom_id)).toEqual(['r0', 'r2']);
  expect(await storedBlobs()).toHaveProperty('size', 3);
});
