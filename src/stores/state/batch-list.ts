import { sql } from 'kysely';
import type { Expression, SqlBool } from 'kysely';

import type { Batch } from '../../contract/batch.ts';
import { toBatch } from './batch-rows.ts';
import type { Db } from './database.ts';
import type { BatchFilter, BatchQuery } from './ports.ts';

export async function listBatches(
  db: Db,
  resourceId: string,
  { filter, orderBy, after, limit }: BatchQuery,
): Promise<{ batches: Batch[]; hasMore: boolean } | 'unknown_after'> {
  const own = db.selectFrom('batches').where('resource_id', '=', resourceId);
  // SQLite and PostgreSQL disagree about where nulls go; not completed counts as the distant past.
  const key =
    orderBy.field === 'completed_at'
      ? sql<number>`coalesce(completed_at, 0)`
      : sql.ref<string | number>(orderBy.field);
  let page = own.select('seq');
  if (filter) page = page.where(toCondition(filter));
  if (after !== undefined) {
    const last = await own
      .select([key.as('key'), 'seq'])
      .where('id', '=', after)
      .executeTakeFirst();
    if (!last) return 'unknown_after';
    const beyond = sql.raw(orderBy.direction === 'asc' ? '>' : '<');
    page = page.where(sql<SqlBool>`(${key}, seq) ${beyond} (${last.key}, ${last.seq})`);
  }
  const { direction } = orderBy;
  const seqs = page
    .orderBy(key, direction)
    .orderBy('seq', direction)
    .limit(limit + 1);
  // Sorting whole rows would load every batch's errors to show a few batches.
  const rows = await db
    .selectFrom('batches')
    .selectAll()
    .where('seq', 'in', seqs)
    .orderBy(key, direction)
    .orderBy('seq', direction)
    .execute();
  return { batches: rows.slice(0, limit).map(toBatch), hasMore: rows.length > limit };
}

type Comparison = Extract<BatchFilter, { kind: 'compare' }>;

const OPERATORS = {
  eq: 'is not distinct from',
  ne: 'is distinct from',
  gt: '>',
  ge: '>=',
  lt: '<',
  le: '<=',
} as const satisfies Record<Comparison['op'], string>;

const NUMBERS: readonly Comparison['field'][] = ['created_at', 'completed_at'];

function toCondition(filter: BatchFilter): Expression<SqlBool> {
  if (filter.kind !== 'compare') {
    const [left, right] = [toCondition(filter.left), toCondition(filter.right)];
    return filter.kind === 'and' ? sql<SqlBool>`(${left} and ${right})` : sql<SqlBool>`(${left} or ${right})`;
  }
  const { field, op, value } = filter;
  const numeric = NUMBERS.includes(field);
  // A value of the other type equals nothing and has no order; PostgreSQL would call it an error.
  if (value !== null && (typeof value === 'number') !== numeric)
    return op === 'ne' ? sql<SqlBool>`1 = 1` : sql<SqlBool>`1 = 0`;
  // As a double, a number of any size or fraction can be compared.
  const bound = numeric ? sql`cast(${value} as double precision)` : sql`cast(${value} as text)`;
  return sql<SqlBool>`${sql.ref(field)} ${sql.raw(OPERATORS[op])} ${bound}`;
}
