import { readFile } from 'node:fs/promises';
import { expect, test } from 'vitest';
import { withEvents } from './events-docs.ts';

test('docs/operations.md has every event and every field of the log', async () => {
  const page = await readFile(new URL('../../docs/operations.md', import.meta.url), 'utf8');

  expect(page).toBe(withEvents(page));
});
