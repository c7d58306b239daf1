import { sql, type RawBuilder, type SqlBool } from 'kysely';

import type { Batch } from '../../contract/batch.ts';
import { toCondition } from './batch-filter.ts';
import { toBatch } from './batch-rows.ts';
import { positionsInOrder, walksOf, type OrderBy, type Position, type Walk } from './batch-walks.ts';
import type { Database, Db } from './database.ts';
import type { BatchQuery } from './ports.ts';

interface Reach {
  /** The filter is checked on this many batches at a time, which takes a few milliseconds. */
  readonly stretchRows: number;
  /** When another index finds at most this many, they are read and sorted. Otherwise a walk follows the order of the page. */
  readonly fewRows: number;
}

const REACH: Reach = { stretchRows: 10_000, fewRows: 1_000 };

/**
 * Reads one page, by indexes alone. Even of a million batches it reads those of the page, unless the filter compares a field
 * that the order does not have. Such a walk goes in stretches, and other calls have their turn in between.
 */
export async function listBatches(
  { read, breathe }: Pick<Database, 'read' | 'breathe'>,
  resourceId: string,
  { filter, orderBy, after, limit }: BatchQuery,
  reach: Reach = REACH,
): Promise<{ batches: Batch[]; hasMore: boolean } | 'unknown_after'> {
  return read(async (db) => {
    const last = after === undefined ? null : await findPosition(db, resourceId, after);
    if (last === undefined) return 'unknown_after';
    const inOrder = positionsInOrder(orderBy);
    let found: Position[] = [];
    for (const walk of walksOf(filter ?? true, orderBy)) {
      const rowsMax = limit + 1;
      // Later walks go no further than what is found already.
      const until = found[rowsMax - 1] ?? null;
      const more = await take(db, { ...orderBy, ...reach, resourceId, walk, last, until, rowsMax, breathe });
      found = [...found, ...more].sort(inOrder).slice(0, rowsMax);
    }
    const seqs = found.slice(0, limit).map(({ seq }) => seq);
    const rows = await db
      .selectFrom('batches')
      .selectAll()
      .where('seq', 'in', [-1, ...seqs])
      .execute();
    const bySeq = new Map(rows.map((row) => [row.seq, row]));
    return {
      batches: seqs.flatMap((seq) => bySeq.get(seq) ?? []).map(toBatch),
      hasMore: found.length > limit,
    };
  });
}

const POSITION = ['seq', 'status', 'created_at', 'completed_at'] as const;

const findPosition = (db: Db, resourceId: string, batchId: string): Promise<Position | undefined> =>
  db
    .selectFrom('batches')
    .select(POSITION)
    .where('resource_id', '=', resourceId)
    .where('id', '=', batchId)
    .executeTakeFirst();

interface Taking extends OrderBy, Reach {
  readonly resourceId: string;
  readonly walk: Walk;
  /** The page begins behind it. Null: it begins at the end of the index. */
  readonly last: Position | null;
  /** The walk ends here. Null: it goes on to the other end. */
  readonly until: Position | null;
  readonly rowsMax: number;
  readonly breathe: Database['breathe'];
}

async function take(db: Db, taking: Taking): Promise<Position[]> {
  const { walk, last, until, rowsMax, direction, stretchRows, breathe } = taking;
  const { filter } = walk;
  const sign = direction === 'asc' ? 1 : -1;
  const [toLast, toUntil] = [last && sign * walk.rank(last), until && sign * walk.rank(until)];
  if ((toLast !== null && toLast < 0) || (toUntil !== null && toUntil > 0)) return [];
  const few = filter && (await takeFew(db, taking));
  if (few) return few;

  let all = along(db, taking);
  for (const key of walk.keys) all = all.orderBy(key, direction);
  const between = (from: Position | null, to: Position | null) => {
    let some = all;
    for (const condition of conditionsOf(from, to, taking)) some = some.where(condition);
    return some;
  };
  const end = toUntil === 0 ? until : null;
  const found: Position[] = [];
  for (let start = toLast === 0 ? last : null; ;) {
    if (filter === null) return between(start, end).limit(rowsMax).execute();
    const edge = await between(start, end).offset(stretchRows).limit(1).executeTakeFirst();
    const passing = between(start, edge ?? end).where(toCondition(filter));
    found.push(...(await passing.limit(rowsMax - found.length).execute()));
    if (edge === undefined || found.length === rowsMax) return found;
    start = edge;
    await breathe();
  }
}

function along(db: Db, { resourceId, walk }: Taking) {
  let all = db.selectFrom('batches').select(POSITION).where('resource_id', '=', resourceId);
  for (const condition of walk.where) all = all.where(condition);
  return all;
}

/** Reads by another index, if the filter leaves few batches there. */
async function takeFew(db: Db, taking: Taking): Promise<Position[] | undefined> {
  const { filter, few, bounds } = taking.walk;
  if (filter === null || few === null) return undefined;
  let some = along(db, taking);
  for (const condition of few.where) some = some.where(condition);
  for (const key of few.keys) some = some.orderBy(key);
  const areMany = await some.offset(taking.fewRows).limit(1).executeTakeFirst();
  if (areMany) return undefined;
  for (const bound of bounds) some = some.where(toCondition(bound));
  const passing = await some.where(toCondition(filter)).execute();
  const { last } = taking;
  const inOrder = positionsInOrder(taking);
  return passing.filter((at) => last === null || inOrder(at, last) > 0);
}

/** The conditions for batches behind `start`, up to `end`, within the bounds. */
function conditionsOf(
  start: Position | null,
  end: Position | null,
  { walk, direction }: Taking,
): RawBuilder<SqlBool>[] {
  const isAscending = direction === 'asc';
  return [
    ...walk.bounds.filter(({ op }) => op === 'eq').map(toCondition),
    ...sideOf(walk, { at: start, operator: isAscending ? '>' : '<' }),
    ...sideOf(walk, { at: end, operator: isAscending ? '<=' : '>=' }),
  ];
}

/** Returns the strictest condition alone, because a database uses one of two on the same side, and not always the stricter. */
function sideOf(
  { bounds, valuesOf, differing }: Walk,
  { at, operator }: { readonly at: Position | null; readonly operator: '>' | '<' | '<=' | '>=' },
): RawBuilder<SqlBool>[] {
  const isLower = operator.startsWith('>');
  const ops: readonly string[] = isLower ? ['gt', 'ge'] : ['lt', 'le'];
  const own = bounds.filter(({ op }) => ops.includes(op));
  if (at === null) return own.map(toCondition);
  const key = Number(valuesOf(at)[0]);
  const within = own.filter(({ value }) => (isLower ? Number(value) > key : Number(value) < key));
  if (within.length > 0) return within.map(toCondition);
  const row = (parts: readonly unknown[]) => sql`(${sql.join(parts)})`;
  return [
    ...own.filter(({ value }) => value === key).map(toCondition),
    sql`${row(differing)} ${sql.raw(operator)} ${row(valuesOf(at))}`,
  ];
}
