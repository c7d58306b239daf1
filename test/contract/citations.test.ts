/** What comments, tests and pages cite: sections of the wire contract, promises, decisions, and files. */
import { existsSync } from 'node:fs';
import { readdir } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { expect, test } from 'vitest';
import { linesOf, paths, read, ROOT } from '../support/repository.ts';

const TEXTS = (
  await paths('{*.md,.github/**/*.yml,.ci/*,scripts/**/*,{src,test,bench,docs,examples}/**/*.{ts,md,yaml}}')
)
  .filter((path) => path !== 'CHANGELOG.md' && path !== 'test/contract/citations.test.ts')
  // A citation may go on in the next line, so what stands before a line of a comment becomes blank.
  .map((path) => ({
    path,
    text: read(path).replace(/^[ \t]*(?:\*|\/\/|#) /gm, (lead) => ' '.repeat(lead.length)),
  }));

interface Citation {
  readonly id: string;
  readonly where: string;
}

/** Each match, with its file and line. */
const cited = (pattern: RegExp): Citation[] =>
  TEXTS.flatMap(({ path, text }) =>
    Array.from(text.matchAll(pattern), (match) => ({
      id: match[1] ?? match[0],
      where: `${path}:${text.slice(0, match.index).split('\n').length}`,
    })),
  );

const numbersIn = (citations: readonly Citation[]): Citation[] =>
  citations.flatMap(({ id, where }) => [...id.matchAll(/\d+/g)].map(([number]) => ({ id: number, where })));

/** Those that nothing defines. */
const unknown = (citations: readonly Citation[], defined: readonly string[]): string[] =>
  citations.filter(({ id }) => !defined.includes(id)).map(({ id, where }) => `${where}: ${id}`);

test('every section of the wire contract that is cited exists', () => {
  const citations = cited(/§(\d+)/g);
  const sections = [...read('docs/contract.md').matchAll(/^## §(\d+)\./gm)].map(([, id = '']) => id);

  expect(citations.length).toBeGreaterThan(15);
  expect(unknown(citations, sections), `docs/contract.md has §${sections.join(', §')}`).toEqual([]);
});

test('a section is cited with the path of its page', () => {
  const bare = cited(/(?<!docs\/contract\.md\s+|§\d+(?:,|–|,? and|,? or)?\s*)§\d+/g).filter(
    ({ where }) => !where.startsWith('docs/contract.md:'),
  );

  expect(unknown(bare, []), 'Write "docs/contract.md §N"').toEqual([]);
});

test('every promise that is cited stands in docs/reliability.md', () => {
  const promises = [...read('docs/reliability.md').matchAll(/^\| (P\d+) /gm)].map(([, id = '']) => id);
  const citations = cited(/\b(P\d+)\b/g);

  expect(citations.length).toBeGreaterThan(100);
  expect(unknown(citations, promises), 'The promises are the rows of docs/reliability.md').toEqual([]);
});

test('every decision that is cited has its page', async () => {
  const decisions = (await paths('docs/adr/*.md')).map((path) => `${Number(path.slice(9, 13))}`);
  // A page says which one it replaces, and that one is gone.
  const citations = numbersIn(cited(/(?<!Replaces\s+)\bADRs?[\s-]+(\d+(?:(?:,|,? and|,? or)?\s+\d+)*)/gi));

  expect(citations.length).toBeGreaterThan(10);
  expect(unknown(citations, decisions), 'Each decision has its page in docs/adr').toEqual([]);
});

test('every file and folder that is named exists', async () => {
  const areas = (await readdir(join(ROOT, 'src'))).filter((name) => name !== 'tls');
  const rooted = new RegExp(
    `^(?:src|test|docs|bench|scripts|examples|bin|\\.ci|\\.github|${areas.join('|')})/`,
  );
  const isNamed = (name: string): boolean => /\.(?:ts|md)$/.test(name) || rooted.test(name);
  const named = TEXTS.flatMap(({ path }) => linesOf(path))
    .filter(({ path, text }) => path.endsWith('.md') || /^\s*(?:\/\/|\/?\*|#)| \/\/ /.test(text))
    .flatMap(({ path, number, text }) =>
      [...text.matchAll(/`((?:[\w.-]+\/)+[\w.-]*)`|(?<![\w/.])((?:[\w-]+\/)+[\w.-]+\.(?:ts|md))\b/g)].map(
        ([, quoted, bare]) => ({ path, number, name: quoted ?? bare ?? '' }),
      ),
    )
    .filter(({ name }) => isNamed(name));
  const missing = named.filter(
    ({ path, name }) => !['.', 'src', dirname(path)].some((base) => existsSync(join(ROOT, base, name))),
  );

  expect(named.length).toBeGreaterThan(60);
  expect(
    missing.map(({ path, number, name }) => `${path}:${number}: ${name}`),
    'Name what is there, from the root, from src or from the folder of the page',
  ).toEqual([]);
});

test('every folder in the way of a batch exists', () => {
  const [, way = ''] = /^## The straight line\n\n```\n(.*?)^```$/ms.exec(read('ARCHITECTURE.md')) ?? [];
  const folders = [...way.matchAll(/(?<![\w/])[a-z]+\/[a-z]+\b/g)].map(([folder]) => folder);

  expect(folders.length).toBeGreaterThan(5);
  expect(
    folders.filter((folder) => !existsSync(join(ROOT, 'src', folder))),
    'Mend "The straight line" of ARCHITECTURE.md',
  ).toEqual([]);
});

test('the map has every folder of the sources', async () => {
  const [, map = ''] = /^## The map\n(.*?)^## /ms.exec(read('ARCHITECTURE.md')) ?? [];
  const folders = (await paths('src/*/**/*.ts')).map((path) => {
    const [src, area, inner] = path.split('/');
    return area === 'stores' ? `${src}/${area}/${inner}` : `${src}/${area}`;
  });

  expect(
    [...new Set(folders)].filter((folder) => !map.includes(`\`${folder}\``)),
    'Describe it in "The map" of ARCHITECTURE.md',
  ).toEqual([]);
});
