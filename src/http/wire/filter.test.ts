import { describe, expect, test } from 'vitest';
import type { ApiError } from '../../contract/error.ts';
import { parseFilter, parseOrderBy } from './filter.ts';

const compare = (field: string, op: string, value: unknown) => ({ kind: 'compare', field, op, value });

function faultOf(parse: () => unknown): string {
  try {
    parse();
  } catch (error) {
    return (error as ApiError).message;
  }
  throw new Error('it was accepted');
}

describe('$filter', () => {
  test("the documentation's example is three comparisons joined by and", () => {
    const filter = parseFilter(
      "created_at gt 1728773533 and created_at lt 1729032733 and status eq 'Completed'",
    );

    expect(filter).toEqual({
      kind: 'and',
      left: {
        kind: 'and',
        left: compare('created_at', 'gt', 1728773533),
        right: compare('created_at', 'lt', 1729032733),
      },
      right: compare('status', 'eq', 'completed'),
    });
  });

  test('and binds tighter than or, and parentheses tighter than both', () => {
    const [a, b, c] = [1, 2, 3].map((n) => compare('created_at', 'eq', n));

    expect(parseFilter('created_at eq 1 or created_at eq 2 and created_at eq 3')).toEqual({
      kind: 'or',
      left: a,
      right: { kind: 'and', left: b, right: c },
    });
    expect(parseFilter('(created_at eq 1 or created_at eq 2) and created_at eq 3')).toEqual({
      kind: 'and',
      left: { kind: 'or', left: a, right: b },
      right: c,
    });
  });

  test.each([
    ["status eq 'Completed'", 'completed'],
    ["STATUS EQ 'COMPLETED'", 'completed'],
    ["status eq 'InProgress'", 'in_progress'],
    ["status eq 'In_Progress'", 'in_progress'],
    ["status eq 'canceled'", 'cancelled'],
    ["status eq 'Cancelling'", 'cancelling'],
  ])('%s is compared without regard to case and spelling', (text, status) => {
    expect(parseFilter(text)).toEqual(compare('status', 'eq', status));
  });

  test.each([
    ["endpoint eq '/v1/chat/completions'", compare('endpoint', 'eq', '/chat/completions')],
    ["endpoint ne '/nothing'", compare('endpoint', 'ne', '/nothing')],
    ["input_file_id eq 'it''s'", compare('input_file_id', 'eq', "it's")],
    ['completed_at ne null', compare('completed_at', 'ne', null)],
    ['created_at ge -5', compare('created_at', 'ge', -5)],
    ['\t created_at  le\n7 ', compare('created_at', 'le', 7)],
  ])('%s', (text, filter) => {
    expect(parseFilter(text)).toEqual(filter);
  });

  test.each([
    ['created_at', 11, 'expected a comparison operator (eq, ne, gt, ge, lt, le), got the end'],
    ['created_at is 3', 12, 'expected a comparison operator (eq, ne, gt, ge, lt, le), got is'],
    ['created_at gt', 14, 'expected a value, got the end'],
    ['created_at gt )', 15, 'expected a value, got )'],
    ['created_at gt abc', 15, 'created_at is compared with Unix seconds'],
    ["created_at gt '3'", 15, 'created_at is compared with Unix seconds'],
    ['created_at gt 99999999999999999999', 15, 'created_at is compared with Unix seconds'],
    ['created_at gt null', 15, 'null is compared with eq or ne'],
    ['status eq completed', 11, "status is compared with a 'quoted' value"],
    ["status gt 'completed'", 11, 'status is compared with eq or ne'],
    ["owner eq 'me'", 1, 'expected a field'],
    ["__proto__ eq 'x'", 1, 'expected a field'],
    ['(created_at gt 3', 17, "expected ')', got the end"],
    ['created_at gt 3)', 16, "expected 'and' or 'or', got )"],
    ['created_at gt 3 created_at lt 4', 17, "expected 'and' or 'or', got created_at"],
    ['created_at gt 3 and', 20, 'expected a field'],
    ["status eq 'open", 11, "unexpected '"],
    ['created_at gt 3; drop table batches', 16, 'unexpected ;'],
    ['   %', 4, 'unexpected %'],
    [`created_at gt 1${' '.repeat(2_000)}`, 1, 'at most 2000 characters'],
  ])('%s is refused at position %i', (text, position, message) => {
    const fault = faultOf(() => parseFilter(text));

    expect(fault).toContain(`at position ${position}: ${message}`);
  });

  test('an unknown status is refused with the ones there are', () => {
    expect(faultOf(() => parseFilter("status eq 'done'"))).toContain('status is one of validating, failed');
  });

  test('ten comparisons are taken, an eleventh is refused', () => {
    const ten = Array.from({ length: 10 }, (_, index) => `created_at ne ${index}`);

    expect(parseFilter(ten.join(' and ')).kind).toBe('and');
    expect(faultOf(() => parseFilter([...ten, 'created_at ne 10'].join(' and ')))).toContain('at most 10');
  });

  test('parentheses as deep as the length allows do not exhaust the stack', () => {
    const depth = 900;
    const text = `${'('.repeat(depth)}created_at gt 1${')'.repeat(depth)}`;

    expect(parseFilter(text)).toEqual(compare('created_at', 'gt', 1));
  });
});

describe('$orderby', () => {
  test.each([
    ['created_at asc', { field: 'created_at', direction: 'asc' }],
    ['created_at DESC', { field: 'created_at', direction: 'desc' }],
    ['created_at', { field: 'created_at', direction: 'asc' }],
    [' completed_at  desc ', { field: 'completed_at', direction: 'desc' }],
    ['Status asc', { field: 'status', direction: 'asc' }],
  ])('%s', (text, order) => {
    expect(parseOrderBy(text)).toEqual(order);
  });

  test.each([
    ['id asc', 1, 'expected one field of'],
    ['created_at asc, status desc', 1, 'expected one field of'],
    ['created_at upwards', 12, 'expected asc or desc'],
  ])('%s is refused at position %i', (text, position, message) => {
    expect(faultOf(() => parseOrderBy(text))).toContain(`at position ${position}: ${message}`);
  });
});
