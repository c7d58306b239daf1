import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';

import { BlobNotFound } from '../../stores/blobs/port.ts';
import { createInspectorPool, type InspectorPool } from './pool.ts';

let dir: string;
let pool: InspectorPool;

beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), 'inspector-'));
  pool = createInspectorPool({ resolvePath: (id) => join(dir, id), threads: 2, waitingMax: 3 });
});

afterEach(async () => {
  await pool.close();
  rmSync(dir, { recursive: true });
});

const requests = (count: number): string =>
  Array.from(
    { length: count },
    (_, index) =>
      `{"custom_id":"task-${index}","method":"POST","url":"/chat/completions","body":{"model":"gpt-4o","messages":[{}]}}\n`,
  ).join('');
const put = (id: string, text: string): void => writeFileSync(join(dir, id), text);

test('inspects a file in another thread', async () => {
  put('three', requests(3));

  const inspection = await pool.inspect('three');

  expect(inspection).toMatchObject({
    requests: 3,
    model: 'gpt-4o',
    groups: [{ url: '/chat/completions' }],
    errors: null,
  });
});

test('a small file is inspected within 10 ms once the thread is warm', async () => {
  put('three', requests(3));
  await pool.inspect('three');
  const tookMs: number[] = [];
  for (let round = 0; round < 9; round++) {
    const startMs = performance.now();
    await pool.inspect('three');
    tookMs.push(performance.now() - startMs);
  }

  expect(Math.min(...tookMs)).toBeLessThan(10);
});

test('absent bytes reject with BlobNotFound', async () => {
  await expect(pool.inspect('nothing')).rejects.toThrow(BlobNotFound);
});

test('a file that cannot be read rejects alone, and says which', async () => {
  put('three', requests(3));

  await expect(pool.inspect('.')).rejects.toThrow('file . could not be validated');
  await expect(pool.inspect('three')).resolves.toMatchObject({ requests: 3 });
});

test('more files than threads are inspected in turn', async () => {
  for (const count of [1, 2, 3, 4, 5]) put(`${count}`, requests(count));

  const inspections = await Promise.all(['1', '2', '3', '4', '5'].map((id) => pool.inspect(id)));

  expect(inspections.map(({ requests: count }) => count)).toEqual([1, 2, 3, 4, 5]);
});

test('beyond the limit of waiting files, a caller is told when to come back', async () => {
  put('three', requests(3));
  const admitted = Array.from({ length: 5 }, () => pool.inspect('three'));

  await expect(pool.inspect('three')).rejects.toMatchObject({ code: 'notReady', retryAfterS: 5 });
  await expect(Promise.all(admitted)).resolves.toHaveLength(5);
});

test('an aborted inspection rejects with the reason, whether it runs, waits or has not begun, and others go on', async () => {
  put('large', requests(60_000));
  put('three', requests(3));
  const aborter = new AbortController();
  const aborted = [1, 2, 3].map(() => pool.inspect('large', aborter.signal));
  const other = pool.inspect('three');

  aborter.abort(new Error('cancelled'));

  const outcomes = await Promise.allSettled(aborted);
  expect(
    outcomes.map((outcome) => outcome.status === 'rejected' && (outcome.reason as Error).message),
  ).toEqual(['cancelled', 'cancelled', 'cancelled']);
  await expect(pool.inspect('large', aborter.signal)).rejects.toThrow('cancelled');
  await expect(other).resolves.toMatchObject({ requests: 3 });
});

test('a thread that runs out of memory rejects its own file only, and is replaced', async () => {
  // The heap of a thread cannot hold so many long ids.
  const id = 'x'.repeat(500);
  const lines = Array.from({ length: 100_000 }, (_, index) => `{"custom_id":"${id}${index}"}`);
  put('hungry', lines.join('\n'));
  put('three', requests(3));
  const small = createInspectorPool({ resolvePath: (name) => join(dir, name), threads: 1, heapMbMax: 16 });
  try {
    const hungry = small.inspect('hungry');
    const other = small.inspect('three');

    await expect(hungry).rejects.toThrow('the thread that validated file hungry ended unexpectedly');
    await expect(other).resolves.toMatchObject({ requests: 3 });
  } finally {
    await small.close();
  }
});

test('closing rejects what is not done', async () => {
  put('large', requests(60_000));
  const inspections = [1, 2, 3].map(() => pool.inspect('large'));
  const outcomes = Promise.allSettled(inspections);

  await pool.close();

  expect((await outcomes).map(({ status }) => status)).toEqual(['rejected', 'rejected', 'rejected']);
  await expect(pool.inspect('large')).rejects.toThrow('closed');
});
