import { sql, type RawBuilder, type SqlBool } from 'kysely';

import type { BatchEndpoint, BatchStatus } from '../../contract/batch.ts';
import type { BatchFilter } from './ports.ts';

export type Comparison = Extract<BatchFilter, { kind: 'compare' }>;

/** The batches of one part of an index have these in common. */
export interface Part {
  readonly status: BatchStatus;
  readonly endpoint: BatchEndpoint;
}

/**
 * What is left of a filter once the part is known, or the answer for the whole part. Statuses and endpoints are few, so a
 * filter on them takes or leaves a part as a whole, and no batch is read that does not pass.
 */
export function filterWithin(filter: BatchFilter, part: Part | null): BatchFilter | boolean {
  if (filter.kind === 'compare') return compareWithin(filter, part);
  const left = filterWithin(filter.left, part);
  const right = filterWithin(filter.right, part);
  // One side decides alone when it is true in an `or`, or false in an `and`.
  const decides = filter.kind === 'or';
  if (left === decides || right === decides) return decides;
  if (typeof left === 'boolean') return right;
  if (typeof right === 'boolean') return left;
  return { kind: filter.kind, left, right };
}

function compareWithin(comparison: Comparison, part: Part | null): BatchFilter | boolean {
  const { field, op, value } = comparison;
  const isTime = field === 'created_at' || field === 'completed_at';
  if (value === null) {
    // No comparison of order holds with null. Only `completed_at` can be null.
    if (op !== 'eq' && op !== 'ne') return false;
    if (field !== 'completed_at') return op === 'ne';
    return part === null ? comparison : (part.status === 'completed') === (op === 'ne');
  }
  // A value of the wrong type equals nothing and has no order.
  if (isTime !== (typeof value === 'number')) return op === 'ne';
  if (field === 'completed_at' && part !== null && part.status !== 'completed') return op === 'ne';
  if (isTime) return inWholeSeconds(comparison, Number(value));
  if (field === 'input_file_id' || part === null) return comparison;
  return OPERATORS[op](part[field], String(value));
}

/** These are for statuses and endpoints, which are ASCII and never null. SQL's operators differ elsewhere. */
const OPERATORS: Readonly<Record<Comparison['op'], (a: string, b: string) => boolean>> = {
  eq: (a, b) => a === b,
  ne: (a, b) => a !== b,
  gt: (a, b) => a > b,
  ge: (a, b) => a >= b,
  lt: (a, b) => a < b,
  le: (a, b) => a <= b,
};

/** Turns any number into an integer that compares alike with whole seconds. */
function inWholeSeconds(comparison: Comparison, value: number): BatchFilter | boolean {
  const { op } = comparison;
  if ((op === 'eq' || op === 'ne') && !Number.isInteger(value)) return op === 'ne';
  const whole = op === 'gt' || op === 'le' ? Math.floor(value) : Math.ceil(value);
  const max = Number.MAX_SAFE_INTEGER;
  return { ...comparison, value: Math.min(max, Math.max(-max, whole)) };
}

/** The comparisons that must all hold. */
export const conjuncts = (filter: BatchFilter): BatchFilter[] =>
  filter.kind === 'and' ? [...conjuncts(filter.left), ...conjuncts(filter.right)] : [filter];

/**
 * The bounds of a walk along an index that is ordered by `field`. `own` are comparisons of that field, which the index answers
 * as a whole. `bounds` also has what follows from the other time, as no batch completes before it was created. Each batch is
 * still checked against `rest`.
 */
export function boundsOf(
  filter: BatchFilter,
  field: 'created_at' | 'completed_at',
): {
  readonly own: Comparison[];
  readonly bounds: Comparison[];
  readonly rest: BatchFilter | null;
} {
  const parts = conjuncts(filter);
  const isOwn = (part: BatchFilter): part is Comparison =>
    part.kind === 'compare' && part.field === field && part.op !== 'ne';
  const own = parts.filter(isOwn);
  const others = parts.filter((part) => !isOwn(part));
  return {
    own,
    bounds: [...own, ...others.flatMap((part) => impliedBound(part, field) ?? [])],
    rest: others.length === 0 ? null : others.reduce((left, right) => ({ kind: 'and', left, right })),
  };
}

function impliedBound(part: BatchFilter, field: 'created_at' | 'completed_at'): Comparison | null {
  if (part.kind !== 'compare' || typeof part.value !== 'number') return null;
  const [other, ops, op] =
    field === 'created_at'
      ? (['completed_at', ['lt', 'le', 'eq'], 'le'] as const)
      : (['created_at', ['gt', 'ge', 'eq'], 'ge'] as const);
  return part.field === other && ops.some((one) => one === part.op) ? { ...part, field, op } : null;
}

export const fieldsOf = (filter: BatchFilter): ReadonlySet<Comparison['field']> =>
  filter.kind === 'compare'
    ? new Set([filter.field])
    : new Set([...fieldsOf(filter.left), ...fieldsOf(filter.right)]);

const SQL_OPERATORS = {
  eq: 'is not distinct from',
  ne: 'is distinct from',
  gt: '>',
  ge: '>=',
  lt: '<',
  le: '<=',
} as const satisfies Record<Comparison['op'], string>;

/** The SQL of what `filterWithin` left. */
export function toCondition(filter: BatchFilter): RawBuilder<SqlBool> {
  if (filter.kind !== 'compare') {
    const [left, right] = [toCondition(filter.left), toCondition(filter.right)];
    return filter.kind === 'and' ? sql<SqlBool>`(${left} and ${right})` : sql<SqlBool>`(${left} or ${right})`;
  }
  const { field, op, value } = filter;
  // `is not distinct from` finds nothing in an index of PostgreSQL.
  const operator = op === 'eq' && value !== null ? '=' : SQL_OPERATORS[op];
  return sql<SqlBool>`${sql.ref(field)} ${sql.raw(operator)} ${bound(value)}`;
}

/** PostgreSQL compares a text with a text alone. A null without a type fits every column. */
function bound(value: Comparison['value']): RawBuilder<unknown> {
  if (value === null) return sql`null`;
  return typeof value === 'number' ? sql`cast(${value} as bigint)` : sql`cast(${value} as text)`;
}
