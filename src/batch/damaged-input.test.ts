/** One input is damaged: its batch ends with what it has, and nobody else notices. */
import { mkdir, rm, stat, symlink, truncate, writeFile } from 'node:fs/promises';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import {
  eventually,
  hang,
  many,
  ok,
  answer,
  openEngineBench,
  scope,
  type EngineBench,
} from '../../test/support/engine.ts';
import type { NewBatch } from '../stores/state/ports.ts';

let bench: EngineBench;
beforeEach(async () => {
  bench = await openEngineBench();
  bench.deploy();
});
afterEach(() => bench.close());

/** What can happen to the file of an input. `r0` to `r2` are long since answered when it does. */
const DAMAGES: Record<string, (path: string) => Promise<unknown>> = {
  missing: (path) => rm(path),
  emptied: (path) => truncate(path, 0),
  shortened: async (path) => truncate(path, (await stat(path)).size - 70),
  'made longer': (path) => writeFile(path, many(9), { flag: 'a' }),
  'changed to other valid lines of the same length': (path) => writeFile(path, many(300, 'x')),
  'overwritten with zeros': async (path) => writeFile(path, Buffer.alloc((await stat(path)).size)),
  'replaced by a directory': async (path) => {
    await rm(path);
    await mkdir(path);
  },
  'replaced by a link to a device': async (path) => {
    await rm(path);
    await symlink('/dev/zero', path);
  },
};

/** A batch of 300 of which three have an answer and one has failed, and that no engine is at. */
async function halfDone() {
  bench.reply = ({ body }, signal) => {
    const text = Buffer.from(body).toString();
    if (/"r[0-2]"/.test(text)) return ok;
    return text.includes('"r3"') ? answer(400) : hang(signal);
  };
  const engine = await bench.start();
  const inputFileId = await bench.upload(many(300));
  const { batch } = await bench.create(engine, inputFileId);
  await eventually(async () =>
    expect((await bench.batch(batch)).counts).toEqual({ total: 300, completed: 3, failed: 1 }),
  );
  await engine.stop({ drainMs: 0 });
  bench.reply = () => ok;
  return { batch, inputFileId };
}

const NEW_BATCH: Omit<NewBatch, 'id' | 'inputFileId' | 'inputBlobId'> = {
  endpoint: '/chat/completions',
  dialect: 'azure',
  outputFileId: 'file-out',
  errorFileId: 'file-err',
  deployment: null,
  enqueuedTokens: 0,
  createdAt: 1,
  expiresAt: 2,
  metadata: null,
  outputExpiresAfterS: null,
  errors: null,
  whenFull: 'fail',
};

const idsOf = async (fileId: string) => (await bench.linesOf(fileId)).map((line) => line.custom_id);

describe.each(Object.entries(DAMAGES))('an input that is %s', (name, harm) => {
  test('ends its batch as failed, with the answers that were paid for, and stops no other', async () => {
    const { batch, inputFileId } = await halfDone();
    await harm(bench.blobs.pathOf(inputFileId));
    bench.calls.splice(0);

    const engine = await bench.start();
    const other = await bench.create(engine, await bench.upload(many(5, 'other')));
    const ended = await bench.ended(batch);

    expect(ended).toMatchObject({
      status: 'failed',
      counts: { total: 300, completed: 3, failed: 1 },
      errors: {
        data: [
          {
            code: name === 'missing' ? 'input_no_permissions' : 'input_modified',
            param: 'input_file_id',
            message: expect.stringMatching(`'${inputFileId}'.* 4 of 300 requests were done`),
          },
        ],
      },
    });
    expect(await idsOf(ended.outputFileId)).toEqual(['r0', 'r1', 'r2']);
    expect(await idsOf(ended.errorFileId)).toEqual(['r3']);
    expect(await bench.ended(other.batch)).toMatchObject({ status: 'completed', counts: { completed: 5 } });
    expect(bench.calls.filter((body) => !body.includes('other'))).toEqual([]);
    expect(bench.logged).toContainEqual({
      event: 'input.damaged',
      resource: 'default',
      batch: batch.id,
      file: inputFileId,
      reason: expect.stringContaining(bench.blobs.pathOf(inputFileId)),
    });
  });

  test('lets its batch be cancelled, with the answers that were paid for', async () => {
    const { batch, inputFileId } = await halfDone();
    await bench.state.batches.cancel(scope, batch.id, 1);
    await harm(bench.blobs.pathOf(inputFileId));

    await bench.start();
    const ended = await bench.ended(batch);

    expect(ended).toMatchObject({ status: 'cancelled', counts: { total: 4, completed: 3, failed: 1 } });
    expect(await idsOf(ended.outputFileId)).toEqual(['r0', 'r1', 'r2']);
    expect(await idsOf(ended.errorFileId)).toEqual(['r3']);
  });

  test('makes no batch, and whoever creates one is told the damage', async () => {
    const inputFileId = await bench.upload(many(300));
    await harm(bench.blobs.pathOf(inputFileId));
    const engine = await bench.start();

    const refused = bench.create(engine, inputFileId);

    await expect(refused).rejects.toMatchObject({ code: 'invalidValue', param: 'input_file_id' });
    await expect(refused).rejects.toThrow(`'${inputFileId}'`);
  });

  test('fails a batch that is still validated', async () => {
    const inputFileId = await bench.upload(many(300));
    const batch = { id: 'batch_1' };
    const created = { ...NEW_BATCH, ...batch, inputFileId, inputBlobId: inputFileId };
    await bench.state.batches.create(scope, created, { room: null });
    await harm(bench.blobs.pathOf(inputFileId));

    await bench.start();

    expect(await bench.ended(batch)).toMatchObject({ status: 'failed', counts: { total: 0 } });
  });
});

test('bytes that change while a batch runs are not sent', async () => {
  bench.deploy({ concurrencyMax: 1 });
  const inputFileId = await bench.upload(many(2_000));
  const path = bench.blobs.pathOf(inputFileId);
  bench.reply = async () => {
    if (bench.calls.length === 100) await writeFile(path, many(2_000, 'x'));
    return ok;
  };
  const engine = await bench.start();

  const { batch } = await bench.create(engine, inputFileId);
  const ended = await bench.ended(batch);

  expect(ended).toMatchObject({ status: 'failed', errors: { data: [{ code: 'input_modified' }] } });
  expect(bench.calls.some((body) => body.includes('"x'))).toBe(false);
  expect(await idsOf(ended.outputFileId)).toHaveLength(ended.counts.completed);
});

test('an input that was deleted under a live batch is still known for what it was', async () => {
  const { batch, inputFileId } = await halfDone();
  await bench.state.files.delete(scope, inputFileId, 1);
  await writeFile(bench.blobs.pathOf(inputFileId), many(300, 'x'));

  await bench.start();

  expect(await bench.ended(batch)).toMatchObject({ status: 'failed', counts: { completed: 3, failed: 1 } });
});
