import { PostgresDialect, PostgresQueryCompiler, sql } from 'kysely';

import type { ColumnTypes } from '../schema.ts';

export const POSTGRES_TYPES: ColumnTypes = {
  text: sql`text collate "C"`,
  bytes: 'bytea',
  identity: (column) => column.primaryKey().generatedAlwaysAsIdentity(),
};

export class OffpeakPostgresDialect extends PostgresDialect {
  override createQueryCompiler(): PostgresQueryCompiler {
    return new NulFreeCompiler();
  }
}

/**
 * PostgreSQL's text cannot have U+0000, and rejects the whole statement. A hostile URL may have an id with it, which must be
 * not found instead. JSON is not touched: it has that character as an escape.
 */
class NulFreeCompiler extends PostgresQueryCompiler {
  protected override addParameter(value: unknown): void {
    super.addParameter(typeof value === 'string' ? value.replaceAll('\0', '\uFFFD') : value);
  }
}
