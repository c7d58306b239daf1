import type { Kysely, Transaction } from 'kysely';

import type { Tables } from './schema.ts';

export type Db = Kysely<Tables>;
export type Trx = Transaction<Tables>;

export type LockKind = 'resource' | 'quota';

/** What the statements run on. All that differs between SQLite and PostgreSQL is behind it; both throw `StoreError`. */
export interface Database {
  /** For a single statement, or several that need not agree. */
  read<T>(work: (db: Db) => Promise<T>): Promise<T>;
  /** One transaction. `work` may run again after a conflict, so it changes nothing but the database. */
  transact<T>(work: (trx: Trx) => Promise<T>): Promise<T>;
  /** Makes other transactions that name the same wait until `trx` ends. Called in `lock-order.ts` alone. */
  lock(trx: Trx, kind: LockKind, name: string): Promise<void>;
  /** Lets other calls have their turn, between the parts of one that takes long. */
  breathe(): Promise<void>;
  /** Hands some free pages back to the disk. False: there are too few to be worth it, or the database does so itself. */
  shrink(): Promise<boolean>;
  close(): Promise<void>;
}
