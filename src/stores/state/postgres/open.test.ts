import { Client } from 'pg';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';

import { startPostgres } from '../../../../test/support/postgres-server.ts';
import { createTestDatabase } from '../../../../test/support/postgres.ts';
import type { TestDatabase } from '../../../../test/support/postgres.ts';
import { stateStoreConformance } from '../../../../test/conformance/state-store.ts';
import {
  batchBySeq,
  claimOne,
  createBatch,
  planOf,
  resultsOf,
  startBatch,
} from '../../../../test/support/state-store.ts';
import { StoreError } from '../ports.ts';
import { openPostgresStore } from './open.ts';

let database: TestDatabase;
let admin: Client;
beforeAll(async () => {
  database = await createTestDatabase();
  admin = await connect();
});
afterAll(async () => {
  await admin.end();
  await database.drop();
});

async function connect(): Promise<Client> {
  const client = new Client({ connectionString: database.url });
  await client.connect();
  return client;
}

const open = (options = {}) => openPostgresStore({ url: database.url, ...options });

/** Keeps the tables: making them takes longer than most tests. */
const empty = () =>
  admin.query(`do $$ declare tables text; begin
    select string_agg(quote_ident(tablename), ', ') into tables from pg_tables
      where schemaname = 'public' and tablename <> 'schema_version';
    if tables is not null then execute 'truncate ' || tables || ' restart identity'; end if; end $$`);

stateStoreConformance('PostgreSQL', async () => {
  await empty();
  return { open, leave: (store) => store.close() };
});

describe('the server lock', () => {
  test('keeps a second server out until the first one ends', async () => {
    const first = await open();

    await expect(open()).rejects.toThrow(
      'Another Offpeak server works on this database. Stop it, or give this one a database of its own.',
    );

    await first.close();
    await (await open()).close();
  });

  test('is waited for when its holder is about to go', async () => {
    await empty();
    const first = await open();

    const second = open();
    await waitingForLock();
    await first.close();

    const store = await second;
    expect(await store.batches.live()).toEqual([]);
    await store.close();
  });

  test('that is lost ends the store: another server may have taken over', async () => {
    await empty();
    const lost = Promise.withResolvers<Error>();
    const store = await open({ onLost: lost.resolve });
    const { seq } = await createBatch(store, 'b1');

    await admin.query("select pg_terminate_backend(pid) from pg_locks where locktype = 'advisory'");

    expect(await lost.promise).toMatchObject({ name: 'StoreError', transient: false });
    await expect(store.batches.bySeq(seq)).rejects.toThrow(/another server may have taken over/);
    await expect(createBatch(store, 'b2')).rejects.toMatchObject({ name: 'StoreError', transient: false });
    const next = await open();
    expect(await next.batches.live()).toHaveLength(1);
    await next.close();
    await store.close();
  });
});

async function waitingForLock(): Promise<void> {
  for (;;) {
    const { rowCount } = await admin.query(
      "select 1 from pg_locks where locktype = 'advisory' and not granted",
    );
    if (rowCount !== 0) return;
  }
}

describe('connections', () => {
  test('that break in the middle of commits lose nothing that was acknowledged, and are replaced', async () => {
    await empty();
    const store = await open();
    const seq = await startBatch(store, 'b1', planOf(60, { requestsEach: 8 }));
    const failures: unknown[] = [];
    let acknowledged = 0;
    const drain = async (workerId: string) => {
      for (;;) {
        // A claim whose answer was lost is found again by saying what is held: nothing.
        const [segment] = await retried(() => store.work.claim(seq, { workerId, segmentsMax: 1, known: [] }));
        if (!segment) return;
        const results = resultsOf(segment);
        const lost = await retried(() => store.results.commit(results));
        if (lost.length === 0) acknowledged += results.length;
      }
    };
    const retried = async <T>(act: () => Promise<T>): Promise<T> => {
      for (;;) {
        try {
          return await act();
        } catch (error) {
          failures.push(error);
          if (!(error instanceof StoreError && error.transient)) throw error;
        }
      }
    };
    const breakAll = async () => {
      while (acknowledged < 400) {
        await admin.query(
          `select pg_terminate_backend(pid) from pg_stat_activity
           where application_name = 'offpeak' and datname = current_database()
             and pid not in (select pid from pg_locks where locktype = 'advisory' and objsubid = 1)`,
        );
        const before = acknowledged;
        while (acknowledged === before) await admin.query('select 1');
      }
    };

    await Promise.all([drain('w1'), drain('w2'), drain('w3'), breakAll()]);

    expect(failures).toContainEqual(expect.objectContaining({ reason: 'connection' }));
    expect(await batchBySeq(store, seq)).toMatchObject({ counts: { total: 480, completed: 480, failed: 0 } });
    expect(await store.results.completeThrough(seq)).toBe(480);
    await store.close();
  });

  test('deadlocked with a stranger, a transaction runs again', async () => {
    await empty();
    // Long enough for the stranger to get in each other's way on a busy machine.
    const patient = new URL(database.url);
    patient.searchParams.set('options', '-c deadlock_timeout=4s');
    const store = await openPostgresStore({ url: patient.href });
    const { seq } = await createBatch(store, 'b1');
    const stranger = await connect();
    // Whoever looks for a deadlock first is its victim, and looks once: this one never does.
    await stranger.query("set deadlock_timeout = '1h'");
    await stranger.query('begin');
    await stranger.query('select 1 from batches where seq = $1 for update', [seq]);

    const planning = store.batches.plan(seq, planOf(1));
    const { rows } = await lockOfResource();
    await stranger.query('select pg_advisory_xact_lock($1::oid::int, $2::bigint::bit(32)::int)', [
      rows[0].classid,
      rows[0].objid,
    ]);
    await stranger.query('commit');

    expect(await planning).toBe('planned');
    await stranger.end();
    await store.close();
  });
});

/** Waits until the planning transaction holds it. */
async function lockOfResource() {
  for (;;) {
    const locks = await admin.query(
      "select classid, objid from pg_locks where locktype = 'advisory' and objsubid = 2 and granted",
    );
    if (locks.rowCount === 1) return locks;
  }
}

describe('opening refuses', () => {
  test('a database of a newer release', async () => {
    const newer = await createTestDatabase();
    await (await openPostgresStore({ url: newer.url })).close();
    const client = new Client({ connectionString: newer.url });
    await client.connect();
    await client.query('update schema_version set version = 999');

    await expect(openPostgresStore({ url: newer.url })).rejects.toThrow(
      /schema 999, which a newer release made/,
    );

    await client.end();
    await newer.drop();
  });

  test('a database with the tables of another application, and leaves them alone', async () => {
    const foreign = await createTestDatabase();
    const client = new Client({ connectionString: foreign.url });
    await client.connect();
    await client.query('create table files (name text)');

    await expect(openPostgresStore({ url: foreign.url })).rejects.toThrow(
      /^PostgreSQL: opening postgres:\/\/127[^ @]* failed: .*"files".*Give Offpeak a database of its own\.$/,
    );

    const { rows } = await client.query("select tablename from pg_tables where schemaname = 'public'");
    expect(rows).toEqual([{ tablename: 'files' }]);
    await client.end();
    await foreign.drop();
  });

  test('a database that does not exist, and names it', async () => {
    const url = new URL(database.url);
    url.pathname = '/no-such-database';

    await expect(openPostgresStore({ url: url.href })).rejects.toThrow(
      /opening postgres:\/\/127\.0\.0\.1:\d+\/no-such-database failed: .*does not exist\. Is --database right\?/,
    );
  });

  test('synchronous_commit = off', async () => {
    const careless = await createTestDatabase();
    await admin.query(
      `alter database ${new URL(careless.url).pathname.slice(1)} set synchronous_commit = off`,
    );

    await expect(openPostgresStore({ url: careless.url })).rejects.toThrow(
      'PostgreSQL runs with synchronous_commit = off and would lose acknowledged work in a power cut.',
    );

    await careless.drop();
  });

  test('fsync = off', async () => {
    const server = await startPostgres(['fsync=off']);
    try {
      await expect(openPostgresStore({ url: server.url })).rejects.toThrow(/fsync = off.*Set fsync = on/);
    } finally {
      await server.stop();
    }
  });

  test('a wrong password, without telling it', async () => {
    const url = new URL(database.url);
    url.password = 'top-secret';

    const error = await openPostgresStore({ url: url.href }).catch((thrown: unknown) => thrown);

    expect(error).toMatchObject({
      name: 'StoreError',
      message: expect.stringContaining('password authentication'),
    });
    expect(JSON.stringify(error) + String(error)).not.toContain('top-secret');
  });

  test.each(['nonsense', 'mysql://user:top-secret@localhost/x', 'postgres://user:top-secret@host:port/x'])(
    'the url %s, without repeating it',
    async (url) => {
      const error = await openPostgresStore({ url }).catch((thrown: unknown) => thrown);

      expect(error).toMatchObject({
        name: 'StoreError',
        message: expect.stringContaining('postgres://user'),
      });
      expect(String(error)).not.toContain('top-secret');
    },
  );

  test('a server that is not there, as something that may pass', async () => {
    const url = new URL(database.url);
    url.port = '1';

    await expect(openPostgresStore({ url: url.href })).rejects.toMatchObject({
      name: 'StoreError',
      reason: 'connection',
      transient: true,
    });
  });
});

test('a statement that the database refuses leaves the connection usable', async () => {
  await empty();
  const store = await open();
  const seq = await startBatch(store, 'b1');
  await expect(createBatch(store, 'b1')).rejects.toMatchObject({ name: 'StoreError', reason: 'other' });

  await store.results.commit(resultsOf(await claimOne(store, seq)));

  expect(await batchBySeq(store, seq)).toMatchObject({ counts: { completed: 4 } });
  await store.close();
});
