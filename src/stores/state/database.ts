import type { Kysely, Transaction } from 'kysely';

import type { Tables } from './schema.ts';

export type Db = Kysely<Tables>;
export type Trx = Transaction<Tables>;

export type LockKind = 'resource' | 'quota';

/** What the statements run on. It hides the differences between SQLite and PostgreSQL. Both throw `StoreError`. */
export interface Database {
  /** Runs a single statement, or several that need not see the same state. */
  read<T>(work: (db: Db) => Promise<T>): Promise<T>;
  /** Runs one transaction. `work` may run again after a conflict, so it changes nothing but the database. */
  transact<T>(work: (trx: Trx) => Promise<T>): Promise<T>;
  /** Makes other transactions that name the same wait until `trx` ends. Called in `lock-order.ts` alone. */
  lock(trx: Trx, kind: LockKind, name: string): Promise<void>;
  /** Called between the steps of a long call. Other calls have their turn meanwhile. */
  breathe(): Promise<void>;
  /** Gives some free pages back to the disk. False: there are few, or the database does it by itself. */
  shrink(): Promise<boolean>;
  close(): Promise<void>;
}
