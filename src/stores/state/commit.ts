import type { Compilable, CompiledQuery, QueryResult } from 'kysely';

import { assert } from '../../core/assert.ts';
import type { Trx } from './database.ts';
import { inLockOrder } from './lock-order.ts';
import type { Claim, LineResult } from './ports.ts';

/**
 * The hot path: records one group of results, their counters and the progress of their segments. Returns the claims that
 * are lost. Statements are compiled once and kept, since compiling one takes as long as running it (ADR 21).
 */
export async function commitGroup(
  trx: Trx,
  statements: Statements,
  group: readonly LineResult[],
): Promise<Claim[]> {
  const lost: Claim[] = [];
  for (const [batchSeq, results] of inLockOrder(group))
    lost.push(...(await commitBatch(trx, statements, { batchSeq, results })));
  return lost;
}

interface BatchGroup {
  readonly batchSeq: number;
  readonly results: readonly LineResult[];
}

async function commitBatch(
  trx: Trx,
  statements: Statements,
  { batchSeq, results }: BatchGroup,
): Promise<Claim[]> {
  const indexes = new Set(results.map((result) => result.segmentIndex));
  const epochs = (await takesResults(trx, statements, batchSeq))
    ? await currentEpochs(trx, statements, { batchSeq, indexes: [...indexes] })
    : new Map<number, number>();
  const isCurrent = (result: LineResult) => epochs.get(result.segmentIndex) === result.epoch;

  const current = results.filter(isCurrent);
  const recorded = await insert(trx, statements, { batchSeq, results: current });
  if (recorded.length > 0) {
    await advance(trx, statements, { batchSeq, results: recorded });
    await count(trx, statements, { batchSeq, results: recorded });
  }
  if (current.length === results.length) return [];

  const lost = new Map<string, Claim>();
  for (const { segmentIndex: index, epoch } of results)
    if (epochs.get(index) !== epoch) lost.set(`${index}/${epoch}`, { batchSeq, index, epoch });
  return [...lost.values()];
}

/** Locks the batch until the group is committed. Results that come while it is cancelling are kept. */
async function takesResults(trx: Trx, statements: Statements, batchSeq: number): Promise<boolean> {
  const select = () => trx.selectFrom('batches').select('status').where('seq', '=', 0).forUpdate();
  const { rows } = await statements.run(trx, 'status', select, [batchSeq]);
  const status = rows[0]?.status;
  return status === 'in_progress' || status === 'cancelling';
}

async function currentEpochs(
  trx: Trx,
  statements: Statements,
  { batchSeq, indexes }: { batchSeq: number; indexes: readonly number[] },
): Promise<ReadonlyMap<number, number>> {
  const select = () =>
    trx
      .selectFrom('segments')
      .select(['index', 'epoch'])
      .where('batch_seq', '=', 0)
      .where('index', 'in', indexes)
      .forUpdate();
  const { rows } = await statements.run(trx, `epochs ${indexes.length}`, select, [batchSeq, ...indexes]);
  return new Map(rows.map((row) => [row.index, row.epoch]));
}

const ROWS_PER_INSERT_MAX = 64;

/** Returns the results that were recorded. A line that has a result already keeps it. */
async function insert(
  trx: Trx,
  statements: Statements,
  { batchSeq, results }: BatchGroup,
): Promise<LineResult[]> {
  const byLine = new Map<number, LineResult>();
  for (const result of results) if (!byLine.has(result.line)) byLine.set(result.line, result);
  const rest = [...byLine.values()];
  const recorded: LineResult[] = [];
  while (rest.length > 0) {
    const chunk = rest.splice(0, ROWS_PER_INSERT_MAX);
    const row = { batch_seq: 0, line: 0, ok: 0, payload: new Uint8Array() };
    const insertRows = () =>
      trx
        .insertInto('results')
        .values(chunk.map(() => row))
        .onConflict((conflict) => conflict.columns(['batch_seq', 'line']).doNothing())
        .returning('line');
    const values = chunk.flatMap(({ line, ok, payload }) => [batchSeq, line, ok ? 1 : 0, payload]);
    const { rows } = await statements.run(trx, `insert ${chunk.length}`, insertRows, values);
    for (const { line } of rows) {
      const result = byLine.get(line);
      if (result) recorded.push(result);
    }
  }
  return recorded;
}

/** Moves the progress of the segments. The epoch in the condition keeps out claims that are lost. */
async function advance(trx: Trx, statements: Statements, { batchSeq, results }: BatchGroup): Promise<void> {
  const update = () =>
    trx
      .updateTable('segments')
      .set((eb) => ({ done: eb('done', '+', 0), failed: eb('failed', '+', 0) }))
      .where('batch_seq', '=', 0)
      .where('index', '=', 0)
      .where('epoch', '=', 0);
  for (const [index, fresh] of Map.groupBy(results, (result) => result.segmentIndex)) {
    const failed = fresh.filter((result) => !result.ok).length;
    const values = [fresh.length, failed, batchSeq, index, fresh[0]?.epoch];
    const { numAffectedRows } = await statements.run(trx, 'advance', update, values);
    assert(numAffectedRows === 1n, `segment ${index} of batch ${batchSeq} changed hands under its lock`);
  }
}

async function count(trx: Trx, statements: Statements, { batchSeq, results }: BatchGroup): Promise<void> {
  const update = () =>
    trx
      .updateTable('batches')
      .set((eb) => ({
        completed: eb('completed', '+', 0),
        failed: eb('failed', '+', 0),
        input_tokens: eb('input_tokens', '+', 0),
        cached_tokens: eb('cached_tokens', '+', 0),
        output_tokens: eb('output_tokens', '+', 0),
        reasoning_tokens: eb('reasoning_tokens', '+', 0),
        retries: eb('retries', '+', 0),
      }))
      .where('seq', '=', 0);
  const sum = (figure: (result: LineResult) => number) =>
    results.reduce((total, result) => total + figure(result), 0);
  const completed = sum(({ ok }) => (ok ? 1 : 0));
  await statements.run(trx, 'count', update, [
    completed,
    results.length - completed,
    sum(({ usage }) => usage.inputTokens),
    sum(({ usage }) => usage.cachedTokens),
    sum(({ usage }) => usage.outputTokens),
    sum(({ usage }) => usage.reasoningTokens),
    sum(({ retries }) => retries),
    batchSeq,
  ]);
}

/** Compiled queries by name. They are built with placeholders, and run with values in the order of the SQL text. */
export class Statements {
  readonly #compiled = new Map<string, CompiledQuery>();

  run<Row>(
    trx: Trx,
    name: string,
    build: () => Compilable<Row>,
    parameters: readonly unknown[],
  ): Promise<QueryResult<Row>> {
    let query = this.#compiled.get(name);
    if (!query) {
      query = build().compile();
      assert(
        query.parameters.length === parameters.length,
        `statement ${name} has other placeholders than values`,
      );
      this.#compiled.set(name, query);
    }
    return trx.executeQuery<Row>({ ...query, parameters });
  }
}
