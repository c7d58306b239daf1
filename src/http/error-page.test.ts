import { readFile } from 'node:fs/promises';
import { expect, test } from 'vitest';
import { API_ERRORS } from '../contract/error.ts';
import { errorPage } from './error-page.ts';

test('docs/errors.md is what the tables of errors say; `npm run fix` writes it', async () => {
  const page = await readFile(new URL('../../docs/errors.md', import.meta.url), 'utf8');

  expect(page).toBe(errorPage());
});

test('every code that a caller can get is on the page, of both dialects', () => {
  const page = errorPage();
  const codes = Object.values(API_ERRORS).flatMap(({ azure, openai }) => [azure, openai ?? azure]);

  expect(codes.filter((code) => !page.includes(`\`${code}\``))).toEqual([]);
});
