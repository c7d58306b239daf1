import { Kysely, sql } from 'kysely';
import pg from 'pg';

import type { Database, LockKind, Trx } from '../database.ts';
import { expectCurrent, migrate } from '../migrations.ts';
import { StoreError, type StateStore } from '../ports.ts';
import type { Tables } from '../schema.ts';
import { createStateStore } from '../store.ts';
import { OffpeakPostgresDialect, POSTGRES_TYPES } from './dialect.ts';
import { isConflict, toStoreError } from './errors.ts';
import { takeServerLock } from './server-lock.ts';

export interface PostgresOptions {
  readonly url: string;
  /** Called when the database may belong to another server. Every call rejects from then on, and the process must end. */
  readonly onLost?: (error: Error) => void;
}

const CONNECTIONS_MAX = 8;
const CONNECT_TIMEOUT_MS = 10_000;
const ATTEMPTS_MAX = 10;
const INT8_OID = 20;
/** The first halves of the keys of advisory locks. */
const LOCKS: Readonly<Record<LockKind, number>> = { resource: 0x0ff_9ea, quota: 0x0ff_9eb };

export async function openPostgresStore({ url, onLost }: PostgresOptions): Promise<StateStore> {
  const config = configOf(url);
  try {
    const serverLock = await takeServerLock(config, onLost);
    try {
      const db = await openDatabase(config);
      return createStateStore(createDatabase(db, serverLock));
    } catch (error) {
      await serverLock.release();
      throw error;
    }
  } catch (error) {
    throw toStoreError(error, `opening ${postgresLabel(url)}`);
  }
}

/** Opens the database for reading, beside the server that holds it. */
export async function openPostgresReadOnly({ url }: Pick<PostgresOptions, 'url'>): Promise<StateStore> {
  const pool = openPool(configOf(url));
  pool.on('connect', (client) => void client.query('set default_transaction_read_only = on').catch(() => {}));
  const db = new Kysely<Tables>({ dialect: new OffpeakPostgresDialect({ pool }) });
  try {
    await expectCurrent(db);
    return createStateStore(createDatabase(db, { assertHeld() {}, async release() {} }));
  } catch (error) {
    await db.destroy();
    throw toStoreError(error, `reading ${postgresLabel(url)}`);
  }
}

/** Whether no server of Offpeak has ever used the database. */
export async function isNewPostgres({ url }: Pick<PostgresOptions, 'url'>): Promise<boolean> {
  const client = new pg.Client(configOf(url));
  client.on('error', () => {}); // The query rejects too.
  try {
    await client.connect();
    const { rows } = await client.query("select to_regclass('schema_version') is null as is_new");
    return rows[0].is_new === true;
  } catch (error) {
    throw toStoreError(error, `opening ${postgresLabel(url)}`);
  } finally {
    await client.end().catch(() => {});
  }
}

/** The address as people may see it, without the password. */
export function postgresLabel(url: string): string {
  if (!URL.canParse(url)) return 'PostgreSQL';
  const { protocol, host, pathname } = new URL(url);
  return `${protocol}//${host}${pathname}`;
}

function configOf(url: string): pg.PoolConfig {
  return {
    ...parse(url),
    application_name: 'offpeak',
    keepAlive: true,
    connectionTimeoutMillis: CONNECT_TIMEOUT_MS,
    types: {
      // Our bigints are seconds, bytes and counts, which are exact as numbers.
      getTypeParser: (oid: number, format?: 'text' | 'binary') =>
        oid === INT8_OID ? Number : pg.types.getTypeParser(oid, format as 'text'),
    },
  };
}

/** Checks the URL before the driver does, whose error would quote the password. */
function parse(url: string): pg.PoolConfig {
  if (!URL.canParse(url) || !/^postgres(ql)?:$/.test(new URL(url).protocol))
    throw new StoreError(
      'The database URL is not valid. Write postgres://user:password@host:5432/name, with special characters escaped.',
      'other',
    );
  return { connectionString: url };
}

async function openDatabase(config: pg.PoolConfig): Promise<Kysely<Tables>> {
  const db = new Kysely<Tables>({ dialect: new OffpeakPostgresDialect({ pool: openPool(config) }) });
  try {
    await migrate(db, POSTGRES_TYPES);
    return db;
  } catch (error) {
    await db.destroy();
    throw error;
  }
}

function openPool(config: pg.PoolConfig): pg.Pool {
  const pool = new pg.Pool({ ...config, max: CONNECTIONS_MAX });
  // A broken connection rejects the query that uses it, and is replaced when the next one is needed. The pool listens to
  // idle connections only, and an error that nobody listens to would end the process.
  pool.on('error', () => {});
  pool.on('connect', (client) => client.on('error', () => {}));
  return pool;
}

function createDatabase(
  db: Kysely<Tables>,
  serverLock: { assertHeld(): void; release(): Promise<void> },
): Database {
  const guard = async <T>(work: () => Promise<T>): Promise<T> => {
    serverLock.assertHeld();
    try {
      return await work();
    } catch (error) {
      throw toStoreError(error, 'a statement');
    }
  };
  return {
    read: (work) => guard(() => work(db)),
    transact: (work) => guard(() => transact(db, work)),
    async lock(trx, kind, name) {
      await sql`select pg_advisory_xact_lock(${LOCKS[kind]}::int, hashtext(${name}))`.execute(trx);
    },
    async breathe() {}, // Other calls have other connections.
    shrink: async () => false, // Autovacuum does it.
    async close() {
      await db.destroy();
      await serverLock.release();
    },
  };
}

async function transact<T>(db: Kysely<Tables>, work: (trx: Trx) => Promise<T>): Promise<T> {
  for (let attempt = 1; ; attempt += 1) {
    try {
      return await db.transaction().setIsolationLevel('read committed').execute(work);
    } catch (error) {
      if (!isConflict(error) || attempt === ATTEMPTS_MAX) throw error;
    }
  }
}
