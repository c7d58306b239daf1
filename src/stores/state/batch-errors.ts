import type { Batch, BatchError, BatchErrors } from '../../contract/batch.ts';
import type { Db, Trx } from './database.ts';
import type { BatchRecord, ColumnTypes } from './schema.ts';
import { toBatch } from './batch-rows.ts';

/** A list shows at most this much of each batch's faults. The row has it, so that a list reads nothing else. */
const EXCERPT = { faultsMax: 10, charsMax: 4_000 };
/** The faults that a batch keeps have at most this many characters. */
const CHARS_MAX = 500_000;
const MESSAGE_CHARS_MAX = 1_000;
const PARAM_CHARS_MAX = 200;

/** The faults as the row has them, and all of them where the row lacks some. */
export interface SplitErrors {
  readonly excerpt: string;
  readonly all: string | null;
}

/** Bounds each fault and all together. Faults that are left out are counted. */
export function splitErrors({ data, omitted }: BatchErrors): SplitErrors {
  const kept = firstOf(data.map(shorten), { faultsMax: Infinity, charsMax: CHARS_MAX });
  const shown = firstOf(kept, EXCERPT);
  const withRest = (faults: readonly BatchError[]) =>
    JSON.stringify({ data: faults, omitted: omitted + data.length - faults.length } satisfies BatchErrors);
  return { excerpt: withRest(shown), all: shown.length === kept.length ? null : withRest(kept) };
}

const shorten = ({ message, param, ...fault }: BatchError): BatchError => ({
  ...fault,
  message: cut(message, MESSAGE_CHARS_MAX),
  param: param === null ? null : cut(param, PARAM_CHARS_MAX),
});

const cut = (text: string, charsMax: number): string =>
  text.length > charsMax ? `${text.slice(0, charsMax - 1)}…` : text;

function firstOf(
  faults: readonly BatchError[],
  { faultsMax, charsMax }: typeof EXCERPT,
): readonly BatchError[] {
  let chars = 0;
  const end = faults.findIndex((fault, index) => {
    chars += JSON.stringify(fault).length;
    return index >= faultsMax || (chars > charsMax && index > 0);
  });
  return end === -1 ? faults : faults.slice(0, end);
}

export async function keepErrors(trx: Trx, batchSeq: number, { all }: SplitErrors): Promise<void> {
  if (all === null) return;
  await trx.insertInto('batch_errors').values({ batch_seq: batchSeq, errors: all }).execute();
}

/** The batch with every fault that is kept, also where the row has only the first ones. */
export async function toWholeBatch(db: Db, row: BatchRecord): Promise<Batch> {
  const batch = toBatch(row);
  if (batch.errors === null || batch.errors.omitted === 0) return batch;
  const whole = await db
    .selectFrom('batch_errors')
    .select('errors')
    .where('batch_seq', '=', row.seq)
    .executeTakeFirst();
  return whole ? { ...batch, errors: JSON.parse(whole.errors) as BatchErrors } : batch;
}

const ROWS_PER_STATEMENT = 50;

/** A migration: rows had all faults before it. */
export async function splitAllErrors(db: Db, { text }: ColumnTypes): Promise<void> {
  await db.schema
    .createTable('batch_errors')
    .addColumn('batch_seq', 'integer', (c) =>
      c.notNull().primaryKey().references('batches.seq').onDelete('cascade'),
    )
    .addColumn('errors', text, (c) => c.notNull())
    .execute();
  for (let after = 0; ;) {
    const rows = await db
      .selectFrom('batches')
      .select(['seq', 'errors'])
      .where('errors', 'is not', null)
      .where('seq', '>', after)
      .orderBy('seq')
      .limit(ROWS_PER_STATEMENT)
      .execute();
    for (const { seq, errors } of rows) {
      const split = splitErrors(JSON.parse(errors ?? '') as BatchErrors);
      if (split.all === null) continue;
      await db.updateTable('batches').set({ errors: split.excerpt }).where('seq', '=', seq).execute();
      await db.insertInto('batch_errors').values({ batch_seq: seq, errors: split.all }).execute();
    }
    const last = rows.at(-1);
    if (last === undefined) return;
    after = last.seq;
  }
}
