import { stat } from 'node:fs/promises';
import { DatabaseSync } from 'node:sqlite';
import { pathToFileURL } from 'node:url';

import { Kysely } from 'kysely';

import type { Database } from '../database.ts';
import { expectCurrent } from '../migrations.ts';
import { StoreError, type StateStore } from '../ports.ts';
import type { Tables } from '../schema.ts';
import { createStateStore } from '../store.ts';
import { BUSY_TIMEOUT_MS, nodeSqliteDialect } from './dialect.ts';
import { toStoreError } from './errors.ts';

export interface ReadOnlySqlite {
  readonly state: StateStore;
  /** The faults that SQLite finds in the database itself. It takes as long as reading all of it. */
  readonly faults: () => string[];
}

/** Opens the database for reading, beside the service that writes or where none runs. It leaves no file behind. */
export async function openSqliteReadOnly({ path }: { readonly path: string }): Promise<ReadOnlySqlite> {
  try {
    const connection = new DatabaseSync(await locationOf(path), { readOnly: true, timeout: BUSY_TIMEOUT_MS });
    try {
      const db = new Kysely<Tables>({ dialect: nodeSqliteDialect(connection) });
      await expectCurrent(db);
      return {
        state: createStateStore(readOnly(db, path)),
        faults: () => {
          try {
            const rows = connection.prepare('pragma quick_check(9)').all();
            return rows.map((row) => String(row['quick_check'])).filter((text) => text !== 'ok');
          } catch (error) {
            throw toStoreError(error, `reading ${path}`);
          }
        },
      };
    } catch (error) {
      connection.close();
      throw error;
    }
  } catch (error) {
    throw toStoreError(error, `reading ${path}`);
  }
}

/** Without a write-ahead log nobody has the database open. Opened as immutable, SQLite leaves no files behind. */
async function locationOf(path: string): Promise<string | URL> {
  const isOpen = await stat(`${path}-wal`).then(
    () => true,
    () => false,
  );
  if (isOpen) return path;
  const url = pathToFileURL(path);
  url.searchParams.set('immutable', '1');
  return url;
}

const readOnly = (db: Kysely<Tables>, path: string): Database => ({
  async read(work) {
    try {
      return await work(db);
    } catch (error) {
      throw toStoreError(error, `reading ${path}`);
    }
  },
  transact: () => Promise.reject(new StoreError('The database is open for reading only.', 'other')),
  async lock() {},
  async breathe() {},
  shrink: () => Promise.resolve(false),
  close: () => db.destroy(),
});
