import { expect, test } from 'vitest';
import { byteSize, oneLine, plain, table, tokenCount } from './terminal.ts';

test.each([
  ['\u001B[31mred\u001B[0m', 'red'],
  ['\u001B]0;title\u0007text', 'text'],
  ['a\u0000\b\u009B2Jb', 'ab'],
  ['user\u202Egnp.exe', 'usergnp.exe'],
  ['tab\tand\nline, 한국어, 👩‍👩‍👧', 'tab\tand\nline, 한국어, 👩‍👩‍👧'],
])('%j is shown as %j', (remote, shown) => {
  expect(plain(remote)).toBe(shown);
});

test('a line stays one line', () => {
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
