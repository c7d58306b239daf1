import { access } from 'node:fs/promises';
import { dirname, join, relative, resolve } from 'node:path';
import { describe, expect, test } from 'vitest';
import { paths, read, ROOT } from '../support/repository.ts';

const PAGES = await paths('{*.md,docs/**/*.md,examples/**/*.md}');

test.each(PAGES)('%s has no dead link', async (page) => {
  const dead: string[] = [];
  for (const [, link = ''] of prose(read(page)).matchAll(/\]\(([^)\s]+)\)/g)) {
    if (/^[a-z]+:/.test(link)) continue;
    const [path = '', anchor] = link.split('#');
    const target = path === '' ? page : relative(ROOT, resolve(ROOT, dirname(page), path));
    if (!(await exists(target))) dead.push(link);
    else if (anchor !== undefined && !anchorsOf(read(target)).has(anchor)) dead.push(link);
  }

  expect(dead, 'Mend the link, or the heading that it names').toEqual([]);
});

test('the README has at most 250 lines', () => {
  const lines = read('README.md').split('\n').length - 1;

  expect(lines, 'Move details to a page of docs, and link to it').toBeLessThanOrEqual(250);
});

test('the index of the documents names every page', async () => {
  const index = read('docs/README.md');
  const pages = (await paths('docs/*.md')).map((path) => path.slice('docs/'.length));

  const missing = pages.filter((name) => name !== 'README.md' && !index.includes(`](${name})`));
  expect(missing, 'Add a link to docs/README.md').toEqual([]);
});

test.each(await paths('docs/adr/*.md'))(
  '%s has its number in the title, and says what, why and at what price',
  (path) => {
    const page = read(path);
    const number = Number(path.slice('docs/adr/'.length, 'docs/adr/0000'.length));

    expect(page, 'The title is "# N. …", with the number of the file').toMatch(
      new RegExp(`^# ${number}\\. `),
    );
    for (const part of ['Decision', 'Why', 'Price'])
      expect(page, `"A decision" of CONTRIBUTING.md names the parts. Write "**${part}.** …"`).toContain(
        `\n**${part}.**`,
      );
  },
);

test('no two decisions have one number', async () => {
  const numbers = (await paths('docs/adr/*.md')).map((path) =>
    path.slice('docs/adr/'.length, 'docs/adr/0000'.length),
  );

  expect(numbers, 'Take the next free number').toEqual([...new Set(numbers)]);
});

describe('what the package carries', () => {
  const { files } = JSON.parse(read('package.json')) as { files: string[] };

  test.each(PAGES.filter((path) => files.some((name) => path === name || path.startsWith(`${name}/`))))(
    '%s links to nothing that stays behind',
    (page) => {
      const targets = [...prose(read(page)).matchAll(/\]\(([^)#\s]+)[^)]*\)/g)]
        .map(([, link = '']) => link)
        .filter((link) => !/^[a-z]+:/.test(link))
        .map((link) => relative(ROOT, resolve(ROOT, dirname(page), link)));

      const carried = (path: string) => files.some((name) => path === name || path.startsWith(`${name}/`));
      expect(
        targets.filter((path) => !carried(path)),
        'Add the target to "files" of package.json, or do not link to it',
      ).toEqual([]);
    },
  );
});

test('what operations.md quotes is what the program says', async () => {
  const sources = (await paths('src/**/*.ts')).map(read).join('\n').replaceAll("\\'", "'");
  const quoted = [...read('docs/operations.md').matchAll(/«([^»]+)»/g)].map(([, text = '']) => text);

  const phrases = quoted.flatMap((text) => text.split(/…|: |[,;] /)).map((text) => text.trim());
  expect(quoted.length).toBeGreaterThan(5);
  expect(
    phrases.filter((phrase) => phrase.length > 3 && !sources.includes(phrase)),
    'Quote in docs/operations.md what the program says now',
  ).toEqual([]);
});

const exists = (path: string): Promise<boolean> =>
  access(join(ROOT, path)).then(
    () => true,
    () => false,
  );

/** Without code, in which nothing is a link or a heading. */
const prose = (markdown: string): string =>
  markdown.replace(/^( *)```.*?^\1```$/gms, '').replace(/`[^`\n]*`/g, 'x');

/** As GitHub makes them from headings. */
function anchorsOf(markdown: string): ReadonlySet<string> {
  const headings = markdown.replace(/^( *)```.*?^\1```$/gms, '').matchAll(/^#+ (.+)$/gm);
  return new Set(
    Array.from(headings, ([, heading = '']) =>
      heading
        .toLowerCase()
        .replace(/[^\p{L}\p{N} _-]/gu, '')
        .replaceAll(' ', '-'),
    ),
  );
}
