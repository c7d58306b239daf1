import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, open, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { DatabaseSync } from 'node:sqlite';

import { afterAll, beforeAll, describe, expect, test } from 'vitest';

import { stateStoreConformance } from '../../../../test/conformance/state-store.ts';
import {
  batchBySeq,
  claimAll,
  createBatch,
  planOf,
  resultsOf,
  startBatch,
} from '../../../../test/support/state-store.ts';
import type { StateStore } from '../ports.ts';
import { openSqliteStore } from './thread.ts';

let dir: string;
beforeAll(async () => {
  dir = await mkdtemp(join(tmpdir(), 'offpeak-state-'));
});
afterAll(() => rm(dir, { recursive: true, force: true }));

describe('one thread for all tests', () => {
  // Starting a thread takes longer than any of the tests.
  let path: string;
  let kept: StateStore | undefined;
  beforeAll(() => {
    path = join(dir, 'contract.db');
  });
  afterAll(() => kept?.close());

  stateStoreConformance('SQLite in its own thread', async () => {
    if (kept) empty(path);
    return {
      open: async () => {
        const store = kept ?? (await openSqliteStore({ path }));
        kept = undefined;
        return store;
      },
      async leave(store) {
        kept = store;
      },
    };
  });
});

function empty(path: string): void {
  const raw = new DatabaseSync(path);
  const tables = raw
    .prepare("select name from sqlite_schema where type = 'table' and name <> 'schema_version'")
    .all();
  for (const { name } of tables) raw.exec(`delete from "${String(name)}"`);
  raw.close();
}

test('what was acknowledged survives kill -9 in the middle of commits', async () => {
  const url = (file: string) => JSON.stringify(new URL(file, import.meta.url).href);
  const script = join(dir, 'commit.mjs');
  await writeFile(
    script,
    `import { openSqliteStore } from ${url('./thread.ts')};
     import { claimAll, planOf, resultsOf, startBatch } from ${url('../../../../test/support/state-store.ts')};
     const store = await openSqliteStore({ path: process.argv[2] });
     const seq = await startBatch(store, 'b1', planOf(900, { requestsEach: 8 }));
     const payload = new Uint8Array(1_500);
     for (const segment of await claimAll(store, seq)) {
       await store.results.commit(resultsOf(segment, { payload }));
       console.log(segment.index);
     }`,
  );
  for (const killAfter of [1, 7, 20, 45]) {
    const path = join(dir, `killed-after-${killAfter}.db`);
    const child = spawn(process.execPath, [script, path], { stdio: ['ignore', 'pipe', 'inherit'] });
    let acknowledged = -1;
    for await (const line of createInterface(child.stdout)) {
      acknowledged = Number(line);
      if (acknowledged === killAfter) child.kill('SIGKILL');
    }
    if (child.signalCode === null && child.exitCode === null) await once(child, 'exit');

    const store = await openSqliteStore({ path });
    const [batch] = await store.batches.live();
    const rows = await store.results.page(batch!.seq, { afterLine: 0, bytesMax: 1e9, rowsMax: 1e6 });
    expect(child.signalCode).toBe('SIGKILL');
    expect(acknowledged).toBeGreaterThanOrEqual(killAfter);
    // One group may have been committed whose acknowledgement never came out.
    expect(rows.length % 8).toBe(0);
    expect(rows.length).toBeGreaterThanOrEqual((acknowledged + 1) * 8);
    expect(batch!.counts.completed).toBe(rows.length);
    expect(await store.results.completeThrough(batch!.seq)).toBe(rows.length);
    expect(await store.work.reclaim('next')).toEqual({
      segments: 900 - rows.length / 8,
      requests: 7_200 - rows.length,
    });
    await store.close();
  }
});

test('a database that cannot be opened is refused with the reason', async () => {
  const path = join(dir, 'garbage.db');
  await writeFile(path, 'not a database, but long enough to have a header '.repeat(100));

  await expect(openSqliteStore({ path })).rejects.toMatchObject({
    name: 'StoreError',
    reason: 'io',
    transient: false,
  });
});

test('a file that is damaged while it is open ends the store: nothing more is acknowledged', async () => {
  const path = join(dir, 'damaged.db');
  const fatal: Error[] = [];
  const store = await openSqliteStore({ path, onFatal: (error) => fatal.push(error) });
  const seq = await startBatch(store, 'b1', planOf(50, { requestsEach: 64 }));
  const payload = new Uint8Array(3_000);
  for (const segment of await claimAll(store, seq))
    await store.results.commit(resultsOf(segment, { payload }));
  for (const file of [path, `${path}-wal`]) await overwrite(file);

  const reading = store.results.page(seq, { afterLine: 0, bytesMax: 1e9, rowsMax: 1e6 });

  await expect(reading).rejects.toMatchObject({ name: 'StoreError', reason: 'io' });
  await expect(createBatch(store, 'b2')).rejects.toMatchObject({ name: 'StoreError', reason: 'io' });
  expect(fatal).toHaveLength(1);
});

async function overwrite(path: string): Promise<void> {
  const { size } = await stat(path);
  const file = await open(path, 'r+');
  await file.write(Buffer.alloc(size, 'damage '));
  await file.close();
}

test('calls after closing reject, and closing lets earlier calls finish', async () => {
  const fatal: Error[] = [];
  const store = await openSqliteStore({
    path: join(dir, 'closed.db'),
    onFatal: (error) => fatal.push(error),
  });
  const { seq } = await createBatch(store, 'b1');

  const earlier = batchBySeq(store, seq);
  const closing = store.close();

  await expect(store.batches.live()).rejects.toThrow('The state store is closed.');
  expect(await earlier).toMatchObject({ id: 'b1' });
  await closing;
  expect(fatal).toEqual([]);
});
