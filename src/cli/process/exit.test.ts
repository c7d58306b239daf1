import { readFile } from 'node:fs/promises';
import { expect, test } from 'vitest';
import { EXIT, EXIT_MEANINGS } from './exit.ts';

test('docs/command-line.md has the table of exit codes', async () => {
  const page = await readFile(new URL('../../../docs/command-line.md', import.meta.url), 'utf8');

  const rows = [...page.matchAll(/^\| `(\d+)` +\| (.+?) +\|$/gm)].map(([, code, meaning]) => [code, meaning]);

  expect(rows).toEqual(Object.entries(EXIT_MEANINGS));
});

test('no two exit codes are the same', () => {
  expect(new Set(Object.values(EXIT)).size).toBe(Object.keys(EXIT).length);
});
