import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { contentDisposition, parseRange, sliceLines } from './content.ts';

describe('a range', () => {
  test.each([
    ['bytes=0-4', { start: 0, length: 5 }],
    ['bytes=5-', { start: 5, length: 5 }],
    ['bytes=-3', { start: 7, length: 3 }],
    ['bytes=-100', { start: 0, length: 10 }],
    ['bytes=8-100', { start: 8, length: 2 }],
    ['bytes=9-9', { start: 9, length: 1 }],
    ['bytes=10-', 'unsatisfiable'],
    ['bytes=10-12', 'unsatisfiable'],
    ['bytes=-0', 'unsatisfiable'],
    ['bytes=5-2', undefined],
    ['bytes=-', undefined],
    ['bytes=0-1,4-5', undefined],
    ['bytes=a-b', undefined],
    ['lines=0-1', undefined],
    [`bytes=${'9'.repeat(30)}-`, undefined],
  ])('%s of 10 bytes', (header, range) => {
    expect(parseRange(header, 10)).toEqual(range);
  });

  test('of an empty file is never satisfiable', () => {
    expect(parseRange('bytes=0-', 0)).toBe('unsatisfiable');
    expect(parseRange('bytes=-5', 0)).toBe('unsatisfiable');
  });
});

describe('lines of a stream', () => {
  test('are the same however the bytes are split', async () => {
    const texts = fc.array(fc.stringMatching(/^[a-c]{0,3}$/), { maxLength: 8 });
    const numbers = fc.integer({ min: 0, max: 9 });
    await fc.assert(
      fc.asyncProperty(
        texts,
        fc.boolean(),
        fc.integer({ min: 1, max: 5 }),
        numbers,
        numbers,
        async (lines, ended, size, skip, take) => {
          const text = lines.join('\n') + (ended && lines.length > 0 ? '\n' : '');
          const all = text.match(/[^\n]*\n|[^\n]+$/g) ?? [];

          const sliced = await collect(sliceLines(chunked(text, size), { skip, take }));

          expect(sliced).toBe(all.slice(skip, skip + take).join(''));
        },
      ),
    );
  });
});

test('a download is named so that no name can break out of the header', () => {
  const hostile = contentDisposition('a"\r\nSet-Cookie: x=1\\%41한국어😀\ud800.jsonl');

  expect(hostile).toMatch(/^attachment; filename="[^"\\%\r\n]*"; filename\*=UTF-8''[\w.!~%-]*$/);
  expect(decodeURIComponent(hostile.split("''")[1] ?? '')).toBe('a"\r\nSet-Cookie: x=1\\%41한국어😀�.jsonl');
});

async function* chunked(text: string, size: number): AsyncGenerator<Uint8Array> {
  const bytes = Buffer.from(text);
  for (let start = 0; start < bytes.length; start += size) yield bytes.subarray(start, start + size);
}

async function collect(chunks: AsyncIterable<Uint8Array>): Promise<string> {
  const parts: Uint8Array[] = [];
  for await (const chunk of chunks) parts.push(chunk);
  return Buffer.concat(parts).toString();
}
