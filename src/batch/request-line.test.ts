import fc from 'fast-check';
import { expect, test } from 'vitest';

import { scanRequestLine, stringAt } from './request-line.ts';

/** Writes JSON with the freedom that JSON gives: white space anywhere, any character as an escape. */
const spelled = (value: unknown, random: () => number): string => {
  const space = () => ['', '', ' ', '\t', '\r', '  '][Math.floor(random() * 6)] ?? '';
  if (typeof value === 'string') {
    const escaped = [...Array(value.length).keys()].map((index) => {
      const unit = value.charCodeAt(index);
      const plain = JSON.stringify(value[index]).slice(1, -1);
      return random() < 0.1 ? `\\u${unit.toString(16).padStart(4, '0')}` : plain;
    });
    return `"${escaped.join('')}"`;
  }
  if (Array.isArray(value))
    return `[${space()}${value.map((item) => spelled(item, random)).join(`${space()},${space()}`)}${space()}]`;
  if (typeof value === 'object' && value !== null) {
    const members = Object.entries(value).map(
      ([name, member]) =>
        `${space()}${spelled(name, random)}${space()}:${space()}${spelled(member, random)}${space()}`,
    );
    return `{${members.join(',')}}`;
  }
  return JSON.stringify(value);
};

const text = fc.oneof(
  fc.string({ unit: 'binary', maxLength: 60 }),
  fc
    .array(
      fc.constantFrom('\\', '"', '}', '{', ']', '[', ',', ':', '\n', '\u2028', '가', '😀', 'x'.repeat(40)),
      { maxLength: 12 },
    )
    .map((parts) => parts.join('')),
);
const request = fc.record({
  others: fc.dictionary(text, fc.jsonValue({ maxDepth: 3 }), { maxKeys: 3 }),
  customId: text,
  url: text,
  model: text,
  body: fc.dictionary(text, fc.oneof(text, fc.jsonValue({ maxDepth: 3 })), { maxKeys: 3 }),
  order: fc.array(fc.nat(), { minLength: 20, maxLength: 20 }),
  seed: fc.integer({ min: 1, max: 2 ** 31 - 2 }),
});

test('finds the parts that JSON.parse finds, however a line is spelled and ordered', () => {
  fc.assert(
    fc.property(request, ({ others, customId, url, model, body, order, seed }) => {
      const inOrder = (members: readonly (readonly [string, unknown])[]) =>
        Object.fromEntries(
          members
            .map((member, index) => [order[index % order.length] ?? 0, member] as const)
            .toSorted(([a], [b]) => a - b)
            .map(([, member]) => member),
        );
      const value = inOrder([
        ...Object.entries(others),
        ['custom_id', customId],
        ['method', 'POST'],
        ['url', url],
        ['body', inOrder([...Object.entries(body), ['model', model]])],
      ]);
      let state = seed;
      const line = Buffer.from(
        spelled(value, () => (state = (state * 48_271) % 2_147_483_647) / 2_147_483_647),
      );
      const expected = JSON.parse(line.toString()) as Record<string, unknown>;

      const found = scanRequestLine(line);

      expect(stringAt(line, found.customId)).toBe(expected['custom_id']);
      expect(stringAt(line, found.url)).toBe(expected['url']);
      expect(stringAt(line, found.model)).toBe((expected['body'] as Record<string, unknown>)['model']);
      expect(JSON.parse(line.toString('utf8', found.body.start, found.body.end))).toEqual(expected['body']);
      expect(JSON.parse(line.toString('utf8', found.customId.start, found.customId.end))).toBe(
        expected['custom_id'],
      );
    }),
    { numRuns: 2_000 },
  );
});

test('leaves out white space around the parts', () => {
  const line = Buffer.from(
    ' { "custom_id" :\t"a" , "method":"POST", "url" : "/b" , "body" : { "model" : "m" } } ',
  );

  const { customId, url, body, model } = scanRequestLine(line);

  expect([customId, url, body, model].map(({ start, end }) => line.toString('utf8', start, end))).toEqual([
    '"a"',
    '"/b"',
    '{ "model" : "m" }',
    '"m"',
  ]);
});

test('is not led astray by names of members deeper down or outside of body', () => {
  const line = Buffer.from(
    '{"model":"x","body":{"messages":[{"model":"y"}],"metadata":{"model":"z"},"model":"m"},"custom_id":"a","method":"POST","url":"/b"}',
  );

  expect(stringAt(line, scanRequestLine(line).model)).toBe('m');
});

test('throws on a line without one of the parts', () => {
  expect(() => scanRequestLine(Buffer.from('{"custom_id":"a","url":"/b","body":{}}'))).toThrow('not passed');
});

test('always ends, also on bytes that are no JSON', () => {
  const start = '{"custom_id":"a","body":{"model":"m"},"url":"/b"}';
  fc.assert(
    fc.property(
      fc.array(fc.tuple(fc.nat(), fc.nat(255)), { maxLength: 5 }),
      fc.nat(start.length),
      (edits, length) => {
        const line = Buffer.from(start).subarray(0, length);
        for (const [at, byte] of edits) if (length > 0) line[at % length] = byte;
        expect(bodyEnd(line)).toBeLessThanOrEqual(line.length + 1);
      },
    ),
    { numRuns: 2_000 },
  );
});

/** -1: it threw. */
function bodyEnd(line: Buffer): number {
  try {
    return scanRequestLine(line).body.end;
  } catch {
    return -1;
  }
}
