import { beforeEach, expect, test } from 'vitest';

import type { BatchFilter, BatchQuery } from '../../../src/stores/state/ports.ts';
import { createBatch, planOf, scope, stranger } from '../../support/state-store.ts';
import type { Subject } from './subject.ts';

type Comparison = Extract<BatchFilter, { kind: 'compare' }>;
const compare = (
  field: Comparison['field'],
  op: Comparison['op'],
  value: Comparison['value'],
): BatchFilter => ({ kind: 'compare', field, op, value });

export function batchListConformance(subject: () => Subject): void {
  const list = async (query: Partial<BatchQuery> = {}) => {
    const page = await subject().store.batches.list(scope, {
      orderBy: { field: 'created_at', direction: 'desc' },
      limit: 100,
      ...query,
    });
    return page === 'unknown_after' ? page : page.batches.map((batch) => batch.id);
  };

  /** a, b, c created in one second; a completed, b running, c and d validating. */
  beforeEach(async () => {
    const { store } = subject();
    const a = await createBatch(store, 'a', { createdAt: 100 });
    const b = await createBatch(store, 'b', { createdAt: 100, endpoint: '/embeddings' });
    await createBatch(store, 'c', { createdAt: 100, inputFileId: "it's" });
    await createBatch(store, 'd', { createdAt: 90 });
    await createBatch(store, 'foreign', { createdAt: 100 }, stranger);
    await store.batches.plan(a.seq, planOf(0, { atS: 110 }));
    await store.batches.plan(b.seq, planOf(1, { atS: 110 }));
    await store.batches.startFinalizing(a.seq, 120);
    await store.batches.publish(a.seq, {
      from: 'finalizing',
      to: 'completed',
      atS: 130,
      completed: 0,
      failed: 0,
      files: [],
    });
  });

  test('batches are listed by creation, ties by arrival', async () => {
    expect(await list()).toEqual(['c', 'b', 'a', 'd']);
    expect(await list({ orderBy: { field: 'created_at', direction: 'asc' } })).toEqual(['d', 'a', 'b', 'c']);
  });

  test('what has not completed comes first in ascending order of completion', async () => {
    expect(await list({ orderBy: { field: 'completed_at', direction: 'asc' } })).toEqual([
      'b',
      'c',
      'd',
      'a',
    ]);
    expect(await list({ orderBy: { field: 'completed_at', direction: 'desc' } })).toEqual([
      'a',
      'd',
      'c',
      'b',
    ]);
  });

  test('statuses are ordered by their bytes, ties by creation', async () => {
    expect(await list({ orderBy: { field: 'status', direction: 'asc' } })).toEqual(['a', 'b', 'd', 'c']);
    expect(await list({ orderBy: { field: 'status', direction: 'desc' } })).toEqual(['c', 'd', 'b', 'a']);
  });

  test.each(['created_at', 'completed_at', 'status'] as const)(
    'pages by %s meet exactly, in both directions and through ties',
    async (field) => {
      for (const direction of ['asc', 'desc'] as const) {
        const orderBy = { field, direction };
        const whole = await list({ orderBy });
        const paged: string[] = [];
        for (let after: string | undefined; ; after = paged.at(-1)) {
          const page = await subject().store.batches.list(scope, {
            orderBy,
            limit: 1,
            ...(after === undefined ? {} : { after }),
          });
          if (page === 'unknown_after') throw new Error(`lost at ${after}`);
          paged.push(...page.batches.map((batch) => batch.id));
          if (!page.hasMore) break;
        }
        expect(paged).toEqual(whole);
      }
    },
  );

  test('a cursor need not pass the filter, but must be a batch of the scope', async () => {
    expect(await list({ after: 'c', filter: compare('status', 'eq', 'completed') })).toEqual(['a']);
    expect(await list({ after: 'unknown' })).toBe('unknown_after');
    expect(await list({ after: 'foreign' })).toBe('unknown_after');
  });

  test.each<[string, BatchFilter, string[]]>([
    ['status eq', compare('status', 'eq', 'validating'), ['c', 'd']],
    ['status ne', compare('status', 'ne', 'validating'), ['b', 'a']],
    ['created_at gt', compare('created_at', 'gt', 90), ['c', 'b', 'a']],
    ['created_at ge', compare('created_at', 'ge', 90), ['c', 'b', 'a', 'd']],
    ['created_at lt', compare('created_at', 'lt', 100), ['d']],
    ['created_at le a fraction', compare('created_at', 'le', 99.5), ['d']],
    ['created_at lt a huge number', compare('created_at', 'lt', 1e300), ['c', 'b', 'a', 'd']],
    ['endpoint eq', compare('endpoint', 'eq', '/embeddings'), ['b']],
    ['input_file_id eq with a quote', compare('input_file_id', 'eq', "it's"), ['c']],
    ['input_file_id eq injection', compare('input_file_id', 'eq', "x' or 1=1 --"), []],
    ['completed_at eq null', compare('completed_at', 'eq', null), ['c', 'b', 'd']],
    ['completed_at ne null', compare('completed_at', 'ne', null), ['a']],
    ['completed_at ne a number', compare('completed_at', 'ne', 130), ['c', 'b', 'd']],
    ['completed_at gt null', compare('completed_at', 'gt', null), []],
    ['a number eq text', compare('created_at', 'eq', 'yesterday'), []],
    ['a number ne text', compare('created_at', 'ne', 'yesterday'), ['c', 'b', 'a', 'd']],
    ['text gt a number', compare('status', 'gt', 5), []],
    [
      'and inside or',
      {
        kind: 'or',
        left: compare('status', 'eq', 'completed'),
        right: {
          kind: 'and',
          left: compare('status', 'eq', 'validating'),
          right: compare('created_at', 'eq', 90),
        },
      },
      ['a', 'd'],
    ],
    [
      'or inside and',
      {
        kind: 'and',
        left: {
          kind: 'or',
          left: compare('status', 'eq', 'completed'),
          right: compare('status', 'eq', 'validating'),
        },
        right: compare('created_at', 'eq', 90),
      },
      ['d'],
    ],
  ])('a filter can compare: %s', async (_, filter, expected) => {
    expect(await list({ filter })).toEqual(expected);
  });
}
