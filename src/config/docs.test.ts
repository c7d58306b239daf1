import { readFile } from 'node:fs/promises';
import { expect, test } from 'vitest';
import { configurationPage } from './docs.ts';
import { envName, OPTION_NAMES, yamlPath } from './options.ts';

test('docs/configuration.md is what the option table says; `npm run fix` writes it', async () => {
  const page = await readFile(new URL('../../docs/configuration.md', import.meta.url), 'utf8');

  expect(page).toBe(configurationPage());
});

test('no two options share a variable or a key of the file', () => {
  const variables = OPTION_NAMES.map(envName);
  const paths = OPTION_NAMES.map((name) => yamlPath(name)?.join('.')).filter((path) => path !== undefined);

  expect(new Set(variables).size).toBe(variables.length);
  expect(new Set(paths).size).toBe(paths.length);
});
