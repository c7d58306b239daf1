import { readFile } from 'node:fs/promises';
import { expect, test } from 'vitest';
import { EXIT, EXIT_CODES } from './exit.ts';

test('docs/command-line.md has the table of exit codes', async () => {
  const page = await readFile(new URL('../../../docs/command-line.md', import.meta.url), 'utf8');

  const rows = [...page.matchAll(/^\| `(\d+)` +\| (.+?) +\|$/gm)].map(([, code, meaning]) => ({
    code: Number(code),
    meaning,
  }));

  expect(rows).toEqual(Object.values(EXIT_CODES));
});

test('no two exit codes are the same', () => {
  expect(new Set(Object.values(EXIT)).size).toBe(Object.keys(EXIT_CODES).length);
});
