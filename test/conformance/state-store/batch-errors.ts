import { expect, test } from 'vitest';

import type { BatchErrors } from '../../../src/contract/batch.ts';
import { createBatch, numbers, scope } from '../../support/state-store.ts';
import type { Subject } from './subject.ts';

const faults = (count: number, message = 'is not JSON'): BatchErrors => ({
  data: numbers(count).map((index) => ({
    code: 'invalid_json_line',
    message: `Line ${index + 1}: ${message}`,
    param: null,
    line: index + 1,
  })),
  omitted: 7,
});

const sizeOf = (value: unknown): number => JSON.stringify(value).length;

export function batchErrorsConformance(subject: () => Subject): void {
  const listed = async () => {
    const orderBy = { field: 'created_at', direction: 'desc' } as const;
    const page = await subject().store.batches.list(scope, { orderBy, limit: 100 });
    if (page === 'unknown_after') throw new Error('there is no cursor');
    return page.batches;
  };

  test('a batch that is created with faults has them all, a list only the first, and both say how many there are', async () => {
    const { store } = subject();
    const errors = faults(1_000);

    const born = await createBatch(store, 'b1', { errors });

    expect(born.errors).toEqual(errors);
    expect((await store.batches.get(scope, 'b1'))?.errors).toEqual(errors);
    const [inList] = await listed();
    expect(inList?.errors).toEqual({ data: errors.data.slice(0, 10), omitted: 990 + 7 });
  });

  test('a batch that fails later has them all too, and a list only the first', async () => {
    const { store } = subject();
    const errors = faults(50);
    const { seq } = await createBatch(store, 'b1');

    await store.batches.fail(seq, { from: 'validating', atS: 1_100, errors });

    expect((await store.batches.get(scope, 'b1'))?.errors).toEqual(errors);
    expect((await listed())[0]?.errors).toEqual({ data: errors.data.slice(0, 10), omitted: 40 + 7 });
  });

  test('few faults are in the list as they are', async () => {
    const errors = faults(3);
    await createBatch(subject().store, 'b1', { errors });

    expect((await listed())[0]?.errors).toEqual(errors);
  });

  test('however long the faults are, the kept and the listed ones are bounded, and every fault counts', async () => {
    const { store } = subject();
    await createBatch(store, 'b1', { errors: faults(1_000, '가'.repeat(100_000)) });

    const whole = (await store.batches.get(scope, 'b1'))?.errors;
    const [inList] = await listed();

    expect(sizeOf(whole)).toBeLessThan(600_000);
    expect(whole?.data.length).toBeGreaterThan(100);
    expect(whole!.data.length + whole!.omitted).toBe(1_007);
    expect(whole?.data[0]?.message).toMatch(/^Line 1: 가+…$/);
    expect(sizeOf(inList?.errors)).toBeLessThan(8_000);
    expect(inList!.errors!.data.length + inList!.errors!.omitted).toBe(1_007);
  });
}
