import { cp, readFile, symlink } from 'node:fs/promises';
import { basename, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { freePorts, reader, sectionsOf, type Reader } from '../support/as-a-reader.ts';
import { lines, scratch } from './offpeak.ts';

const ROOT = fileURLToPath(new URL('../..', import.meta.url));
const SECTIONS = sectionsOf(await readFile(join(ROOT, 'README.md'), 'utf8'));
/** Files that a clone does not have. */
const LEFT_OUT = new Set(['.git', 'node_modules', 'dist', '.offpeak']);

let place: Awaited<ReturnType<typeof scratch>>;
let person: Reader;
let clone: string;
beforeAll(async () => {
  place = await scratch();
  clone = join(place.dir, 'offpeak');
  await cp(ROOT, clone, {
    recursive: true,
    filter: (path) => path === ROOT || !LEFT_OUT.has(basename(path)),
  });
  await symlink(join(ROOT, 'node_modules'), join(clone, 'node_modules'));
  person = reader({ env: environment(), ports: await freePorts(8080, 8081, 8000) });
});
afterAll(async () => {
  await person.leave();
  await place.remove();
});

/** The environment of a person with an empty home directory. npm uses the packages of this machine. */
function environment(): Record<string, string | undefined> {
  const npm = Object.entries(process.env).filter(([name]) => /^npm_config_/i.test(name));
  return {
    ...Object.fromEntries(npm),
    npm_config_prefix: join(place.dir, 'global'),
    npm_config_cache: process.env['npm_config_cache'] ?? join(process.env['HOME'] ?? '', '.npm'),
    npm_config_userconfig: join(process.env['HOME'] ?? '', '.npmrc'),
    npm_config_prefer_offline: 'true',
    npm_config_audit: 'false',
    PATH: `${join(place.dir, 'global', 'bin')}:${process.env['PATH']}`,
    HOME: place.dir,
    TMPDIR: place.dir,
  };
}

const answersIn = async (...path: string[]): Promise<string[]> =>
  lines(await readFile(join(place.dir, 'batches', ...path), 'utf8')).map(({ custom_id }) => custom_id);
const ALL = ['task-0', 'task-1', 'task-2'];

/** Checks what a reader sees at the end of each section. */
const SEEN: Readonly<Record<string, (said: string) => Promise<void> | void>> = {
  'In 60 seconds': (said) => {
    expect(said).toContain('[simulated] Microsoft was founded');
  },
  Install: (said) => {
    expect(said).toMatch(/^0\.1\.0$/m);
    expect(said).toContain('test.jsonl is fine.');
  },
  'Your model server': async () => {
    expect(await answersIn('answers.jsonl')).toEqual(ALL);
    expect(await answersIn('errors.jsonl')).toEqual([]);
  },
  'Your Azure code, on a laptop and in CI': (said) => {
    const shown = said.split('{"status":"ready"}');
    expect(shown[0]).toMatch(/^completed$/m);
    expect(shown[0]?.match(/"custom_id":"task-\d"/g)).toHaveLength(3);
    expect(shown[1]).toMatch(/^completed$/m);
    expect(shown[1]?.match(/"custom_id":"task-\d"/g)).toHaveLength(3);
    expect(shown[1]).toContain('content_filter');
  },
  'A script replaced': async (said) => {
    for (const name of ['out.jsonl', 'invented.jsonl', 'piped.jsonl'])
      expect(await answersIn(name)).toEqual(ALL);
    expect(said).toContain('simulated');
  },
  'A team': (said) => {
    expect(said).toContain('completed, 3/3');
    expect(said).toContain('deployment.create');
    expect(said).toContain('All is whole');
  },
};

test.each(SECTIONS)('README, “$heading”: each snippet works as it stands', async ({ heading, blocks }) => {
  const isAtWork = !['In 60 seconds', 'Install'].includes(heading);

  const said = await person.follow(blocks, isAtWork ? join(place.dir, 'batches') : clone);

  const seen = SEEN[heading];
  expect(seen, `this test must know what a reader sees after “${heading}”`).toBeDefined();
  await seen?.(said);
});
