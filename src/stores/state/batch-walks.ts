import { sql, type RawBuilder, type SqlBool } from 'kysely';

import { BATCH_ENDPOINTS, BATCH_STATUSES } from '../../contract/batch.ts';
import {
  boundsOf,
  conjuncts,
  fieldsOf,
  filterWithin,
  toCondition,
  type Comparison,
  type Part,
} from './batch-filter.ts';
import type { BatchFilter, BatchQuery } from './ports.ts';
import type { BatchRecord } from './schema.ts';

export type OrderBy = BatchQuery['orderBy'];

/** The place of a batch in each of the orders. */
export type Position = Pick<BatchRecord, 'seq' | 'status' | 'created_at' | 'completed_at'>;

/** A walk along one part of an index. What several walks find is sorted. */
export interface Walk {
  readonly where: readonly RawBuilder<SqlBool>[];
  /** The order of the batches there, `seq` last. */
  readonly keys: readonly RawBuilder<unknown>[];
  /** The keys that differ between batches of the walk. */
  readonly differing: readonly RawBuilder<unknown>[];
  readonly valuesOf: (at: Position) => readonly unknown[];
  /** Where all batches of the walk lie, in ascending order. Below 0: before `at`. Above 0: behind it. 0: `valuesOf` decides. */
  readonly rank: (at: Position) => number;
  /** Comparisons of the first key: where the walk begins and ends. */
  readonly bounds: readonly Comparison[];
  /** Each batch is still checked against this. */
  readonly filter: BatchFilter | null;
  /** Another index, which the filter may bound to a few batches. */
  readonly few: Pick<Walk, 'where' | 'keys'> | null;
}

export function walksOf(filter: BatchFilter | true, orderBy: OrderBy): Walk[] {
  const whole = filter === true ? true : filterWithin(filter, null);
  if (whole === false) return [];
  if (whole !== true && conjuncts(whole).some(isOneInput)) return [walkInput(whole, orderBy)];
  const isAcross = whole === true || [...fieldsOf(whole)].every((field) => ACROSS_PARTS.has(field));
  if (isAcross && orderBy.field === 'created_at') return [byCreation([], whole)];
  const parts = BATCH_STATUSES.flatMap((status) => BATCH_ENDPOINTS.map((endpoint) => ({ status, endpoint })));
  return parts.flatMap((part) => walkWithin(part, whole, orderBy) ?? []);
}

const ACROSS_PARTS: ReadonlySet<string> = new Set(['created_at', 'input_file_id']);

const isOneInput = (part: BatchFilter): boolean =>
  part.kind === 'compare' && part.field === 'input_file_id' && part.op === 'eq';

/** Undefined: nothing there passes. */
function walkWithin(part: Part, whole: BatchFilter | true, { field }: OrderBy): Walk | undefined {
  const filter = whole === true ? true : filterWithin(whole, part);
  if (filter === false) return undefined;
  const where = [sql<SqlBool>`status = ${part.status}`, sql<SqlBool>`endpoint = ${part.endpoint}`];
  if (field === 'created_at') return byCreation(where, filter);
  if (field === 'status')
    return { ...byCreation(where, filter), rank: (at) => compareTexts(part.status, at.status) };
  return part.status === 'completed' ? byCompletion(where, filter) : byArrival(where, filter);
}

/** The batches of one input are few, and have an index of their own. */
function walkInput(filter: BatchFilter, { field }: OrderBy): Walk {
  const walk = byCreation([toCondition(filter)], true);
  // Expressions keep the planner from choosing an index of another order.
  const [createdAt, seq] = [sql`coalesce(created_at, 0)`, sql.ref('seq')];
  if (field === 'created_at') return walk;
  if (field === 'completed_at')
    return {
      ...walk,
      ...ordered([sql`coalesce(completed_at, 0)`, seq]),
      valuesOf: (at) => [at.completed_at ?? 0, at.seq],
    };
  return {
    ...walk,
    ...ordered([sql`coalesce(status, '')`, createdAt, seq]),
    valuesOf: (at) => [at.status, at.created_at, at.seq],
  };
}

function byCreation(where: Walk['where'], filter: BatchFilter | true): Walk {
  return {
    ...bounded(where, filter, 'created_at'),
    ...ordered(KEYS.created_at),
    valuesOf: (at) => [at.created_at, at.seq],
    rank: () => 0,
  };
}

function byCompletion(where: Walk['where'], filter: BatchFilter | true): Walk {
  return {
    ...bounded(where, filter, 'completed_at'),
    ...ordered(KEYS.completed_at),
    valuesOf: (at) => [at.completed_at ?? 0, at.seq],
    rank: () => 0,
  };
}

/** A batch that did not complete counts as the distant past: SQLite and PostgreSQL sort nulls differently. */
function byArrival(where: Walk['where'], filter: BatchFilter | true): Walk {
  return {
    where: [...where, sql<SqlBool>`completed_at is null`],
    bounds: [],
    filter: filter === true ? null : filter,
    few: filter === true ? null : fewOf(filter, 'created_at'),
    // PostgreSQL uses the order of the index only when the keys are spelled as there.
    keys: KEYS.completed_at,
    differing: [sql.ref('seq')],
    valuesOf: (at) => [at.seq],
    rank: (at) => 0 - (at.completed_at ?? 0),
  };
}

const ordered = (keys: Walk['keys']): Pick<Walk, 'keys' | 'differing'> => ({ keys, differing: keys });

const KEYS = {
  created_at: [sql.ref('created_at'), sql.ref('seq')],
  completed_at: [sql.ref('completed_at'), sql.ref('seq')],
};

function bounded(
  where: Walk['where'],
  filter: BatchFilter | true,
  field: keyof typeof KEYS,
): Pick<Walk, 'where' | 'bounds' | 'filter' | 'few'> {
  if (filter === true) return { where, bounds: [], filter: null, few: null };
  const { bounds, rest } = boundsOf(filter, field);
  const other = field === 'created_at' ? 'completed_at' : 'created_at';
  return {
    where,
    bounds,
    filter: rest,
    few: rest && fewOf(rest, other),
  };
}

function fewOf(filter: BatchFilter, field: keyof typeof KEYS): Walk['few'] {
  const { own } = boundsOf(filter, field);
  return own.length === 0 ? null : { where: own.map(toCondition), keys: KEYS[field] };
}

export function positionsInOrder({ field, direction }: OrderBy): (a: Position, b: Position) => number {
  const sign = direction === 'asc' ? 1 : -1;
  const forward = (a: Position, b: Position): number => {
    if (field === 'completed_at') return (a.completed_at ?? 0) - (b.completed_at ?? 0);
    const byStatus = field === 'status' ? compareTexts(a.status, b.status) : 0;
    return byStatus || a.created_at - b.created_at;
  };
  return (a, b) => sign * (forward(a, b) || a.seq - b.seq);
}

const compareTexts = (a: string, b: string): number => (a === b ? 0 : a < b ? -1 : 1);
