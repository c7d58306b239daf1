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
import { systemClock } from '../../core/clock.ts';
import { noFailpoints } from '../../core/failpoint.ts';
import { systemUuid } from '../../core/ids.ts';
import { finalize, type FinalizeDeps } from './finalize.ts';

let bench: EngineBench;
beforeEach(async () => {
  bench = await openEngineBench();
});
afterEach(() => bench.close());

test('a process that comes late replaces no file that another has published, and leaves nothing behind', async () => {
  bench.deploy();
  bench.reply = ({ body }, signal) => (Buffer.from(body).includes('"r1"') ? ok : hang(signal));
  const engine = await bench.start();
  const inputFileId = await bench.upload(many(3));
  const { batch } = await bench.create(engine, inputFileId);
  await eventually(async () => expect((await bench.batch(batch)).counts.completed).toBe(1));
  await engine.stop({ drainMs: 0 });
  await bench.state.batches.cancel(scope, batch.id, 1);
  const { blobs, state } = bench;
  const deps: FinalizeDeps = {
    batches: state.batches,
    results: state.results,
    blobs,
    along: { take: () => undefined },
    clock: systemClock,
    uuid: systemUuid,
    failpoint: noFailpoints,
  };
  const cancelled = await bench.batch(batch);
  const ending = { from: 'cancelling', to: 'cancelled' } as const;

  // It looked before the result was there, and writes what it saw after the other has published.
  const late = { ...cancelled, counts: { ...cancelled.counts, completed: 0 } };
  let published: boolean | undefined;
  const lateBlobs = overriding<FinalizeDeps['blobs']>(blobs, {
    put: async (...args) => {
      published ??= await finalize(cancelled, ending, deps);
      return blobs.put(...args);
    },
  });
  const lateResults = overriding(state.results, { page: () => Promise.resolve([]) });
  const came = await finalize(late, ending, { ...deps, blobs: lateBlobs, results: lateResults });

  expect([published, came]).toEqual([true, false]);
  const ended = await bench.batch(batch);
  expect((await bench.linesOf(ended.outputFileId)).map((line) => line.custom_id)).toEqual(['r1']);
  expect((await bench.linesOf(ended.errorFileId)).map((line) => line.custom_id)).toEqual(['r0', 'r2']);
  const named = [ended.outputFileId, ended.errorFileId].map(
    async (id) => (await state.files.get(scope, id))?.blobId,
  );
  const stored: string[] = [];
  for await (const id of blobs.list()) stored.push(id);
  expect(new Set(stored)).toEqual(new Set([inputFileId, ...(await Promise.all(named))]));
});
