import fc from 'fast-check';
import { describe, expect, test } from 'vitest';

import { stringAt } from '../request-line.ts';
import { DEPTH_MAX, type LineFault, LineScanner, type RequestShape } from './scan.ts';

const scan = (line: string | Buffer): RequestShape | LineFault => new LineScanner().scan(Buffer.from(line));

/** `JSON.parse` that also refuses bytes that are no UTF-8. Returns undefined for what is not valid. */
function parse(line: Buffer): { value: unknown } | undefined {
  try {
    return { value: JSON.parse(new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(line)) };
  } catch {
    return undefined;
  }
}

function depthOf(value: unknown): number {
  if (typeof value !== 'object' || value === null) return 0;
  return 1 + Math.max(0, ...Object.values(value).map(depthOf));
}

/** A slow parser of valid JSON that keeps members in a list, so that duplicate names show. */
function membersOf(json: string): [name: string, value: string][] {
  const members: [string, string][] = [];
  const skip = (from: number) => from + (/^[ \t\r\n]*/.exec(json.slice(from))?.[0].length ?? 0);
  const valueEnd = (from: number) => {
    for (let end = from + 1; end <= json.length; end++) {
      const next = json[skip(end)];
      if (next !== ',' && next !== '}') continue;
      try {
        JSON.parse(json.slice(from, end));
        return end;
      } catch {
        continue;
      }
    }
    throw new Error('not valid JSON');
  };
  let at = skip(skip(0) + 1);
  while (json[at] === '"') {
    const nameEnd = [...json.slice(at + 1).matchAll(/\\.|"/gs)].find(([match]) => match === '"');
    const colon = skip(at + (nameEnd?.index ?? 0) + 2);
    const start = skip(colon + 1);
    const end = valueEnd(start);
    members.push([
      JSON.parse(json.slice(at, at + (nameEnd?.index ?? 0) + 2)) as string,
      json.slice(start, end),
    ]);
    at = skip(end);
    if (json[at] === ',') at = skip(at + 1);
  }
  return members;
}

const hasDuplicates = (members: readonly [string, string][]): boolean =>
  new Set(members.map(([name]) => name)).size < members.length;

/** Returns what the scanner must say of a line, found slowly. */
function expected(line: Buffer): string {
  const parsed = parse(line);
  if (!parsed) return 'not_json';
  if (depthOf(parsed.value) > DEPTH_MAX) return 'too_deep';
  if (typeof parsed.value !== 'object' || parsed.value === null || Array.isArray(parsed.value))
    return 'not_object';
  const members = membersOf(line.toString());
  const body = members.findLast(([name]) => name === 'body')?.[1];
  if (hasDuplicates(members) || (body?.startsWith('{') && hasDuplicates(membersOf(body))))
    return 'duplicate_key';
  return 'request';
}

const seen = (line: Buffer): string => {
  const { kind } = scan(line);
  return kind === 'not_utf8' ? 'not_json' : kind;
};

const name = fc.constantFrom(
  'custom_id',
  'method',
  'url',
  'body',
  'model',
  'stream',
  '__proto__',
  '',
  'b\\u006fdy',
  'a\\"',
  '가',
  '\\uac00',
  '\\ud800',
  '\\uD83D\\uDE00',
  '😀',
);
const scalar = fc.oneof(
  fc.constantFrom(
    '0',
    '-0',
    '1e400',
    '-1.5E-7',
    '123456789012345678901234567890',
    'true',
    'false',
    'null',
    '""',
    '"POST"',
    '"\\n\\t\\/\\\\"',
    '"\u2028\u0085"',
    '"data:x;base64,AA"',
  ),
  fc.string({ unit: 'binary' }).map((value) => JSON.stringify(value)),
  fc.double({ noNaN: true, noDefaultInfinity: true }).map((value) => JSON.stringify(value)),
);
const { json } = fc.letrec<{ json: string; members: string }>((tie) => ({
  json: fc.oneof(
    { depthSize: 'small' },
    scalar,
    fc.array(tie('json'), { maxLength: 3 }).map((items) => `[${items.join(', ')}]`),
    tie('members'),
  ),
  members: fc
    .array(fc.tuple(name, fc.constantFrom(':', ' : '), tie('json')), { maxLength: 5 })
    .map((all) => `{${all.map(([key, colon, value]) => `"${key}"${colon}${value}`).join(',')}}`),
}));

test('agrees with JSON.parse and a slow search for duplicate names on any JSON', () => {
  fc.assert(
    fc.property(json, fc.constantFrom('', ' ', '\t\r'), (value, space) => {
      const line = Buffer.from(`${space}${value}${space}`);
      expect([line.toString(), seen(line)]).toEqual([line.toString(), expected(line)]);
    }),
    { numRuns: 5_000 },
  );
});

test('agrees with JSON.parse on lines with damaged bytes', () => {
  const edit = fc.tuple(
    fc.nat(),
    fc.oneof(fc.constantFrom(...Buffer.from('"\\{}[],:0-+.eEu \n\t\0\x7f\x80\xff', 'latin1')), fc.nat(255)),
    fc.boolean(),
  );
  fc.assert(
    fc.property(json, fc.array(edit, { minLength: 1, maxLength: 4 }), (value, edits) => {
      const bytes = [...Buffer.from(value)];
      for (const [at, byte, inserts] of edits) bytes.splice(at % (bytes.length + 1), inserts ? 0 : 1, byte);
      const line = Buffer.from(bytes);
      expect([line.toString('latin1'), seen(line)]).toEqual([line.toString('latin1'), expected(line)]);
    }),
    { numRuns: 10_000 },
  );
});

test('says the same of a line wherever it lies in memory, and whatever surrounds it', () => {
  const scanner = new LineScanner();
  fc.assert(
    fc.property(
      json,
      fc.nat(9),
      fc.constantFrom('"', 'a', '\\', '\n', '}', '가'),
      fc.nat(),
      (value, before, around, cut) => {
        const line = Buffer.from(value);
        const torn = line.subarray(0, cut % (line.length + 1));
        for (const part of [line, torn]) {
          const memory = Buffer.concat([
            Buffer.from(around.repeat(before)),
            part,
            Buffer.from(around.repeat(20)),
          ]);
          const start = Buffer.byteLength(around) * before;
          expect(scanner.scan(memory.subarray(start, start + part.length))).toEqual(scan(Buffer.from(part)));
        }
      },
    ),
    { numRuns: 2_000 },
  );
});

test('finds the members that validation needs', () => {
  const line = Buffer.from(
    '{"custom_id":"a","method":"POST","url":"/b","body":{"stream":false,"n":1,"model":"m"},"x":[{"model":1}]}',
  );

  const shape = scan(line);

  const at = (range: { start: number; end: number } | undefined) =>
    range && line.toString('utf8', range.start, range.end);
  expect(shape).toMatchObject({ kind: 'request' });
  if (shape.kind !== 'request') return;
  expect([shape.customId, shape.method, shape.url, shape.body, shape.model, shape.stream].map(at)).toEqual([
    '"a"',
    '"POST"',
    '"/b"',
    '{"stream":false,"n":1,"model":"m"}',
    '"m"',
    'false',
  ]);
});

test('finds members whose names are written in escapes', () => {
  const line = Buffer.from('{"\\u0063ustom_id":"a","\\u0062ody":{"mod\\u0065l":"m"}}');

  const shape = scan(line);

  expect(shape.kind === 'request' && shape.model && stringAt(line, shape.model)).toBe('m');
  expect(shape.kind === 'request' && shape.customId && stringAt(line, shape.customId)).toBe('a');
});

describe('nesting', () => {
  const nested = (levels: number, open = '[', close = ']') =>
    `{"body":${open.repeat(levels - 1)}${close.repeat(levels - 1)}}`;

  test('of 128 levels is taken, one more is not', () => {
    expect(scan(nested(128)).kind).toBe('request');
    expect(scan(nested(129)).kind).toBe('too_deep');
    expect(scan(nested(128, '{"a":', '}').replace(':}', ':0}')).kind).toBe('request');
    expect(scan(nested(129, '{"a":', '}').replace(':}', ':0}')).kind).toBe('too_deep');
  });

  test('of a million levels is refused at once', () => {
    expect(scan('['.repeat(1_000_000)).kind).toBe('too_deep');
    expect(scan(nested(1_000_000)).kind).toBe('too_deep');
  });
});

describe('keys', () => {
  const object = (keys: number) =>
    `{${Array.from({ length: keys }, (_, index) => `"k${index}":0`).join(',')}}`;

  test('are at most 10,000 in the request and in the body', () => {
    expect(scan(`{"body":${object(10_000)}}`).kind).toBe('request');
    expect(scan(`{"body":${object(10_001)}}`)).toEqual({ kind: 'too_many_keys', within: 'body' });
    expect(scan(object(10_001))).toEqual({ kind: 'too_many_keys', within: 'request' });
  });

  test.each([
    ['{"a":1,"a":1}', 'request', 'a'],
    ['{"a":1,"\\u0061":1}', 'request', 'a'],
    ['{"body":{"model":"x","model":"y"}}', 'body', 'model'],
    ['{"body":{"model":"x","mod\\u0065l":"y"}}', 'body', 'model'],
    ['{"body":{"\\/":1,"/":2}}', 'body', '/'],
    [`{"body":{"x":0,${object(20).slice(1, -1)},"x":1}}`, 'body', 'x'],
    ['{"body":{"__proto__":1,"__proto__":2}}', 'body', '__proto__'],
  ])('that come twice in %s are refused', (line, within, duplicate) => {
    expect(scan(line)).toEqual({ kind: 'duplicate_key', within, name: duplicate });
  });

  test.each([
    '{"a":1,"A":1}',
    '{"é":1,"e\u0301":1}',
    '{"é":1,"\\u00c3\\u00a9":1}',
    '{"body":{"a":{"b":1,"b":2}}}',
    '{"a":1,"body":{"a":1}}',
  ])('that differ, or lie deeper, are fine: %s', (line) => {
    expect(scan(line).kind).toBe('request');
  });
});

test.each([
  ['[{"custom_id":"a"}]', true],
  ['[ {"custom_id":"a"}, {}]', true],
  ['[]', false],
  ['[1]', false],
  ['"text"', false],
  ['null', false],
  ['0', false],
])('a line with %s is no request', (line, holdsObjects) => {
  expect(scan(line)).toEqual({ kind: 'not_object', start: 0, holdsObjects });
});

test.each([
  ['{"a":', 5],
  ['{"a', 3],
  ['{"a\\', 5],
  ["{'a':1}", 1],
  ['{"a":NaN}', 5],
  ['{"a":1}{"b":2}', 7],
  ['{"a":"\t"}', 6],
  ['{"a":01}', 6],
  ['{"a":1,}', 7],
  ['{"a":"\\x"}', 7],
  ['{"a":"\\u12g4"}', 10],
])('in %s the fault is found at byte %i', (line, at) => {
  expect(scan(line)).toEqual({ kind: 'not_json', at: Math.min(at, line.length) });
});
