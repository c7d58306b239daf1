import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';

import { Kysely, sql } from 'kysely';
import pg from 'pg';
import { describe, expect, test } from 'vitest';

import { createTestDatabase } from '../../../test/support/postgres.ts';
import {
  change,
  createBatch,
  deploymentOf,
  planOf,
  resultOf,
  scope,
} from '../../../test/support/state-store.ts';
import type { Db } from './database.ts';
import { migrate } from './migrations.ts';
import type { ColumnTypes } from './schema.ts';
import type { StateStore } from './ports.ts';
import { OffpeakPostgresDialect, POSTGRES_TYPES } from './postgres/dialect.ts';
import { openPostgresStore } from './postgres/open.ts';
import type { Tables } from './schema.ts';
import { nodeSqliteDialect, SQLITE_TYPES } from './sqlite/dialect.ts';
import { openSqliteInline } from './sqlite/inline.ts';

/** As the first release left it: two resources, a batch that waits to be validated and one in the middle of its work. */
async function makeSchema1(db: Db, types: ColumnTypes): Promise<void> {
  await migrate(db, types, 1);
  for (const statement of [
    "insert into resources (id, location) values ('alpha', 'koreacentral'), ('idle', 'westus')",
    "insert into resource_keys (digest, resource_id, position) values ('d-second', 'alpha', 1), ('d-first', 'alpha', 0)",
    `insert into files (id, resource_id, filename, purpose, bytes, sha256, created_at)
       values ('file-1', 'alpha', 'in.jsonl', 'batch', 12, 'ab', 990)`,
    "insert into inspections (file_id, resource_id, facts) values ('file-1', 'alpha', '{}')",
    `insert into batches (id, resource_id, status, endpoint, input_file_id, output_file_id, error_file_id, deployment,
         enqueued_tokens, created_at, expires_at, in_progress_at, total, completed, purged)
       values ('b1', 'alpha', 'in_progress', '/chat/completions', 'file-1', 'o1', 'e1', 'gpt', 70, 1000, 87400, 1001, 4, 1, 0),
              ('b2', 'alpha', 'validating', '/chat/completions', 'file-1', 'o2', 'e2', 'gpt', 20, 1005, 87405, null, 0, 0, 0)`,
    `insert into segments (batch_seq, "index", first_line, last_line, requests, byte_start, byte_length, done)
       values (1, 0, 1, 99, 4, 0, 100, 1)`,
  ])
    await sql.raw(statement).execute(db);
  await db
    .insertInto('results')
    .values({ batch_seq: 1, line: 1, ok: 1, payload: new Uint8Array([123, 125]) })
    .execute();
  await db.destroy();
}

async function checkUpgraded(store: StateStore): Promise<void> {
  expect(await store.resources.get('alpha')).toEqual({
    id: 'alpha',
    location: 'koreacentral',
    subscriptionId: '00000000-0000-0000-0000-000000000000',
    resourceGroup: 'offpeak',
    offer: 'enterprise',
    keyAuthDisabled: false,
    owner: 'api',
    tags: {},
    createdAt: 1_000,
  });
  expect(await store.files.get({ resourceId: 'alpha', actor: 'test' }, 'file-1')).toMatchObject({
    blobId: 'file-1',
  });
  expect(await store.resources.get('idle')).toMatchObject({ location: 'westus', createdAt: 0 });
  expect(await store.resources.keys('alpha')).toEqual([
    { slot: 1, digest: 'd-first', hint: '' },
    { slot: 2, digest: 'd-second', hint: '' },
  ]);
  expect(await store.resources.findByKeyDigest('d-first')).toMatchObject({ resource: { id: 'alpha' } });
  expect(await store.resources.adminKeyDigest()).toBeUndefined();
  expect(await store.audit.list({ resourceId: null, limit: 9 })).toEqual([]);
  expect(await store.files.get(scope, 'file-1')).toMatchObject({ filename: 'in.jsonl' });
  expect(await store.files.inspection(scope, 'file-1')).toBeUndefined();
  expect(await store.batches.live()).toMatchObject([
    {
      id: 'b1',
      dialect: 'azure',
      whenFull: null,
      waitingTokens: null,
      enqueuedTokens: 70,
      counts: { completed: 1 },
    },
    { id: 'b2', whenFull: null, waitingTokens: null, enqueuedTokens: 20 },
  ]);

  // A key whose end becomes known is the same key.
  await store.resources.putKey('alpha', { slot: 1, digest: 'd-first', hint: 'wxyz' }, change);
  expect(await store.resources.keys('alpha')).toMatchObject([{ hint: 'wxyz' }, {}]);
  expect(await store.audit.list({ resourceId: null, limit: 9 })).toEqual([]);
}

/** What was begun before the upgrade goes on after it. */
async function checkGoingOn(store: StateStore): Promise<void> {
  const [segment] = await store.work.claim(1, { workerId: 'w', segmentsMax: 9 });
  expect(segment).toMatchObject({ recordedLines: [1] });
  for (const line of [2, 3, 4]) await store.results.commit([resultOf(segment!, line)]);
  expect(await store.batches.startFinalizing(1, 1_100)).toBe(true);
  expect(await store.batches.plan(2, planOf(1, { enqueuedTokens: 20 }))).toBe('planned');
  expect(await store.batches.enqueuedTokens(scope)).toEqual(
    new Map([['gpt', { held: 90, waiting: 0, waitingBatches: 0 }]]),
  );
  const put = await store.deployments.put(scope, deploymentOf('gpt'), { quotaTokensMax: null, atS: 2_000 });
  expect(put).toMatchObject({ kind: 'created' });
}

interface Upgraded {
  /** Of the older schema. */
  readonly db: Db;
  readonly types: ColumnTypes;
  /** With this release; upgrades it. */
  readonly open: () => Promise<StateStore>;
  readonly drop: () => Promise<void>;
}

const DATABASES: Readonly<Record<string, () => Promise<Upgraded>>> = {
  SQLite: async () => {
    const dir = await mkdtemp(join(tmpdir(), 'offpeak-upgrade-'));
    const path = join(dir, 'state.db');
    return {
      db: new Kysely<Tables>({ dialect: nodeSqliteDialect(new DatabaseSync(path)) }),
      types: SQLITE_TYPES,
      open: () => openSqliteInline({ path }),
      drop: () => rm(dir, { recursive: true }),
    };
  },
  PostgreSQL: async () => {
    const database = await createTestDatabase();
    const { url } = database;
    const pool = new pg.Pool({ connectionString: url });
    return {
      db: new Kysely<Tables>({ dialect: new OffpeakPostgresDialect({ pool }) }),
      types: POSTGRES_TYPES,
      open: () => openPostgresStore({ url }),
      drop: () => database.drop(),
    };
  },
};

describe.each(Object.entries(DATABASES))('%s', (_name, create) => {
  test('a database of the first release is upgraded with all that it holds', async () => {
    const { db, types, open, drop } = await create();
    try {
      await makeSchema1(db, types);

      const store = await open();

      await checkUpgraded(store);
      await checkGoingOn(store);
      expect(await createBatch(store, 'b3')).toMatchObject({ seq: 3 });
      await store.close();
    } finally {
      await drop();
    }
  });

  test('a batch from before reads the bytes that its file had, or that were kept for it', async () => {
    const { db, types, open, drop } = await create();
    try {
      await migrate(db, types, 9);
      for (const statement of [
        `insert into files (id, blob_id, resource_id, filename, purpose, bytes, sha256, created_at)
           values ('file-1', null, 'alpha', 'in.jsonl', 'batch', 12, 'ab', 990),
                  ('file-2', 'file-2_x', 'alpha', 'in.jsonl', 'batch', 12, 'ab', 990)`,
        `insert into removals (blob_id, bytes, sha256)
           values ('file-3_y', 12, 'ab'), ('file-33_z', 12, 'ab'), ('file-4', 12, 'ab')`,
      ])
        await sql.raw(statement).execute(db);
      for (const file of ['file-1', 'file-2', 'file-3', 'file-4', 'file-5'])
        await sql`insert into batches (id, resource_id, status, endpoint, input_file_id, output_file_id,
            error_file_id, enqueued_tokens, created_at, expires_at, purged)
          values (${`of ${file}`}, 'alpha', 'validating', '/responses', ${file}, 'o', 'e', 0, 1, 9, 0)`.execute(
          db,
        );
      await db.destroy();

      const store = await open();

      const live = await store.batches.live();
      expect(live.map(({ inputFileId, inputBlobId }) => [inputFileId, inputBlobId])).toEqual([
        ['file-1', 'file-1'],
        ['file-2', 'file-2_x'],
        ['file-3', 'file-3_y'],
        ['file-4', 'file-4'],
        ['file-5', 'file-5'],
      ]);
      await store.close();
    } finally {
      await drop();
    }
  });
});

test('the faults of batches from before are listed by their first few, and each batch still has them all', async () => {
  const dir = await mkdtemp(join(tmpdir(), 'offpeak-upgrade-'));
  const path = join(dir, 'state.db');
  const data = Array.from({ length: 120 }, (_, index) => ({
    code: 'invalid_json_line',
    message: `Line ${index + 1}: it's not JSON`,
    param: null,
    line: index + 1,
  }));
  try {
    const db = new Kysely<Tables>({ dialect: nodeSqliteDialect(new DatabaseSync(path)) });
    await migrate(db, SQLITE_TYPES, 6);
    for (let index = 0; index < 60; index += 1)
      await sql`insert into batches (id, resource_id, status, endpoint, input_file_id, output_file_id, error_file_id,
          enqueued_tokens, created_at, expires_at, failed_at, purged, errors)
        values (${`b${index}`}, ${scope.resourceId}, 'failed', '/responses', 'i', 'o', 'e', 0, ${index}, 9, 9, 1,
          ${JSON.stringify({ data, omitted: 2 })})`.execute(db);
    await db.destroy();

    const store = await openSqliteInline({ path });

    const page = await store.batches.list(scope, {
      orderBy: { field: 'created_at', direction: 'asc' },
      limit: 100,
    });
    expect(page).toMatchObject({ batches: { length: 60 } });
    for (const batch of page === 'unknown_after' ? [] : page.batches) {
      expect(batch.errors).toEqual({ data: data.slice(0, 10), omitted: 112 });
      expect((await store.batches.get(scope, batch.id))?.errors).toEqual({ data, omitted: 2 });
    }
    await store.close();
  } finally {
    await rm(dir, { recursive: true });
  }
});
