import { mkdtemp, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';

import { afterEach, describe, expect, test } from 'vitest';

import { stateStoreConformance } from '../../../../test/conformance/state-store.ts';
import { claimOne, planOf, resultsOf, startBatch } from '../../../../test/support/state-store.ts';
import { openSqliteInline } from './inline.ts';

let dir: string;
afterEach(() => rm(dir, { recursive: true, force: true }));

async function newPath(): Promise<string> {
  dir = await mkdtemp(join(tmpdir(), 'offpeak-state-'));
  return join(dir, 'state.db');
}

stateStoreConformance('SQLite inline', async () => {
  const path = await newPath();
  return { open: () => openSqliteInline({ path }), leave: (store) => store.close() };
});

describe('the database file', () => {
  test('gives back the space of removed rows, a little at a time, and keeps some for what comes', async () => {
    const path = await newPath();
    const store = await openSqliteInline({ path });
    const seq = await startBatch(store, 'b1', planOf(1, { requestsEach: 64 }));
    const segment = await claimOne(store, seq);
    await store.results.commit(resultsOf(segment, { payload: new Uint8Array(1024 * 1024) }));
    await store.batches.fail(seq, { from: 'in_progress', atS: 2_000, errors: { data: [], omitted: 0 } });
    expect(await store.retention.shrink()).toBe(false);
    while (await store.results.purge(1_000));

    let steps = 0;
    while (await store.retention.shrink()) steps += 1;
    await store.close();

    expect(steps).toBeGreaterThan(10);
    const { size } = await stat(path);
    expect(size).toBeLessThan(40 * 1024 * 1024);
    expect(size).toBeGreaterThan(16 * 1024 * 1024);
  });

  test('of a newer release is refused and left as it is', async () => {
    const path = await newPath();
    await (await openSqliteInline({ path })).close();
    const raw = new DatabaseSync(path);
    raw.exec('update schema_version set version = 999');

    await expect(openSqliteInline({ path })).rejects.toThrow(
      /schema 999, which a newer release made.*Start the newer release/,
    );

    expect(raw.prepare('select version from schema_version').get()).toEqual({ version: 999 });
    raw.close();
  });

  test('that is no database is refused as damaged', async () => {
    const path = await newPath();
    await writeFile(path, 'not a database, but long enough to have a header '.repeat(100));

    await expect(openSqliteInline({ path })).rejects.toMatchObject({ name: 'StoreError', reason: 'io' });
  });

  test('in a directory that does not exist is an error that names it', async () => {
    await newPath();
    const path = join(dir, 'missing', 'state.db');

    await expect(openSqliteInline({ path })).rejects.toThrow(path);
  });

  test('refuses a status that is none, and counts that pass the total', async () => {
    const path = await newPath();
    const store = await openSqliteInline({ path });
    await startBatch(store, 'b1');
    await store.close();
    const raw = new DatabaseSync(path);

    expect(() => raw.exec("update batches set status = 'done'")).toThrow(/batches_status/);
    expect(() => raw.exec('update batches set completed = 5')).toThrow(/batches_counts/);
    expect(() => raw.exec('update segments set done = 5')).toThrow(/segments_done/);
    raw.close();
  });
});

test('a call takes microtasks only, so that a simulation owns time', async () => {
  const store = await openSqliteInline({ path: await newPath() });
  const order: string[] = [];
  const immediate = new Promise<void>((resolve) =>
    setImmediate(() => {
      order.push('the event loop turned');
      resolve();
    }),
  );

  const seq = await startBatch(store, 'b1', planOf(3));
  await store.results.commit(resultsOf(await claimOne(store, seq)));
  await store.batches.live();
  await store.close();
  order.push('the calls were done');
  await immediate;

  expect(order).toEqual(['the calls were done', 'the event loop turned']);
});
