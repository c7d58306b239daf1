/** One word, one meaning: retired words stay away, the glossary is true, and tests are named after facts. */
import { dirname } from 'node:path';
import { expect, test } from 'vitest';
import { linesOf, paths, read } from '../support/repository.ts';
import { asWords, RETIRED, retiredIn } from '../support/words.ts';

/** These have the rows themselves, or prose of others. */
const EXEMPT = [
  'CHANGELOG.md',
  'test/support/words.ts',
  'test/contract/words.test.ts',
  'src/batch/validate/tokens.test.ts',
  'bench/validation.ts',
];
const FILES = (
  await paths(
    '{*.{md,ts},bin/*,.ci/*,.github/**/*.yml,scripts/**/*,{src,test,bench,docs,examples}/**/*.{ts,md,yaml,sh,py,mjs}}',
  )
).filter((path) => !EXEMPT.includes(path));

test('no name, comment, text or page has a retired word', () => {
  const found = FILES.flatMap((path) => [
    ...retiredIn(path).map((row) => ({ where: path, row })),
    ...linesOf(path).flatMap(({ number, text }) =>
      retiredIn(text).map((row) => ({ where: `${path}:${number}`, row })),
    ),
  ]);

  expect(
    found.map(({ where, row }) => `${where}: "${row.word}". Say: ${row.say}`),
    'Plain English, or a term of others, goes into "except" of its row in test/support/words.ts',
  ).toEqual([]);
});

test.each(RETIRED)('the retired word "$word" would be found', (row) => {
  expect(retiredIn(`const x = 1; // ${row.example ?? row.word}`)).toContain(row);
});

test('a retired word is found inside a name', () => {
  expect(retiredIn('const cattleFeedOf = 1;').map(({ word }) => word)).toEqual(['feed']);
  expect(retiredIn('src/batch/feed.test.ts').map(({ word }) => word)).toEqual(['feed']);
  expect(retiredIn('const feedback = 1;')).toEqual([]);
});

const GLOSSARY = [...section('The words').matchAll(/^\| ([^|]+?) +\| ([^|]+?) +\|$/gm)]
  .map(([, word = '', meaning = '']) => ({ word, meaning }))
  .filter(({ word }) => word !== 'word' && !/^-+$/.test(word));

test('the glossary is in the order of the alphabet, and says each meaning in a short cell', () => {
  const words = GLOSSARY.map(({ word }) => word);

  expect(words.length).toBeGreaterThan(50);
  expect(words, 'Put the word where the alphabet has it').toEqual(
    words.toSorted((a, b) => a.localeCompare(b, 'en')),
  );
  expect(words, 'Each word has one row').toEqual([...new Set(words)]);
  expect(
    GLOSSARY.filter(({ meaning }) => meaning.length > 140),
    'A meaning has at most 140 characters',
  ).toEqual([]);
});

test('the glossary has no retired word', () => {
  expect(GLOSSARY.filter(({ word }) => retiredIn(word).length > 0)).toEqual([]);
});

test('readers meet every word of the glossary in more than one folder', async () => {
  const sources = (await paths('{src,test,docs}/**/*.{ts,md}')).map((path) => ({
    folder: dirname(path),
    words: asWords(`${path}\n${read(path)}`).replaceAll(/[^a-z0-9]+/g, ' '),
  }));
  const lonely = GLOSSARY.filter(({ word }) => {
    const form = new RegExp(`\\b${asWords(word)}(?:s|es|ed)?\\b`);
    return new Set(sources.filter(({ words }) => form.test(words)).map(({ folder }) => folder)).size < 2;
  });

  expect(
    lonely.map(({ word }) => word),
    'One folder alone uses the word. Explain it there, and take it out of the glossary',
  ).toEqual([]);
});

test('the name of a test is a fact', async () => {
  const files = (await paths('{src,test}/**/*.ts')).filter((path) => path !== 'test/contract/words.test.ts');
  const call =
    /^( *)(?:(?:test|it)\b(?:\.\w+(?:\(.*?\))?)*|\](?: as const)?\))\(\s*(?:'((?:\\.|[^'\n])+)'|`([^`]+)`)/gm;
  const named = files.flatMap((path) => {
    const text = read(path);
    return Array.from(text.matchAll(call), ({ 1: indent, 2: plain, 3: template = '', index }) => ({
      where: `${path}:${text.slice(0, index).split('\n').length}`,
      isAlone: indent === '',
      name: plain ?? template,
    }));
  });
  const vague = named.filter(
    ({ isAlone, name }) =>
      /^(?:it )?(?:works|handles?|should|correctly|tests?)\b/i.test(name) ||
      (isAlone && !/%|\$\{/.test(name) && name.split(' ').length < 3),
  );

  expect(named.length).toBeGreaterThan(1_000);
  expect(
    vague.map(({ where, name }) => `${where}: ${name}`),
    'Say in plain words what is true when the test passes',
  ).toEqual([]);
});

function section(title: string): string {
  return (
    read('ARCHITECTURE.md')
      .split(/^## /m)
      .find((part) => part.startsWith(`${title}\n`)) ?? ''
  );
}
