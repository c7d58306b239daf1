import { stripVTControlCharacters } from 'node:util';

/** Text that came from elsewhere, made harmless for a terminal: no escape sequences, no control characters. */
export const plain = (text: string): string =>
  stripVTControlCharacters(text).replaceAll(/(?![\t\n])[\p{Cc}\u202a-\u202e\u2066-\u2069]/gu, '');

/** On one line: tabs and newlines become spaces. */
export const oneLine = (text: string): string => plain(text.replaceAll(/\s+/g, ' '));

export const print = (line: string): void => {
  process.stdout.write(`${line}\n`);
};
export const printJson = (value: unknown): void =>
  print(JSON.stringify(value, null, process.stdout.isTTY ? 2 : 0));
/** For people: what happens, what went wrong. Results go to stdout, so that a pipe gets only them. */
export const note = (line: string): void => {
  process.stderr.write(`${line}\n`);
};

/** Columns of equal width, the last one as long as it likes. */
export function table(rows: readonly (readonly string[])[]): string {
  const columns = Math.max(0, ...rows.map((row) => row.length));
  const widths = Array.from({ length: columns }, (_, at) =>
    Math.max(...rows.map((row) => (row[at] ?? '').length)),
  );
  return rows
    .map((row) =>
      row.map((cell, at) => (at === columns - 1 ? cell : cell.padEnd(widths[at] ?? 0))).join('  '),
    )
    .join('\n');
}

/** A list for people and for scripts: with headings on a terminal, without them elsewhere. */
export function printTable(headings: readonly string[], rows: readonly (readonly string[])[]): void {
  const shown = process.stdout.isTTY ? [headings.map((heading) => heading.toUpperCase()), ...rows] : rows;
  if (rows.length > 0) print(table(shown));
}

/** A page of a list: a row an item, and how to get the next. As JSON: the items. */
export function printPage<T extends { readonly id: string }>(
  { data, hasMore }: { readonly data: readonly T[]; readonly hasMore: boolean },
  { json, row }: { readonly json: boolean; readonly row: (item: T) => readonly string[] },
): void {
  if (json) return printJson(data);
  if (data.length > 0) print(table(data.map(row)));
  if (hasMore) note(`There are more: --after ${oneLine(data.at(-1)?.id ?? '')}`);
}

export const dateTime = (unixSeconds: number): string =>
  new Date(unixSeconds * 1000).toISOString().replace('T', ' ').slice(0, 19);

const BYTE_UNITS = ['B', 'KiB', 'MiB', 'GiB', 'TiB'];
export function byteSize(size: number): string {
  const power = Math.min(BYTE_UNITS.length - 1, size < 1 ? 0 : Math.floor(Math.log2(size) / 10));
  return `${(size / 2 ** (10 * power)).toFixed(power ? 1 : 0)} ${BYTE_UNITS[power]}`;
}

export const grouped = (value: number): string => value.toLocaleString('en-US');

export { tokenCount } from '../core/token-unit.ts';
