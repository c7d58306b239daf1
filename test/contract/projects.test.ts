import { matchesGlob } from 'node:path';
import { expect, test } from 'vitest';
import config from '../../vitest.config.ts';
import { paths } from '../support/repository.ts';

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
  expect(files.filter((path) => homesOf(path).length !== 1)).toEqual([]);
});

test('every pattern of a project finds a test file', async () => {
  const { projects } = config.test as { projects: Project[] };
  const patterns = projects.flatMap(({ test: { include, exclude = [] } }) => [...include, ...exclude]);
  const found = await Promise.all(patterns.map((pattern) => paths(pattern)));

  expect(patterns.filter((_, i) => found[i]?.length === 0)).toEqual([]);
});
