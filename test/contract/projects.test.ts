import { matchesGlob } from 'node:path';
import { expect, test } from 'vitest';
import config from '../../vitest.config.ts';
import { linesOf, paths, read } from '../support/repository.ts';

interface Project {
  readonly test: {
    readonly name: string;
    readonly include: readonly string[];
    readonly exclude?: readonly string[];
  };
}

test('every test file runs in one project', async () => {
  const { projects } = config.test as { projects: Project[] };
  const matches = (path: string, globs: readonly string[] = []) =>
    globs.some((glob) => matchesGlob(path, glob));
  const homesOf = (path: string) =>
    projects.filter(({ test: { include, exclude } }) => matches(path, include) && !matches(path, exclude));

  const files = await paths('{src,scripts,test,bench,examples}/**/*.test.ts');

  expect(files.length).toBeGreaterThan(150);
  expect(
    files.filter((path) => homesOf(path).length !== 1),
    'Name its folder in "include" of one project of vitest.config.ts',
  ).toEqual([]);
});

test('every pattern of a project finds a test file', async () => {
  const { projects } = config.test as { projects: Project[] };
  const patterns = projects.flatMap(({ test: { include, exclude = [] } }) => [...include, ...exclude]);
  const found = await Promise.all(patterns.map((pattern) => paths(pattern)));

  expect(
    patterns.filter((_, i) => found[i]?.length === 0),
    'Take it out of vitest.config.ts, or mend it',
  ).toEqual([]);
});

test('CONTRIBUTING.md says of every folder of the tests what is tested there', async () => {
  const folders = (await paths('test/*/**/*.ts')).map((path) => path.split('/').slice(0, 2).join('/'));
  const page = read('CONTRIBUTING.md');

  expect(
    [...new Set(folders)].filter((folder) => !page.includes(`\n| \`${folder}\` `)),
    'Add a row to the table of folders in CONTRIBUTING.md',
  ).toEqual([]);
});

/** Time itself is what these tests are about. */
const WAITS = [
  'src/upstream/openai-http.test.ts', // A call begins in the middle of another one's deadline.
  'test/crash/kill.test.ts', // A process is stopped for seconds.
  'test/crash/full-disk.test.ts', // It waits until nothing has been sent for a while.
];

test('no test waits for a fixed time', async () => {
  const waits = (await paths('{src,test}/**/*.test.ts'))
    .filter((path) => !WAITS.includes(path))
    .flatMap(linesOf)
    .filter(({ text }) => /\b(?:sleep|wait|setTimeout)\((?:\w+, )?[\d_]{3,}\)/.test(text));

  expect(
    waits.map(({ path, number }) => `${path}:${number}`),
    'Wait for a condition, or move the clock of `test/support/manual-clock.ts` (STYLE 29)',
  ).toEqual([]);
});
