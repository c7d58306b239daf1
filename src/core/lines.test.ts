import fc from 'fast-check';
import { describe, expect, test } from 'vitest';

import { type SourceLine, LineSplitter, type OversizedLine } from './lines.ts';

const LINE_BYTES_MAX = 64;

function split(chunks: readonly Uint8Array[]): (SourceLine | OversizedLine)[] {
  const splitter = new LineSplitter({ lineBytesMax: LINE_BYTES_MAX });
  const lines = chunks.flatMap((chunk) => {
    // As a reader would that has but one buffer: what came before is overwritten after the push.
    const reused = Buffer.from(chunk);
    const pushed = [...splitter.push(reused)].map(copy);
    reused.fill(0x0a);
    return pushed;
  });
  return [...lines, ...[...splitter.end()].map(copy)];
}

const copy = (line: SourceLine | OversizedLine): SourceLine | OversizedLine =>
  line.bytes ? { ...line, bytes: Buffer.from(line.bytes) } : line;
const texts = (...chunks: string[]) => split(chunks.map((chunk) => Buffer.from(chunk))).map(toText);
const toText = ({ line, bytes }: SourceLine | OversizedLine) => [line, bytes?.toString()];

/** The slow and obvious way: over the whole file, in strings of one byte per character. */
function splitSlowly(file: Buffer): unknown[] {
  const bom = file.toString('latin1').startsWith('\xef\xbb\xbf') ? 3 : 0;
  const found: unknown[] = [];
  let byteStart = bom;
  const pieces = file.toString('latin1').slice(bom).split('\n');
  for (const [index, piece] of pieces.entries()) {
    const byteLength = piece.length + (index < pieces.length - 1 ? 1 : 0);
    const text = piece.endsWith('\r') ? piece.slice(0, -1) : piece;
    const at = { line: index + 1, byteStart, byteLength };
    if (text.length > LINE_BYTES_MAX) found.push({ line: at.line, bytes: undefined });
    else if (!/^[ \t\r]*$/.test(text)) found.push({ ...at, bytes: Buffer.from(text, 'latin1') });
    byteStart += byteLength;
  }
  return found;
}

function cut(file: Buffer, cuts: readonly number[]): Buffer[] {
  const places = [0, ...cuts.map((at) => at % (file.length + 1)).toSorted((a, b) => a - b), file.length];
  return places.slice(1).map((end, index) => file.subarray(places[index], end));
}

const piece = fc.oneof(
  fc.constantFrom(
    '\n',
    '\n',
    '\r\n',
    '\r',
    ' ',
    '\t',
    '\ufeff',
    '\u2028',
    '\u2029',
    '\u0085',
    '가',
    '😀',
    '{"a":1}',
  ),
  fc.string({ maxLength: 5 }),
  fc.constantFrom('x'.repeat(40), ' '.repeat(40)),
);
const anyFile = fc.oneof(
  fc.array(piece, { maxLength: 40 }).map((pieces) => Buffer.from(pieces.join(''))),
  fc.uint8Array({ maxLength: 200 }).map((bytes) => Buffer.from(bytes)),
);

test('finds the same lines as a slow splitter, wherever the chunks are cut', () => {
  fc.assert(
    fc.property(anyFile, fc.array(fc.nat(), { maxLength: 12 }), (file, cuts) => {
      expect(split(cut(file, cuts))).toEqual(splitSlowly(file));
    }),
    { numRuns: 2_000 },
  );
});

describe('a line', () => {
  test('ends at LF or CRLF, or with the file', () => {
    expect(texts('a\nb\r\nc')).toEqual([
      [1, 'a'],
      [2, 'b'],
      [3, 'c'],
    ]);
  });

  test('is not ended by a lone CR nor by the line separators of Unicode', () => {
    expect(texts('a\rb\u2028c\u2029d\u0085e\n')).toEqual([[1, 'a\rb\u2028c\u2029d\u0085e']]);
  });

  test('loses one CR at its end, not two', () => {
    expect(texts('a\r\r\n')).toEqual([[1, 'a\r']]);
  });

  test('keeps its physical number when blank lines come before it', () => {
    expect(texts('\n \n\r\n\t\r\na\n')).toEqual([[5, 'a']]);
  });

  test('that holds other white space than JSON knows is not blank', () => {
    expect(texts('\u00a0\n\u000b\n')).toEqual([
      [1, '\u00a0'],
      [2, '\u000b'],
    ]);
  });

  test('may have its characters split over chunks', () => {
    const file = Buffer.from('가😀\n나');
    expect(split([...file].map((byte) => Buffer.from([byte]))).map(toText)).toEqual([
      [1, '가😀'],
      [2, '나'],
    ]);
  });

  test('lies in the chunk itself when the chunk has all of it', () => {
    const chunk = Buffer.from('first\nsecond\n');
    const [first] = [...new LineSplitter({ lineBytesMax: 64 }).push(chunk)];

    expect(first?.bytes?.buffer).toBe(chunk.buffer);
    expect(first?.bytes?.byteOffset).toBe(chunk.byteOffset);
  });
});

describe('a byte order mark', () => {
  test('is dropped at the start of the file, and the first line starts after it', () => {
    expect(split([Buffer.from('\ufeff{}\n')])).toEqual([
      { line: 1, bytes: Buffer.from('{}'), byteStart: 3, byteLength: 3 },
    ]);
  });

  test('is dropped when chunks cut through it', () => {
    expect(split([[0xef], [0xbb], [0xbf, 0x61]].map((bytes) => Buffer.from(bytes))).map(toText)).toEqual([
      [1, 'a'],
    ]);
  });

  test('is kept everywhere else', () => {
    expect(texts('\ufeff\ufeffa\n\ufeffb')).toEqual([
      [1, '\ufeffa'],
      [2, '\ufeffb'],
    ]);
  });

  test('alone is a file without lines', () => {
    expect(texts('\ufeff')).toEqual([]);
    expect(texts('\ufeff\r\n')).toEqual([]);
  });
});

describe('a line at the limit', () => {
  test.each(['\n', '\r\n', ''])('is whole, one byte more is too long, with line end %j', (end) => {
    const [fits, exceeds] = ['x'.repeat(LINE_BYTES_MAX), 'x'.repeat(LINE_BYTES_MAX + 1)];

    expect(texts(`${fits}${end}`)).toEqual([[1, fits]]);
    expect(texts(`${exceeds}${end}`)).toEqual([[1, undefined]]);
    expect(texts(`\ufeff${fits}${end}`)).toEqual([[1, fits]]);
  });

  test('counts white space like anything else, however the chunks are cut', () => {
    const file = Buffer.from(`${' '.repeat(LINE_BYTES_MAX + 1)}\n${' '.repeat(LINE_BYTES_MAX)}\na`);
    const expected = [
      [1, undefined],
      [3, 'a'],
    ];

    expect(split([file]).map(toText)).toEqual(expected);
    expect(split(cut(file, [10, LINE_BYTES_MAX + 5])).map(toText)).toEqual(expected);
  });

  test('does not hold what exceeds it, and the next lines are found', () => {
    const splitter = new LineSplitter({ lineBytesMax: 1024 });
    const chunk = Buffer.alloc(1024 * 1024, 'x');
    const heldBefore = process.memoryUsage().arrayBuffers;
    for (let megabytes = 0; megabytes < 256; megabytes++) expect([...splitter.push(chunk)]).toEqual([]);
    const grown = process.memoryUsage().arrayBuffers - heldBefore;

    const [oversized, next] = [...splitter.push(Buffer.from('\nb\n'))];

    expect(grown).toBeLessThan(16 * 1024 * 1024);
    expect(oversized).toEqual({ line: 1, bytes: undefined });
    expect(next).toMatchObject({ line: 2, byteStart: 256 * 1024 * 1024 + 1, byteLength: 2 });
  });
});
