import { sql } from 'kysely';

import { TERMINAL_STATUSES } from '../../contract/batch.ts';
import { withWork } from './batch-rows.ts';
import { commitGroup, Statements } from './commit.ts';
import type { Database, Db, Trx } from './database.ts';
import type { ResultRow, ResultStore } from './ports.ts';
import { NO_RESOURCE } from './resources.ts';
import { firstUnfinished } from './work.ts';

/** The engine uses it for every resource, so a result is found by its batch's seq. */
export function createResultStore(database: Database): ResultStore {
  const statements = new Statements();
  return {
    commit: (group) => database.transact((trx) => commitGroup(trx, statements, group)),

    page: (batchSeq, query) => database.read((db) => page(db, batchSeq, query)),

    completeThrough: (batchSeq) => database.read((db) => completeThrough(db, batchSeq)),

    count: (batchSeq, query) => database.read((db) => countThrough(db, batchSeq, query)),

    purge: (rowsMax) => database.transact((trx) => purge(trx, rowsMax)),
  };
}

async function page(
  db: Db,
  batchSeq: number,
  { afterLine, bytesMax, rowsMax, ok }: Parameters<ResultStore['page']>[1],
): Promise<ResultRow[]> {
  let query = db
    .selectFrom('results')
    .where('batch_seq', '=', batchSeq)
    .where('line', '>', afterLine)
    .orderBy('line');
  if (ok !== undefined) query = query.where('ok', '=', ok ? 1 : 0);

  // The sizes are read first, without the payloads, to bound what is loaded.
  const sizes = await query
    .select((eb) => ['line', eb.fn<number>('length', ['payload']).as('bytes')])
    .limit(rowsMax)
    .execute();
  let bytes = 0;
  const rowCount = sizes.findIndex((row, index) => (bytes += row.bytes) > bytesMax && index > 0);
  const rows = await query
    .select(['line', 'ok', 'payload'])
    .limit(rowCount === -1 ? sizes.length : rowCount)
    .execute();
  return rows.map((row) => ({ line: row.line, ok: row.ok === 1, payload: row.payload }));
}

/**
 * The progress of the segments answers for all but the first unfinished one. In that one a line without a result may be
 * blank, which only the input knows, so counting ends at the first gap.
 */
async function completeThrough(db: Db, batchSeq: number): Promise<number> {
  const open = await firstUnfinished(db, batchSeq);
  const lines = db.selectFrom('results').where('batch_seq', '=', batchSeq);
  if (open && open.done > 0) {
    const rows = await lines
      .select('line')
      .where('line', '>=', open.first_line)
      .where('line', '<=', open.last_line)
      .orderBy('line')
      .execute();
    let next = open.first_line;
    for (const { line } of rows) if (line === next) next += 1;
    if (next > open.first_line) return next - 1;
  }
  const before = open ? lines.where('line', '<', open.first_line) : lines;
  const last = await before.select('line').orderBy('line', 'desc').limit(1).executeTakeFirst();
  return last?.line ?? 0;
}

/** Whole segments before `throughLine` have their counts. Only in the one that it cuts, results are counted. */
async function countThrough(
  db: Db,
  batchSeq: number,
  { throughLine, ok }: { throughLine: number; ok: boolean },
): Promise<number> {
  const segments = db.selectFrom('segments').where('batch_seq', '=', batchSeq);
  const whole = await segments
    .select(
      sql<number>`cast(coalesce(sum(${ok ? sql.raw('done - failed') : sql.ref('failed')}), 0) as bigint)`.as(
        'count',
      ),
    )
    .where('last_line', '<=', throughLine)
    .executeTakeFirstOrThrow();
  const cut = await segments
    .select('first_line')
    .where('first_line', '<=', throughLine)
    .where('last_line', '>', throughLine)
    .executeTakeFirst();
  if (!cut) return whole.count;
  const part = await db
    .selectFrom('results')
    .select((eb) => eb.fn.countAll<number>().as('count'))
    .where('batch_seq', '=', batchSeq)
    .where('line', '>=', cut.first_line)
    .where('line', '<=', throughLine)
    .where('ok', '=', ok ? 1 : 0)
    .executeTakeFirstOrThrow();
  return whole.count + part.count;
}

async function purge(trx: Trx, rowsMax: number): Promise<boolean> {
  const terminal = withWork(trx)
    .select(['seq', 'resource_id'])
    .where('status', 'in', TERMINAL_STATUSES)
    .orderBy('seq');
  const batch = await terminal.limit(1).forUpdate().executeTakeFirst();
  if (!batch) return false;
  const { seq } = batch;
  const results = await trx
    .deleteFrom('results')
    .where('batch_seq', '=', seq)
    .where('line', 'in', (eb) =>
      eb.selectFrom('results').select('line').where('batch_seq', '=', seq).orderBy('line').limit(rowsMax),
    )
    .executeTakeFirst();
  const left = rowsMax - Number(results.numDeletedRows);
  if (left === 0) return true;
  const segments = await trx
    .deleteFrom('segments')
    .where('batch_seq', '=', seq)
    .where('index', 'in', (eb) =>
      eb.selectFrom('segments').select('index').where('batch_seq', '=', seq).orderBy('index').limit(left),
    )
    .executeTakeFirst();
  if (Number(segments.numDeletedRows) === left) return true;
  if (batch.resource_id === NO_RESOURCE) await trx.deleteFrom('batches').where('seq', '=', seq).execute();
  else await trx.updateTable('batches').set({ purged: 1 }).where('seq', '=', seq).execute();
  return (await terminal.limit(1).executeTakeFirst()) !== undefined;
}
