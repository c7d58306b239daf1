/** The files of this repository, for tests that read them as text. */
import { readFileSync, statSync } from 'node:fs';
import { glob } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

export const ROOT = fileURLToPath(new URL('../..', import.meta.url));

export const read = (path: string): string => readFileSync(join(ROOT, path), 'utf8');

/** Paths from the root, sorted. What is installed, built or written by tools is left out. */
export async function paths(pattern: string): Promise<string[]> {
  const found: string[] = [];
  for await (const path of glob(pattern, { cwd: ROOT, exclude: ['node_modules', 'dist'] }))
    if (statSync(join(ROOT, path)).isFile()) found.push(path);
  return found.sort();
}

export interface Line {
  readonly path: string;
  /** From 1. */
  readonly number: number;
  readonly text: string;
}

export const linesOf = (path: string): Line[] =>
  read(path)
    .split('\n')
    .map((text, index) => ({ path, number: index + 1, text }));
