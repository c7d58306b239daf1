import { readFile } from 'node:fs/promises';
import { expect, test } from 'vitest';
import { API_ERRORS } from '../../src/contract/error.ts';
import { errorPage } from './errors.ts';
import { withEvents } from './events.ts';
import { withRoles } from './roles.ts';

const page = (name: string) => readFile(new URL(`../../docs/${name}.md`, import.meta.url), 'utf8');

test('docs/errors.md is what the tables of errors say; `npm run fix` writes it', async () => {
  expect(await page('errors')).toBe(errorPage());
});

test('docs/errors.md has every code that a caller can get, of both dialects', () => {
  const page = errorPage();
  const codes = Object.values(API_ERRORS).flatMap(({ azure, openai }) => [azure, openai ?? azure]);

  expect(codes.filter((code) => !page.includes(`\`${code}\``))).toEqual([]);
});

test('docs/identity.md has the table of what each role allows; `npm run fix` writes it', async () => {
  const identity = await page('identity');

  expect(identity).toBe(withRoles(identity));
});

test('docs/operations.md has every event and every field of the log; `npm run fix` writes them', async () => {
  const operations = await page('operations');

  expect(operations).toBe(withEvents(operations));
});
