import { expect, test } from 'vitest';
import { byteSize, factLines, fitted, fittedTable, oneLine, plain, table, tokenCount } from './print.ts';
import { displayWidth, padTo, wrap } from './width.ts';

test.each([
  ['\u001B[31mred\u001B[0m', 'red'],
  ['\u001B]0;title\u0007text', 'text'],
  ['a\u0000\b\u009B2Jb', 'ab'],
  ['user\u202Egnp.exe', 'usergnp.exe'],
  ['tab\tand\nline, 한국어, 👩‍👩‍👧', 'tab\tand\nline, 한국어, 👩‍👩‍👧'],
])('%j is shown as %j', (remote, shown) => {
  expect(plain(remote)).toBe(shown);
});

test.each([
  ['abc', 3],
  ['한국어', 6],
  ['日本', 4],
  ['e\u0301', 1],
  ['👩‍👩‍👧', 2],
  ['ﾊﾝ', 2],
  ['', 0],
])('%j takes %d columns', (text, width) => {
  expect(displayWidth(text)).toBe(width);
  expect(displayWidth(padTo(text, 10))).toBe(10);
});

test('lines are broken at blanks, and a word that is longer than a line is cut', () => {
  expect(wrap('a sentence in words', 10)).toEqual(['a sentence', 'in words']);
  expect(wrap('한국어 문장입니다', 6)).toEqual(['한국어', '문장입', '니다']);
  expect(wrap('', 10)).toEqual(['']);
});

test('a message is broken at the width of the terminal, but a line to copy is not', () => {
  const command = `next: offpeak batches download ${'x'.repeat(40)}`;

  expect(fitted(`${'word '.repeat(10)}end\n${command}`, 30).split('\n')).toEqual([
    'word word word word word word',
    'word word word word end',
    command,
  ]);
});

const HEADINGS = ['name', 'model', 'served by'];
const ROWS = [
  ['nightly', 'gpt-4o 2024-08-06', 'frankfurt, virginia'],
  ['한국어-배치', 'llama', ''],
];

test.each([20, 40, 60, 80, 120, 200])('a table fits %d columns', (columns) => {
  const lines = fittedTable(HEADINGS, ROWS, columns).split('\n');

  for (const line of lines) expect(displayWidth(line)).toBeLessThanOrEqual(columns);
  const text = lines.join(' ').replaceAll(/\s+/g, ' ');
  for (const cell of ROWS.flat()) expect(text).toContain(cell);
});

test('a table that is too wide becomes a block for each row, with the names of the cells', () => {
  expect(fittedTable(HEADINGS, ROWS, 40)).toBe(
    [
      'nightly',
      '  model      gpt-4o 2024-08-06',
      '  served by  frankfurt, virginia',
      '한국어-배치',
      '  model  llama',
    ].join('\n'),
  );
});

test('a long value is wrapped below itself', () => {
  expect(
    factLines(
      [
        ['waiting', 'for a server that is down'],
        ['id', 'b'],
      ],
      30,
    ),
  ).toEqual(['waiting  for a server that is', '         down', 'id       b']);
});

test('text with newlines, tabs and escape sequences becomes one harmless line', () => {
  expect(oneLine('a\r\nb\tc')).toBe('a b c');
});

test('columns are as wide as their widest cell', () => {
  expect(
    table([
      ['a', 'bb', 'c'],
      ['aaa', 'b', 'cc'],
    ]),
  ).toBe('a    bb  c\naaa  b   cc');
});

test.each([
  [0, '0 B'],
  [1023, '1023 B'],
  [1536, '1.5 KiB'],
  [200 * 2 ** 20, '200.0 MiB'],
])('%d bytes read %s', (size, text) => {
  expect(byteSize(size)).toBe(text);
});

test.each([
  [0, '0'],
  [999, '999'],
  [1_234, '1,234'],
  [90_000, '90K'],
  [1_500_000, '1.5M'],
  [1_230_000, '1,230K'],
  [200_000_000, '200M'],
  [5_000_000_000, '5B'],
])('%d tokens read %s', (tokens, text) => {
  expect(tokenCount(tokens)).toBe(text);
});
