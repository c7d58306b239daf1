import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { races } from '../conformance/state-store/races.ts';
import { openPostgresStore } from '../../src/stores/state/postgres/open.ts';
import { openSqliteStore } from '../../src/stores/state/sqlite/thread.ts';
import { createTestDatabase } from '../support/postgres.ts';

const RACES = 100;

test('quota is exact under 50 concurrent creates, a hundred times over, on SQLite', async () => {
  const dir = await mkdtemp(join(tmpdir(), 'offpeak-races-'));
  const store = await openSqliteStore({ path: join(dir, 'state.db') });
  try {
    expect(await races(store, RACES)).toBeGreaterThan(10 * RACES);
  } finally {
    await store.close();
    await rm(dir, { recursive: true, force: true });
  }
});

test('quota is exact under 50 concurrent creates, a hundred times over, on PostgreSQL', async () => {
  const database = await createTestDatabase();
  const store = await openPostgresStore({ url: database.url });
  try {
    expect(await races(store, RACES)).toBeGreaterThan(10 * RACES);
  } finally {
    await store.close();
    await database.drop();
  }
});
