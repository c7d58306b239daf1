import { sql } from 'kysely';
import type { CompiledQuery } from 'kysely';

import { TERMINAL_STATUSES } from '../../contract/batch.ts';
import { assert } from '../../core/assert.ts';
import { withWork } from './batch-rows.ts';
import type { Database, Db, Trx } from './database.ts';
import type { ClaimedSegment, LineResult, ResultRow, ResultStore } from './ports.ts';
import { firstUnfinished } from './work.ts';

type Claim = Pick<ClaimedSegment, 'batchSeq' | 'index' | 'epoch'>;

/** For the engine, which works for every resource: a result is found by its batch's seq. */
export function createResultStore(database: Database): ResultStore {
  const inserts = new InsertCache();
  return {
    commit: (group) =>
      database.transact(async (trx) => {
        const lost: Claim[] = [];
        // In the order of seq, so that two groups never wait for each other in a circle.
        const bySeq = [...Map.groupBy(group, (result) => result.batchSeq)].sort(([a], [b]) => a - b);
        for (const [batchSeq, results] of bySeq)
          lost.push(...(await commitBatch(trx, inserts, { batchSeq, results })));
        return lost;
      }),

    page: (batchSeq, query) => database.read((db) => page(db, batchSeq, query)),

    completeThrough: (batchSeq) => database.read((db) => completeThrough(db, batchSeq)),

    count: (batchSeq, query) => database.read((db) => countThrough(db, batchSeq, query)),

    purge: (rowsMax) => database.transact((trx) => purge(trx, rowsMax)),
  };
}

async function commitBatch(
  trx: Trx,
  inserts: InsertCache,
  { batchSeq, results }: { batchSeq: number; results: readonly LineResult[] },
): Promise<Claim[]> {
  const bySegment = Map.groupBy(results, (result) => result.segmentIndex);
  const epochs = await currentEpochs(trx, batchSeq, [...bySegment.keys()]);
  const isHeld = (result: LineResult) => epochs.get(result.segmentIndex) === result.epoch;

  const recorded = await inserts.insert(trx, batchSeq, results.filter(isHeld));
  for (const [index, fresh] of Map.groupBy(recorded, (result) => result.segmentIndex)) {
    const { numUpdatedRows } = await trx
      .updateTable('segments')
      .set((eb) => ({
        done: eb('done', '+', fresh.length),
        failed: eb('failed', '+', fresh.filter((result) => !result.ok).length),
      }))
      .where('batch_seq', '=', batchSeq)
      .where('index', '=', index)
      .where('epoch', '=', epochs.get(index) ?? 0)
      .executeTakeFirst();
    assert(numUpdatedRows === 1n, `segment ${index} of batch ${batchSeq} changed hands under its lock`);
  }
  if (recorded.length > 0) await count(trx, batchSeq, recorded);

  const lost = new Map<string, Claim>();
  for (const { segmentIndex: index, epoch, ...result } of results)
    if (epochs.get(index) !== epoch)
      lost.set(`${index}/${epoch}`, { batchSeq: result.batchSeq, index, epoch });
  return [...lost.values()];
}

/** Epochs of the segments; none when the batch takes no more results. What arrives while it is cancelling is kept. */
async function currentEpochs(
  trx: Trx,
  batchSeq: number,
  indexes: readonly number[],
): Promise<ReadonlyMap<number, number>> {
  const batch = await trx
    .selectFrom('batches')
    .select('status')
    .where('seq', '=', batchSeq)
    .forUpdate()
    .executeTakeFirst();
  if (batch?.status !== 'in_progress' && batch?.status !== 'cancelling') return new Map();
  const rows = await trx
    .selectFrom('segments')
    .select(['index', 'epoch'])
    .where('batch_seq', '=', batchSeq)
    .where('index', 'in', indexes)
    .forUpdate()
    .execute();
  return new Map(rows.map((row) => [row.index, row.epoch]));
}

async function count(trx: Trx, batchSeq: number, results: readonly LineResult[]): Promise<void> {
  const sum = (figure: (result: LineResult) => number) =>
    results.reduce((total, result) => total + figure(result), 0);
  const completed = sum((result) => (result.ok ? 1 : 0));
  await trx
    .updateTable('batches')
    .set((eb) => ({
      completed: eb('completed', '+', completed),
      failed: eb('failed', '+', results.length - completed),
      input_tokens: eb(
        'input_tokens',
        '+',
        sum(({ usage }) => usage.inputTokens),
      ),
      cached_tokens: eb(
        'cached_tokens',
        '+',
        sum(({ usage }) => usage.cachedTokens),
      ),
      output_tokens: eb(
        'output_tokens',
        '+',
        sum(({ usage }) => usage.outputTokens),
      ),
      reasoning_tokens: eb(
        'reasoning_tokens',
        '+',
        sum(({ usage }) => usage.reasoningTokens),
      ),
      retries: eb(
        'retries',
        '+',
        sum(({ retries }) => retries),
      ),
    }))
    .where('seq', '=', batchSeq)
    .execute();
}

/**
 * Multi-row inserts, compiled once for each power of two: compiling one per group would cost more than running it.
 */
class InsertCache {
  readonly #queries = new Map<number, CompiledQuery<{ line: number }>>();

  /** Returns the results that were recorded: a line that has one already keeps it. */
  async insert(trx: Trx, batchSeq: number, results: readonly LineResult[]): Promise<LineResult[]> {
    const byLine = new Map<number, LineResult>();
    for (const result of results) if (!byLine.has(result.line)) byLine.set(result.line, result);
    const rest = [...byLine.values()];
    const recorded: LineResult[] = [];
    while (rest.length > 0) {
      const chunk = rest.splice(0, Math.min(ROWS_PER_INSERT_MAX, 2 ** Math.floor(Math.log2(rest.length))));
      const parameters = chunk.flatMap((r) => [batchSeq, r.line, r.ok ? 1 : 0, r.payload]);
      const { rows } = await trx.executeQuery<{ line: number }>({
        ...this.#query(trx, chunk.length),
        parameters,
      });
      for (const { line } of rows) {
        const result = byLine.get(line);
        if (result) recorded.push(result);
      }
    }
    return recorded;
  }

  #query(trx: Trx, rowCount: number): CompiledQuery<{ line: number }> {
    let query = this.#queries.get(rowCount);
    if (!query) {
      const row = { batch_seq: 0, line: 0, ok: 0, payload: new Uint8Array() };
      query = trx
        .insertInto('results')
        .values(Array.from({ length: rowCount }, () => row))
        .onConflict((conflict) => conflict.columns(['batch_seq', 'line']).doNothing())
        .returning('line')
        .compile();
      this.#queries.set(rowCount, query);
    }
    return query;
  }
}
const ROWS_PER_INSERT_MAX = 64;

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

  // Sizes first: they are read without the payloads, and bound what is then loaded.
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
 * Progress of the segments tells all but the lines of the first unfinished one. There a line without a result may be
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

/** Segments that lie before `throughLine` as a whole have counted for themselves. */
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
  const terminal = withWork(trx).select('seq').where('status', 'in', TERMINAL_STATUSES).orderBy('seq');
  const batch = await terminal.limit(1).executeTakeFirst();
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
  await trx.updateTable('batches').set({ purged: 1 }).where('seq', '=', seq).execute();
  return (await terminal.limit(1).executeTakeFirst()) !== undefined;
}
