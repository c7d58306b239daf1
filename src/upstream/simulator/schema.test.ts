import { Ajv2020 } from 'ajv/dist/2020.js';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { createRandom } from './random.ts';
import { RequestError } from './request-error.ts';
import { sampleSchema } from './schema.ts';

const ajv = new Ajv2020({ strict: false, allErrors: true, validateFormats: false });

/** Returns what is wrong with samples of a few seeds. */
function faults(schema: object, seeds = 20): unknown[] {
  const validate = ajv.compile(schema);
  const wrong = [];
  for (let seed = 0; seed < seeds; seed++) {
    const value: unknown = JSON.parse(JSON.stringify(sampleSchema(schema, createRandom(seed))));
    if (!validate(value)) wrong.push({ value, errors: validate.errors });
  }
  return wrong;
}

describe('schemas that people use', () => {
  test.each<[string, object]>([
    [
      'an event, as in the guides',
      {
        type: 'object',
        properties: {
          name: { type: 'string' },
          date: { type: 'string', format: 'date' },
          participants: { type: 'array', items: { type: 'string' } },
        },
        required: ['name', 'date', 'participants'],
        additionalProperties: false,
      },
    ],
    [
      'steps of a solution, by $defs',
      {
        type: 'object',
        properties: { steps: { type: 'array', items: { $ref: '#/$defs/step' } }, final: { type: 'string' } },
        $defs: {
          step: {
            type: 'object',
            properties: { explanation: { type: 'string' }, output: { type: 'string' } },
            required: ['explanation', 'output'],
            additionalProperties: false,
          },
        },
        required: ['steps', 'final'],
        additionalProperties: false,
      },
    ],
    [
      'a tree that refers to its root',
      {
        type: 'object',
        properties: {
          kind: { type: 'string', enum: ['div', 'button'] },
          children: { type: 'array', items: { $ref: '#' } },
          attributes: {
            type: 'array',
            items: { type: 'object', properties: { name: { type: 'string' } }, required: ['name'] },
          },
        },
        required: ['kind', 'children', 'attributes'],
        additionalProperties: false,
      },
    ],
    [
      'a linked list that ends in null',
      {
        type: 'object',
        properties: { list: { $ref: '#/$defs/node' } },
        required: ['list'],
        $defs: {
          node: {
            type: 'object',
            properties: {
              value: { type: 'number' },
              next: { anyOf: [{ $ref: '#/$defs/node' }, { type: 'null' }] },
            },
            required: ['value', 'next'],
            additionalProperties: false,
          },
        },
      },
    ],
    [
      'anyOf with shared parts',
      {
        type: 'object',
        properties: { id: { type: 'integer', minimum: 5 } },
        required: ['id'],
        anyOf: [
          { properties: { a: { const: 1 } }, required: ['a'] },
          { properties: { b: { type: ['string', 'null'] } }, required: ['b'] },
        ],
      },
    ],
    [
      'allOf of definitions',
      {
        allOf: [
          { $ref: '#/definitions/named' },
          { properties: { age: { type: 'integer' } }, required: ['age'] },
        ],
        definitions: {
          named: { type: 'object', properties: { name: { type: 'string' } }, required: ['name'] },
        },
      },
    ],
    ['a name with slash and tilde', { $ref: '#/$defs/a~1b~0c', $defs: { 'a/b~c': { const: 7 } } }],
    [
      'a property called __proto__',
      JSON.parse('{"type":"object","properties":{"__proto__":{"type":"integer"}},"required":["__proto__"]}'),
    ],
    ['distinct items', { type: 'array', uniqueItems: true, minItems: 3, items: { enum: [1, 2, 3] } }],
    [
      'a tuple',
      { type: 'array', prefixItems: [{ type: 'string' }, { type: 'integer' }], items: false, minItems: 2 },
    ],
    [
      'a property that is only required',
      { type: 'object', required: ['x'], additionalProperties: { type: 'boolean' } },
    ],
    [
      'more properties than are named',
      { type: 'object', minProperties: 3, properties: { a: { type: 'null' } } },
    ],
    ['money', { type: 'number', multipleOf: 0.01, minimum: 0.01, maximum: 99.99 }],
    ['a narrow open range', { type: 'number', exclusiveMinimum: 0, exclusiveMaximum: 0.001 }],
    ['the one whole number between', { type: 'integer', exclusiveMinimum: 2.5, exclusiveMaximum: 3.5 }],
    ['a large multiple', { type: 'integer', multipleOf: 700, minimum: 1_399 }],
    ['a negative maximum', { type: 'number', maximum: -1e6 }],
    ['a pattern', { type: 'string', pattern: '^@[a-zA-Z0-9_]+$' }],
    ['a pattern with a length', { type: 'string', pattern: '^[a-z]+$', minLength: 12, maxLength: 14 }],
    ['a phone number', { type: 'string', pattern: '^\\(?\\d{3}\\)?[-. ]?\\d{3}-\\d{4}$' }],
    ['alternatives in groups', { type: 'string', pattern: '^(?:(red|green)|b[^a-z]{2}\\W\\S)\\.$' }],
    ['nothing at all', {}],
  ])('%s is satisfied', (_what, schema) => {
    expect(faults(schema)).toEqual([]);
  });

  test.each([
    ['date-time', (text: string) => new Date(text).toISOString().startsWith(text.slice(0, 19))],
    ['date', (text: string) => new Date(text).toISOString().startsWith(text)],
    ['time', (text: string) => !Number.isNaN(Date.parse(`2026-01-01T${text}`))],
    ['duration', (text: string) => /^P\d+DT\d+H$/.test(text)],
    ['email', (text: string) => /^[\w.]+@example\.com$/.test(text)],
    ['hostname', (text: string) => URL.canParse(`http://${text}/`)],
    ['ipv4', (text: string) => /^192\.0\.2\.\d{1,3}$/.test(text)],
    ['ipv6', (text: string) => URL.canParse(`http://[${text}]/`)],
    [
      'uuid',
      (text: string) => /^[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/.test(text),
    ],
    ['uri', (text: string) => URL.canParse(text)],
  ])('format %s is kept', (format, holds) => {
    for (let seed = 0; seed < 50; seed++) {
      const text = sampleSchema({ type: 'string', format }, createRandom(seed));

      expect(text).toSatisfy(holds);
    }
  });
});

test('any schema made of the supported parts is satisfied', () => {
  const { schema } = fc.letrec<{ schema: object }>((tie) => {
    const size = fc.nat({ max: 5 });
    const range = fc.tuple(fc.integer({ min: -1_000, max: 1_000 }), fc.nat({ max: 50 }));
    // ajv itself stumbles over a `toString` inside a const.
    const plain = fc.oneof(
      fc.string(),
      fc.double({ noNaN: true, noDefaultInfinity: true }).map((x) => x || 0),
      fc.boolean(),
      fc.constant(null),
      fc.array(fc.integer()),
    );
    const name = fc.constantFrom('a', 'b', 'name', '한글', 'with space', 'constructor', 'toString');
    return {
      schema: fc.oneof(
        { maxDepth: 4, withCrossShrink: true },
        fc.constantFrom({ type: 'boolean' }, { type: 'null' }, { type: ['integer', 'null'] }, {}),
        fc.array(plain, { minLength: 1, maxLength: 4 }).map((values) => ({ enum: values })),
        plain.map((value) => ({ const: value })),
        fc
          .tuple(size, size)
          .map(([min, more]) => ({ type: 'string', minLength: min, maxLength: min + more })),
        range.map(([minimum, more]) => ({ type: 'integer', minimum, maximum: minimum + more })),
        range.map(([low, more]) => ({
          type: 'number',
          exclusiveMinimum: low,
          exclusiveMaximum: low + more + 1,
        })),
        fc
          .tuple(fc.integer({ min: 1, max: 20 }), range)
          .map(([multipleOf, [minimum]]) => ({ type: 'integer', multipleOf, minimum })),
        fc
          .tuple(tie('schema'), size, size)
          .map(([items, minItems, more]) => ({ type: 'array', items, minItems, maxItems: minItems + more })),
        fc.array(tie('schema'), { minLength: 1, maxLength: 3 }).map((anyOf) => ({ anyOf })),
        fc
          .tuple(fc.dictionary(name, tie('schema'), { maxKeys: 4 }), fc.boolean())
          .map(([properties, strict]) => ({
            type: 'object',
            properties,
            ...(strict && { required: Object.keys(properties), additionalProperties: false }),
          })),
      ),
    };
  });

  fc.assert(
    fc.property(schema, fc.nat(), (made, seed) => {
      const validate = ajv.compile(made);

      const value: unknown = JSON.parse(JSON.stringify(sampleSchema(made, createRandom(seed))));

      expect({ valid: validate(value), value, errors: validate.errors }).toMatchObject({ valid: true });
    }),
    { numRuns: 300 },
  );
});

describe('schemas that would do harm or cannot be met', () => {
  const doubling = Object.fromEntries(
    Array.from({ length: 40 }, (_, n) => [
      `d${n}`,
      { type: 'array', minItems: 2, items: { $ref: `#/$defs/d${n + 1}` } },
    ]),
  );

  test.each<[string, unknown, RegExp]>([
    [
      'a laugh of a billion',
      { $ref: '#/$defs/d0', $defs: { ...doubling, d40: { type: 'null' } } },
      /more than 5000 parts|deeper/,
    ],
    [
      'a recursion without an end',
      { type: 'object', properties: { a: { $ref: '#' } }, required: ['a'] },
      /deeper than 64/,
    ],
    ['a reference to itself', { $ref: '#/$defs/a', $defs: { a: { $ref: '#/$defs/a' } } }, /deeper than 64/],
    [
      'a choice of itself',
      { anyOf: [{ $ref: '#/$defs/a' }], $defs: { a: { $ref: '#/$defs/a' } } },
      /leads to itself/,
    ],
    ['a billion items', { type: 'array', minItems: 1e9 }, /more than 5000 parts/],
    ['a billion characters', { type: 'string', minLength: 1e9 }, /100000 characters/],
    ['a billion properties', { type: 'object', minProperties: 1e9 }, /more than 5000 parts/],
    ['a pattern of a billion', { type: 'string', pattern: '((a{1000}){1000}){1000}' }, /pattern/],
    ['a pattern that never ends', { type: 'string', pattern: '('.repeat(10_000) }, /pattern/],
    ['a pattern with a look-ahead', { type: 'string', pattern: '(?=a)b' }, /pattern/],
    ['a pattern with a back-reference', { type: 'string', pattern: '(a)\\1' }, /pattern/],
    ['a pattern that breaks off', { type: 'string', pattern: '[a-' }, /pattern/],
    ['a reference to elsewhere', { $ref: 'https://example.com/schema' }, /outside itself/],
    ['a reference to nothing', { $ref: '#/$defs/none' }, /not there/],
    ['an empty range', { type: 'integer', minimum: 3, maximum: 2 }, /number from/],
    ['no whole number between', { type: 'integer', exclusiveMinimum: 1, exclusiveMaximum: 2 }, /number from/],
    [
      'too few different items',
      { type: 'array', uniqueItems: true, minItems: 3, items: { type: 'boolean' } },
      /different items/,
    ],
    ['an unknown type', { type: 'date' }, /unknown type/],
    ['a string for a schema', { type: 'object', properties: { a: 'string' } }, /neither an object nor true/],
    [
      'a schema that nothing meets',
      { type: 'object', properties: { a: false } },
      /neither an object nor true/,
    ],
  ])('%s is refused at once, and the message says what it is', (_what, schema, message) => {
    const started = performance.now();

    expect(() => sampleSchema(schema, createRandom(1))).toThrow(RequestError);
    expect(() => sampleSchema(schema, createRandom(1))).toThrow(message);
    expect(performance.now() - started).toBeLessThan(2_000);
  });
});
