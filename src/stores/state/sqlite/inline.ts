import { DatabaseSync } from 'node:sqlite';

import { Kysely } from 'kysely';

import type { Database } from '../database.ts';
import { migrate } from '../migrations.ts';
import { StoreError, type StateStore } from '../ports.ts';
import type { Tables } from '../schema.ts';
import { createStateStore } from '../store.ts';
import { BUSY_TIMEOUT_MS, nodeSqliteDialect, SQLITE_TYPES } from './dialect.ts';
import { toStoreError } from './errors.ts';

const PAGE_BYTES = 8 * 1024;
const CHECKPOINT_PAGES = 4_096;
/** Earlier versions can corrupt the database when the write-ahead log is reset. */
const SQLITE_MIN = [3, 51, 3] as const;

interface InlineOptions {
  readonly path: string;
  /** Lets others use the thread, in the middle of a long call. */
  readonly breathe?: Database['breathe'];
}

/**
 * Opens the embedded store in the caller's thread: every call blocks until it is on disk. Between its steps there are only
 * microtasks, so that a simulation, which owns time and I/O, can replay it.
 */
export async function openSqliteInline({
  path,
  breathe = async () => {},
}: InlineOptions): Promise<StateStore> {
  try {
    const connection = connect(path);
    try {
      const db = new Kysely<Tables>({ dialect: nodeSqliteDialect(connection) });
      await migrate(db, SQLITE_TYPES);
      return createStateStore(createDatabase(db, { breathe, shrink: async () => shrink(connection) }));
    } catch (error) {
      connection.close();
      throw error;
    }
  } catch (error) {
    throw toStoreError(error, `opening ${path}`);
  }
}

function connect(path: string): DatabaseSync {
  const connection = new DatabaseSync(path, { timeout: BUSY_TIMEOUT_MS });
  try {
    const version = String(connection.prepare('select sqlite_version() as version').get()?.['version']);
    if (isOlder(version))
      throw new StoreError(
        `SQLite ${version} can corrupt a database; ${SQLITE_MIN.join('.')} or later is needed. Update Node.js.`,
        'other',
      );
    // Results have some kilobytes each. Pages of this size read and delete them faster than smaller ones, and add less to
    // each commit than larger ones. Only a new database takes the size.
    connection.exec(`pragma page_size = ${PAGE_BYTES}`);
    // With it, free pages can be given back a few at a time. Only a new database takes it, too.
    connection.exec('pragma auto_vacuum = incremental');
    const mode = connection.prepare('pragma journal_mode = wal').get()?.['journal_mode'];
    if (mode !== 'wal')
      throw new StoreError(
        `The file system of ${path} cannot hold a write-ahead log. Put the data directory on a local disk.`,
        'other',
      );
    // Sorts stay in memory, so that reading works on a full disk too. A page that every commit changes is written to the
    // database once per checkpoint, so rare checkpoints spare the disk.
    connection.exec(
      `pragma synchronous = full; pragma foreign_keys = on; pragma temp_store = memory; pragma wal_autocheckpoint = ${CHECKPOINT_PAGES}`,
    );
    return connection;
  } catch (error) {
    connection.close();
    throw error;
  }
}

function isOlder(version: string): boolean {
  const parts = version.split('.').map(Number);
  for (const [position, least] of SQLITE_MIN.entries()) {
    const part = parts[position] ?? 0;
    if (part !== least) return part < least;
  }
  return false;
}

/** Free pages are kept for later rows. Some are given back from this number on, when a quarter of the file is free. */
const FREE_PAGES_MIN = 4_096;
/** These are less than a megabyte, which takes some milliseconds. */
const PAGES_PER_SHRINK = 100;
const INCREMENTAL = 2;

function shrink(connection: DatabaseSync): boolean {
  const read = (name: string) => Number(Object.values(connection.prepare(`pragma ${name}`).get() ?? {})[0]);
  const free = read('freelist_count');
  if (read('auto_vacuum') !== INCREMENTAL || free < FREE_PAGES_MIN || free < read('page_count') / 4)
    return false;
  connection.exec(`pragma incremental_vacuum(${PAGES_PER_SHRINK})`);
  return true;
}

function createDatabase(
  db: Kysely<Tables>,
  { breathe, shrink }: Pick<Database, 'breathe' | 'shrink'>,
): Database {
  let fatal: StoreError | undefined;
  const guard = async <T>(work: () => Promise<T>): Promise<T> => {
    if (fatal) throw fatal;
    try {
      return await work();
    } catch (error) {
      const failure = toStoreError(error, 'a statement');
      // After a failed write nobody knows what is on disk. To go on would acknowledge what may be lost.
      if (failure instanceof StoreError && failure.reason === 'io') fatal = failure;
      throw failure;
    }
  };
  return {
    read: (work) => guard(() => work(db)),
    transact: (work) => guard(() => db.transaction().execute(work)),
    async lock() {}, // A write transaction has the database to itself.
    breathe,
    shrink: () => guard(shrink),
    close: () => db.destroy(),
  };
}
