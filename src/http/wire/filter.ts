/**
 * `$filter` and `$orderby`. They have the part of OData that the original documents:
 *
 *   or      := and ('or' and)*
 *   and     := primary ('and' primary)*
 *   primary := '(' or ')' | field ('eq'|'ne'|'gt'|'ge'|'lt'|'le') value
 *   value   := integer | 'text' | null
 *
 * Field names, operators and values are compared without regard to case.
 */
import { BATCH_STATUSES, toBatchEndpoint } from '../../contract/batch.ts';
import { ApiError } from '../../contract/error.ts';
import type { BatchFilter, BatchQuery } from '../../stores/state/ports.ts';

export type OrderBy = BatchQuery['orderBy'];
type Comparison = Extract<BatchFilter, { kind: 'compare' }>;

const CLAUSES_MAX = 10;
const CHARS_MAX = 2_000;

export function parseFilter(text: string): BatchFilter {
  if (text.length > CHARS_MAX) throw fault('$filter', 1, `at most ${CHARS_MAX} characters are allowed`);
  const parser = new FilterParser(text);
  return parser.parse();
}

export function parseOrderBy(text: string): OrderBy {
  const match = /^\s*(\w+)(?:\s+(\w+))?\s*$/.exec(text);
  const fields = ['created_at', 'completed_at', 'status'] as const;
  const field = fields.find((name) => name === match?.[1]?.toLowerCase());
  const direction = (['asc', 'desc'] as const).find((name) => name === (match?.[2] ?? 'asc').toLowerCase());
  if (field === undefined) throw fault('$orderby', 1, `expected one field of ${fields.join(', ')}`);
  if (direction === undefined)
    throw fault('$orderby', text.lastIndexOf(match?.[2] ?? '') + 1, 'expected asc or desc');
  return { field, direction };
}

interface Token {
  readonly text: string;
  /** 1-based. */
  readonly position: number;
}

const TOKEN = /\s*(?:('(?:[^']|'')*')|([A-Za-z_]\w*)|(-?\d+)|([()]))/y;

const FIELDS: readonly Comparison['field'][] = [
  'created_at',
  'status',
  'endpoint',
  'input_file_id',
  'completed_at',
];
const OPERATORS: readonly Comparison['op'][] = ['eq', 'ne', 'gt', 'ge', 'lt', 'le'];

class FilterParser {
  readonly #tokens: readonly Token[];
  readonly #end: number;
  #next = 0;
  #clauses = 0;
  constructor(text: string) {
    this.#tokens = tokenize(text);
    this.#end = text.length + 1;
  }

  parse(): BatchFilter {
    const filter = this.#or();
    const rest = this.#tokens[this.#next];
    if (rest !== undefined) throw fault('$filter', rest.position, `expected 'and' or 'or', got ${rest.text}`);
    return filter;
  }

  #or(): BatchFilter {
    let left = this.#and();
    while (this.#take('or')) left = { kind: 'or', left, right: this.#and() };
    return left;
  }

  #and(): BatchFilter {
    let left = this.#primary();
    while (this.#take('and')) left = { kind: 'and', left, right: this.#primary() };
    return left;
  }

  #primary(): BatchFilter {
    if (!this.#take('(')) return this.#comparison();
    const inner = this.#or();
    if (!this.#take(')')) throw this.#unexpected("')'");
    return inner;
  }

  #comparison(): Comparison {
    this.#clauses += 1;
    const position = this.#position();
    if (this.#clauses > CLAUSES_MAX)
      throw fault('$filter', position, `at most ${CLAUSES_MAX} comparisons are allowed`);
    const field = this.#oneOf(FIELDS, `a field (${FIELDS.join(', ')})`);
    const op = this.#oneOf(OPERATORS, `a comparison operator (${OPERATORS.join(', ')})`);
    const token = this.#tokens[this.#next];
    if (token === undefined || /^[()]$/.test(token.text)) throw this.#unexpected('a value');
    this.#next += 1;
    return { kind: 'compare', field, op, value: toValue(token, { field, op }) };
  }

  #oneOf<T extends string>(words: readonly T[], what: string): T {
    const token = this.#tokens[this.#next];
    const word = words.find((candidate) => candidate === token?.text.toLowerCase());
    if (word === undefined) throw this.#unexpected(what);
    this.#next += 1;
    return word;
  }

  #take(word: string): boolean {
    if (this.#tokens[this.#next]?.text.toLowerCase() !== word) return false;
    this.#next += 1;
    return true;
  }

  #position(): number {
    return this.#tokens[this.#next]?.position ?? this.#end;
  }

  #unexpected(expected: string): ApiError {
    const got = this.#tokens[this.#next]?.text ?? 'the end';
    return fault('$filter', this.#position(), `expected ${expected}, got ${got}`);
  }
}

function tokenize(text: string): Token[] {
  const tokens: Token[] = [];
  const pattern = new RegExp(TOKEN);
  const end = text.trimEnd().length;
  while (pattern.lastIndex < end) {
    const start = pattern.lastIndex;
    const match = pattern.exec(text);
    const word = match?.[1] ?? match?.[2] ?? match?.[3] ?? match?.[4];
    if (match === null || word === undefined) {
      const position = start + (/^\s*/.exec(text.slice(start))?.[0].length ?? 0) + 1;
      throw fault('$filter', position, `unexpected ${text.charAt(position - 1)}`);
    }
    tokens.push({ text: word, position: pattern.lastIndex - word.length + 1 });
  }
  return tokens;
}

function toValue(token: Token, { field, op }: Pick<Comparison, 'field' | 'op'>): string | number | null {
  const { text, position } = token;
  const equality = op === 'eq' || op === 'ne';
  if (text.toLowerCase() === 'null') {
    if (!equality) throw fault('$filter', position, 'null is compared with eq or ne');
    return null;
  }
  const isTime = field === 'created_at' || field === 'completed_at';
  if (isTime) {
    const number = Number(text);
    if (!Number.isSafeInteger(number))
      throw fault('$filter', position, `${field} is compared with Unix seconds`);
    return number;
  }
  if (!text.startsWith("'")) throw fault('$filter', position, `${field} is compared with a 'quoted' value`);
  if (!equality) throw fault('$filter', position, `${field} is compared with eq or ne`);
  const value = text.slice(1, -1).replaceAll("''", "'");
  if (field === 'status') return toStatus(value, position);
  return field === 'endpoint' ? (toBatchEndpoint(value.toLowerCase()) ?? value) : value;
}

/** The original's documentation has `Completed`, `InProgress`, and the American `canceled`. */
function toStatus(value: string, position: number): string {
  const plain = value.toLowerCase().replaceAll(/[_\s-]/g, '');
  const spelled = plain === 'canceled' ? 'cancelled' : plain === 'canceling' ? 'cancelling' : plain;
  const status = BATCH_STATUSES.find((known) => known.replace('_', '') === spelled);
  if (status === undefined) throw fault('$filter', position, `status is one of ${BATCH_STATUSES.join(', ')}`);
  return status;
}

const fault = (param: '$filter' | '$orderby', position: number, what: string): ApiError =>
  new ApiError('invalidValue', `${param}: at position ${position}: ${what}.`, { param });
