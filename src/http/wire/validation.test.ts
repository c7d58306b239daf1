import { expect, test } from 'vitest';
import { z } from 'zod';
import { check } from './validation.ts';

const schema = z.looseObject({
  limit: z.coerce.number().int().min(1).max(100).optional(),
  count: z.int().optional(),
  name: z.string().min(1).max(5).optional(),
  names: z.array(z.string()).min(1).max(2).optional(),
  own: z.string().min(2, 'A name of two letters is the shortest').optional(),
  tags: z.record(z.string(), z.string()).optional(),
});

test.each([
  [{ limit: '0' }, "Invalid value for 'limit': '0'. It must be at least 1."],
  [{ limit: '101' }, "Invalid value for 'limit': '101'. It must be at most 100."],
  [{ limit: 'x' }, "Invalid value for 'limit': 'x'. It must be a whole number."],
  [{ count: 1.5 }, "Invalid value for 'count': 1.5. It must be a whole number."],
  [{ count: '1' }, "Invalid value for 'count': '1'. It must be a whole number."],
  [{ name: '' }, "Invalid value for 'name': ''. It must not be empty."],
  [{ name: 'longer' }, "Invalid value for 'name': 'longer'. It must have at most 5 characters."],
  [{ names: [] }, "Invalid value for 'names': an array. It must not be empty."],
  [{ names: ['a', 'b', 'c'] }, "Invalid value for 'names': an array. It must have at most 2 entries."],
  [{ own: 'x' }, "Invalid value for 'own': 'x'. A name of two letters is the shortest."],
  [{ tags: [] }, "Invalid type for 'tags': expected an object, but got an array instead."],
  [{ tags: { a: 1 } }, "Invalid type for 'tags.a': expected a string, but got a number instead."],
])('%j is refused in words for people', (input, message) => {
  expect(check(schema, input)).toMatchObject({ error: { message } });
});
