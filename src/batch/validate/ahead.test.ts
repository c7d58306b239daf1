import { appendFileSync, mkdtempSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import fc from 'fast-check';
import { afterEach, beforeEach, expect, test } from 'vitest';

import { inspectInput } from './inspect.ts';
import { createInspectorPool, type InspectorPool } from './pool.ts';
import type { AheadPass } from './port.ts';

let dir: string;
let pool: InspectorPool;

beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), 'ahead-'));
  pool = createInspectorPool({ resolvePath: (id) => join(dir, id), threads: 1 });
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

/** As the blob store does: bytes first, then the word of them. */
function writer(id: string): { readonly pass: AheadPass; readonly write: (bytes: Uint8Array) => void } {
  const pass = pool.inspectAhead(id);
  const path = join(dir, `${id}.temp`);
  let written = 0;
  return {
    pass,
    write(bytes) {
      appendFileSync(path, bytes);
      written += bytes.length;
      pass.grow(path, written);
    },
  };
}

test('a file that grows is found to be what it is once it is whole, wherever it was cut', async () => {
  const lines = [...requests(40).split('\n'), '{"custom_id":"task-3"}', '{', '', '한국어', '\u2028'];
  await fc.assert(
    fc.asyncProperty(
      fc.shuffledSubarray(lines, { minLength: 1 }),
      fc.array(fc.integer({ min: 1, max: 2_000 }), { minLength: 1 }),
      fc.uuid(),
      async (chosen, steps, id) => {
        const bytes = Buffer.from(chosen.join('\n'));
        const { pass, write } = writer(id);

        for (let at = 0, turn = 0; at < bytes.length; turn += 1) {
          const step = steps[turn % steps.length] ?? 1;
          write(bytes.subarray(at, at + step));
          at += step;
        }
        const found = await pass.whole();
        pass.drop();

        expect(found).toEqual(bytes.length === 0 ? undefined : await inspectInput([bytes]));
      },
    ),
    { numRuns: 60 },
  );
});

test('a file that gets its name before a thread has opened it is read all the same', async () => {
  const { pass, write } = writer('file');
  write(Buffer.from(requests(5_000)));

  renameSync(join(dir, 'file.temp'), join(dir, 'file'));

  await expect(pass.whole()).resolves.toMatchObject({ requests: 5_000 });
});

test('whoever asks for a file whose bytes are all there shares the pass', async () => {
  const { pass, write } = writer('file');
  write(Buffer.from(requests(3)));
  const found = pass.whole();

  // There is no such blob: only the shared pass can know.
  const inspection = await pool.inspect('file');

  expect(inspection).toBe(await found);
  pass.drop();
  await expect(pool.inspect('file')).rejects.toThrow('no bytes');
});

test('a stop does not wait for the shared pass', async () => {
  const { pass, write } = writer('file');
  write(Buffer.from(requests(3)));
  const aborter = new AbortController();
  const asked = pool.inspect('file', aborter.signal);

  aborter.abort(new Error('stopped'));

  await expect(asked).rejects.toThrow('stopped');
  pass.drop();
});

test('a file that is still coming in gives way to one that somebody waits for, and is inspected later', async () => {
  put('three', requests(3));
  const { pass, write } = writer('slow');
  write(Buffer.from(requests(1)));

  await expect(pool.inspect('three')).resolves.toMatchObject({ requests: 3 });

  write(Buffer.from(requests(2).slice(requests(1).length)));
  put('slow', requests(2));
  await expect(pass.whole()).resolves.toBeUndefined();
  await expect(pool.inspect('slow')).resolves.toMatchObject({ requests: 2 });
  pass.drop();
});

test('when all threads are busy, a file that comes in is not inspected', async () => {
  put('large', requests(20_000));
  const inspecting = pool.inspect('large');
  const { pass, write } = writer('file');
  write(Buffer.from(requests(3)));

  await expect(pass.whole()).resolves.toBeUndefined();
  await inspecting;
});

test('an upload that failed frees its thread', async () => {
  put('three', requests(3));
  const { pass, write } = writer('cut');
  write(Buffer.from(requests(1)));

  pass.drop();

  await expect(pass.whole()).resolves.toBeUndefined();
  const { pass: next, write: writeNext } = writer('next');
  await expect(pool.inspect('three')).resolves.toMatchObject({ requests: 3 });
  writeNext(Buffer.from(requests(2)));
  await expect(next.whole()).resolves.toMatchObject({ requests: 2 });
  next.drop();
});

test('closing ends a thread that waits for more bytes', async () => {
  const { pass, write } = writer('slow');
  write(Buffer.from(requests(1)));
  await new Promise((resolve) => setTimeout(resolve, 50));

  await pool.close();

  await expect(pass.whole()).resolves.toBeUndefined();
});
