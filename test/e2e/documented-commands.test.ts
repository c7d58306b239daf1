import { glob, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { offpeak, scratch } from './offpeak.ts';

const ROOT = fileURLToPath(new URL('../..', import.meta.url));
/** These have commands below them. */
const GROUPS = new Set(['batches', 'files', 'resources', 'deployments']);

/** The flags that the documents give to each command. */
const FLAGS = new Map<string, Set<string>>();
for await (const path of glob('{README.md,docs/*.md,examples/*}', { cwd: ROOT })) {
  const text = await readFile(join(ROOT, path), 'utf8');
  // A command line ends with its line, its code span, a pipe, a comment, or the next command.
  for (const [, line = ''] of text.matchAll(/(?<=^|[`(] ?|\s)offpeak ([a-z][^\n`|#;)]*)/gm)) {
    const words = line.split(/\s+/);
    const command = words.slice(0, GROUPS.has(words[0] ?? '') ? 2 : 1).join(' ');
    const flags = FLAGS.get(command) ?? new Set<string>();
    for (const [flag] of line.matchAll(/(?<=\s)--[a-z][a-z-]+/g)) flags.add(flag);
    if (flags.size > 0) FLAGS.set(command, flags);
  }
}

let place: Awaited<ReturnType<typeof scratch>>;
beforeAll(async () => {
  place = await scratch();
});
afterAll(() => place.remove());

test('the documents have commands to check', () => {
  expect([...FLAGS.keys()]).toEqual(expect.arrayContaining(['serve', 'run', 'batches create']));
});

test.each([...FLAGS])('offpeak %s has the flags that the documents give it', async (command, flags) => {
  const { stdout } = await offpeak([...command.split(' '), '--help'], { cwd: place.dir });

  expect([...flags].filter((flag) => !new RegExp(`^  (-\\w, )?${flag}\\b`, 'm').test(stdout))).toEqual([]);
});
