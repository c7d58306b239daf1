import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';

import fc from 'fast-check';
import { Kysely, sql } from 'kysely';
import type { CompiledQuery, Dialect } from 'kysely';
import pg from 'pg';
import { describe, expect, test } from 'vitest';

import { fillingOf } from '../../../bench/filled-database.ts';
import { createTestDatabase } from '../../../test/support/postgres.ts';
import { BATCH_ENDPOINTS, BATCH_STATUSES } from '../../contract/batch.ts';
import { listBatches } from './batch-list.ts';
import type { Db } from './database.ts';
import { listFiles } from './files.ts';
import { migrate } from './migrations.ts';
import type { ColumnTypes } from './schema.ts';
import type { BatchFilter, BatchQuery } from './ports.ts';
import { OffpeakPostgresDialect, POSTGRES_TYPES } from './postgres/dialect.ts';
import type { Tables } from './schema.ts';
import { nodeSqliteDialect, SQLITE_TYPES } from './sqlite/dialect.ts';

interface Home {
  readonly db: Db;
  /** What ran since the last call. */
  readonly queries: () => CompiledQuery[];
  /** Of a plan: how it looks for rows. */
  readonly plan: (query: CompiledQuery) => Promise<string>;
}

function open(dialect: Dialect, plan: (db: Db, query: CompiledQuery) => Promise<string>): Home {
  let seen: CompiledQuery[] = [];
  const db: Db = new Kysely<Tables>({ dialect, log: ({ query }) => void seen.push(query) });
  return {
    db,
    queries: () => {
      const queries = seen;
      seen = [];
      return queries;
    },
    plan: (query) => plan(db, query),
  };
}

async function onSqlite(work: (home: Home, types: ColumnTypes) => Promise<void>): Promise<void> {
  const dir = await mkdtemp(join(tmpdir(), 'offpeak-lists-'));
  const home = open(nodeSqliteDialect(new DatabaseSync(join(dir, 'state.db'))), async (db, query) => {
    const rows = await db.executeQuery<{ detail: string }>({
      ...query,
      sql: `explain query plan ${query.sql}`,
    });
    return rows.rows.map(({ detail }) => detail).join('\n');
  });
  try {
    await work(home, SQLITE_TYPES);
  } finally {
    await home.db.destroy();
    await rm(dir, { recursive: true });
  }
}

async function onPostgres(work: (home: Home, types: ColumnTypes) => Promise<void>): Promise<void> {
  const database = await createTestDatabase();
  const pool = new pg.Pool({
    connectionString: database.url,
    // What is read as a whole all the same has no index: with a table as small as this one it would be chance.
    options: '-c enable_seqscan=off',
    types: { getTypeParser: (oid: number) => (oid === 20 ? Number : pg.types.getTypeParser(oid)) },
  });
  const home = open(new OffpeakPostgresDialect({ pool }), async (db, query) => {
    const rows = await db.executeQuery<{ 'QUERY PLAN': string }>({ ...query, sql: `explain ${query.sql}` });
    return rows.rows.map((row) => row['QUERY PLAN']).join('\n');
  });
  try {
    await work(home, POSTGRES_TYPES);
  } finally {
    await home.db.destroy();
    await database.drop();
  }
}

const FIELDS = ['created_at', 'completed_at', 'status'] as const;
const DIRECTIONS = ['asc', 'desc'] as const;
const orders: BatchQuery['orderBy'][] = FIELDS.flatMap((field) =>
  DIRECTIONS.map((direction) => ({ field, direction })),
);
const compare = (field: string, op: string, value: string | number | null) =>
  ({ kind: 'compare', field, op, value }) as BatchFilter;
const both = (left: BatchFilter, right: BatchFilter): BatchFilter => ({ kind: 'and', left, right });

describe.each([
  ['SQLite', onSqlite],
  ['PostgreSQL', onPostgres],
] as const)('lists on %s', (name, on) => {
  test('a page is what reading every batch finds, for any filter, order, place and stretch', () =>
    on(async ({ db }, types) => {
      await migrate(db, types);
      const all = await fillOdd(db);
      const read = <T>(work: (db: Db) => Promise<T>) => work(db);
      const breathe = async () => {};

      await fc.assert(
        fc.asyncProperty(
          fc.option(filters, { nil: undefined }),
          fc.constantFrom(...orders),
          fc.option(fc.constantFrom(...all), { nil: undefined }),
          fc.integer({ min: 1, max: 9 }),
          fc.integer({ min: 1, max: 12 }),
          async (filter, orderBy, after, limit, stretchRows) => {
            const query = { orderBy, limit, ...(filter && { filter }), ...(after && { after: after.id }) };

            const page = await listBatches({ read, breathe }, 'r', query, {
              stretchRows,
              fewRows: stretchRows % 4,
            });

            const rest = all
              .filter((row) => filter === undefined || holds(filter, row))
              .filter((row) => after === undefined || inOrder(orderBy)(row, after) > 0)
              .sort(inOrder(orderBy));
            expect(page).toMatchObject({ hasMore: rest.length > limit });
            expect(page === 'unknown_after' ? page : page.batches.map(({ id }) => id)).toEqual(
              rest.slice(0, limit).map(({ id }) => id),
            );
          },
        ),
        {
          numRuns: name === 'SQLite' ? 400 : 100,
          // A null has no type, and is compared with a number here.
          examples: [
            [
              both(compare('completed_at', 'eq', null), compare('input_file_id', 'eq', 'f0')),
              { field: 'created_at', direction: 'asc' },
              undefined,
              1,
              1,
            ],
          ],
        },
      );
    }));

  test('no list reads a table from one end to the other, or sorts what it finds', () =>
    on(async ({ db, queries, plan }, types) => {
      await migrate(db, types);
      for (const statement of fillingOf({ resourceId: 'r', batches: 20_000, files: 20_000 }))
        await sql.raw(statement).execute(db);
      if (name === 'PostgreSQL') await sql`analyze`.execute(db);
      const read = <T>(work: (db: Db) => Promise<T>) => work(db);
      const breathe = async () => {};
      const asked: (BatchFilter | undefined)[] = [
        undefined,
        ...BATCH_STATUSES.map((status) => compare('status', 'eq', status)),
        compare('status', 'ne', 'completed'),
        compare('endpoint', 'eq', '/completions'),
        compare('input_file_id', 'eq', 'file-in-7'),
        compare('created_at', 'gt', 1_600_100_000),
        compare('completed_at', 'eq', null),
        compare('completed_at', 'gt', 1_600_199_000),
        both(compare('status', 'eq', 'expired'), compare('created_at', 'lt', 1_600_000_500)),
      ];
      queries();

      for (const after of [undefined, 'batch_10000'])
        for (const filter of asked)
          for (const orderBy of orders)
            await listBatches(
              { read, breathe },
              'r',
              { orderBy, limit: 20, ...(filter && { filter }), ...(after && { after }) },
              { stretchRows: 100, fewRows: 50 },
            );
      for (const after of [undefined, 'file-10000'])
        for (const purpose of [undefined, 'batch', 'batch_output', 'assistants'] as const)
          for (const order of DIRECTIONS)
            await listFiles(db, 'r', {
              order,
              limit: 20,
              ...(purpose && { purpose }),
              ...(after && { after }),
            });

      const texts = new Map(queries().map((query) => [query.sql, query]));
      const bad: string[] = [];
      for (const query of texts.values()) {
        const how = await plan(query);
        // One input has few batches, and they may be sorted. PostgreSQL sorts where it knows that there are few.
        const maySort = query.sql.includes('"input_file_id" = ');
        if (/SCAN (batches|files)\b|Seq Scan/.test(how) || (!maySort && /TEMP B-TREE FOR ORDER/.test(how)))
          bad.push(`${query.sql}\n${how}`);
      }
      expect(bad).toEqual([]);
      expect(texts.size).toBeGreaterThan(20);
    }));
});

interface Odd {
  readonly id: string;
  readonly seq: number;
  readonly status: string;
  readonly endpoint: string;
  readonly input_file_id: string;
  readonly created_at: number;
  readonly completed_at: number | null;
}

/** Every status, few times and files, many ties. */
async function fillOdd(db: Db): Promise<Odd[]> {
  const rows = Array.from({ length: 90 }, (_, index) => {
    const status = BATCH_STATUSES[(index * 5) % BATCH_STATUSES.length] ?? 'failed';
    const createdAt = 100 + ((index * 7) % 20);
    return {
      id: `b${index}`,
      resource_id: 'r',
      dialect: 'azure' as const,
      status,
      endpoint: BATCH_ENDPOINTS[index % 3] ?? BATCH_ENDPOINTS[0],
      input_file_id: `f${index % 4}`,
      output_file_id: `o${index}`,
      error_file_id: `e${index}`,
      enqueued_tokens: 0,
      created_at: createdAt,
      expires_at: 9_999,
      completed_at: status === 'completed' ? createdAt + (index % 5) : null,
      purged: 1,
    };
  });
  await db.insertInto('batches').values(rows).execute();
  return db
    .selectFrom('batches')
    .select(['id', 'seq', 'status', 'endpoint', 'input_file_id', 'created_at', 'completed_at'])
    .execute();
}

const comparisons = fc.oneof(
  fc.record({
    field: fc.constantFrom('created_at', 'completed_at'),
    op: fc.constantFrom('eq', 'ne', 'gt', 'ge', 'lt', 'le'),
    value: fc.oneof(fc.integer({ min: 98, max: 125 }), fc.constantFrom(null, 110.5, 1e300, 'x')),
  }),
  fc.record({
    field: fc.constantFrom('status'),
    op: fc.constantFrom('eq', 'ne'),
    value: fc.constantFrom<string | number | null>(...BATCH_STATUSES, null, 5),
  }),
  fc.record({
    field: fc.constantFrom('endpoint'),
    op: fc.constantFrom('eq', 'ne'),
    value: fc.constantFrom<string>(...BATCH_ENDPOINTS, '/x'),
  }),
  fc.record({
    field: fc.constantFrom('input_file_id'),
    op: fc.constantFrom('eq', 'ne'),
    value: fc.constantFrom('f0', 'f3', 'f9'),
  }),
);

const filters = fc.letrec<{ filter: BatchFilter }>((tie) => ({
  filter: fc.oneof(
    { depthSize: 'small', withCrossShrink: true },
    comparisons.map(({ field, op, value }) => compare(field, op, value)),
    fc.record({
      kind: fc.constantFrom('and' as const, 'or' as const),
      left: tie('filter'),
      right: tie('filter'),
    }),
  ),
})).filter;

function holds(filter: BatchFilter, row: Odd): boolean {
  if (filter.kind !== 'compare') {
    const [left, right] = [holds(filter.left, row), holds(filter.right, row)];
    return filter.kind === 'and' ? left && right : left || right;
  }
  const { field, op, value } = filter;
  const got: string | number | null = row[field];
  if (op === 'eq') return got === value;
  if (op === 'ne') return got !== value;
  if (got === null || value === null || typeof got !== typeof value) return false;
  return { gt: got > value, ge: got >= value, lt: got < value, le: got <= value }[op];
}

function inOrder({ field, direction }: BatchQuery['orderBy']): (a: Odd, b: Odd) => number {
  const keyOf = (row: Odd): string | number => row[field] ?? 0;
  const sign = direction === 'asc' ? 1 : -1;
  return (a, b) => {
    const [x, y] = [keyOf(a), keyOf(b)];
    const byKey = x === y ? 0 : x < y ? -1 : 1;
    const byTime = field === 'status' ? a.created_at - b.created_at : 0;
    return sign * (byKey || byTime || a.seq - b.seq);
  };
}
