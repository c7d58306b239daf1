import type { DatabaseSync, SQLInputValue, StatementSync } from 'node:sqlite';

import { SqliteAdapter, SqliteIntrospector, SqliteQueryCompiler } from 'kysely';
import type {
  CompiledQuery,
  DatabaseConnection,
  Dialect,
  Driver,
  QueryResult,
  SelectModifierNode,
} from 'kysely';

import type { ColumnTypes } from '../schema.ts';

/** How long a statement waits for the lock of another process. */
export const BUSY_TIMEOUT_MS = 5_000;

export const SQLITE_TYPES: ColumnTypes = {
  text: 'text',
  bytes: 'blob',
  identity: (column) => column.primaryKey().autoIncrement(),
};

/**
 * Kysely over `node:sqlite`. It has one connection for one transaction or statement at a time. The adapter says that there
 * is no second connection, so Kysely queues the others. Nothing in it waits for I/O or a timer.
 */
export const nodeSqliteDialect = (database: DatabaseSync): Dialect => ({
  createDriver: () => new NodeSqliteDriver(database),
  createQueryCompiler: () => new NodeSqliteCompiler(),
  createAdapter: () => new SqliteAdapter(),
  createIntrospector: (db) => new SqliteIntrospector(db),
});

/** Leaves out row locks: a write transaction has the database to itself. */
class NodeSqliteCompiler extends SqliteQueryCompiler {
  protected override visitSelectModifier(node: SelectModifierNode): void {
    if (node.modifier !== 'ForUpdate') super.visitSelectModifier(node);
  }
}

class NodeSqliteDriver implements Driver {
  readonly #database: DatabaseSync;
  readonly #connection: NodeSqliteConnection;
  constructor(database: DatabaseSync) {
    this.#database = database;
    this.#connection = new NodeSqliteConnection(database);
  }
  async init(): Promise<void> {}
  async acquireConnection(): Promise<DatabaseConnection> {
    return this.#connection;
  }
  async releaseConnection(): Promise<void> {}
  /** `immediate` takes the write lock at once. Otherwise a transaction that begins by reading could fail at its first write. */
  async beginTransaction(): Promise<void> {
    this.#connection.run('begin immediate');
  }
  async commitTransaction(): Promise<void> {
    this.#connection.run('commit');
  }
  async rollbackTransaction(): Promise<void> {
    // SQLite has already rolled back after some errors, a full disk among them.
    if (this.#database.isTransaction) this.#connection.run('rollback');
  }
  async destroy(): Promise<void> {
    this.#database.close();
  }
}

/** Filters make many SQL texts. Beyond this number of statements the oldest one is dropped. */
const STATEMENTS_MAX = 500;

class NodeSqliteConnection implements DatabaseConnection {
  readonly #database: DatabaseSync;
  readonly #statements = new Map<string, { statement: StatementSync; returnsRows: boolean }>();
  constructor(database: DatabaseSync) {
    this.#database = database;
  }

  async executeQuery<Row>({ sql, parameters }: CompiledQuery): Promise<QueryResult<Row>> {
    const { statement, returnsRows } = this.#prepare(sql);
    // Kysely types parameters as unknown. Our tables have text, numbers, null and bytes alone.
    const values = parameters as readonly SQLInputValue[];
    if (returnsRows) return { rows: statement.all(...values) as Row[] };
    return { rows: [], numAffectedRows: BigInt(statement.run(...values).changes) };
  }

  // oxlint-disable-next-line require-yield
  async *streamQuery(): AsyncIterableIterator<never> {
    throw new Error('Page instead: an open cursor would hold the only connection.');
  }

  run(sql: string): void {
    this.#prepare(sql).statement.run();
  }

  #prepare(sql: string): { statement: StatementSync; returnsRows: boolean } {
    let prepared = this.#statements.get(sql);
    if (!prepared) {
      const statement = this.#database.prepare(sql);
      prepared = { statement, returnsRows: statement.columns().length > 0 };
      const oldest = this.#statements.keys().next().value;
      if (this.#statements.size >= STATEMENTS_MAX && oldest !== undefined) this.#statements.delete(oldest);
      this.#statements.set(sql, prepared);
    }
    return prepared;
  }
}
