import { stripVTControlCharacters } from 'node:util';
import { displayWidth, padTo, wrap } from './width.ts';

/** Makes text from elsewhere harmless for a terminal: it removes escape sequences and control characters. */
export const plain = (text: string): string =>
  stripVTControlCharacters(text).replaceAll(/(?![\t\n])[\p{Cc}\u202a-\u202e\u2066-\u2069]/gu, '');

/** Does the same, and puts the text on one line: tabs and newlines become spaces. */
export const oneLine = (text: string): string => plain(text.replaceAll(/\s+/g, ' '));

export const print = (line: string): void => {
  process.stdout.write(`${line}\n`);
};
export const printJson = (value: unknown): void =>
  print(JSON.stringify(value, null, process.stdout.isTTY ? 2 : 0));

/** Some terminals say that they have 0 columns. */
export const columnsOf = ({ columns }: { readonly columns?: number }): number => columns || 80;

/** Tells people what happens or went wrong. It goes to stderr, so that a pipe gets the results alone. */
export const note = (line: string): void => {
  process.stderr.write(`${process.stderr.isTTY ? fitted(line, columnsOf(process.stderr)) : line}\n`);
};

/** Prints a result that is made of sentences. */
export const say = (text: string): void =>
  print(process.stdout.isTTY ? fitted(text, columnsOf(process.stdout)) : text);

/** Breaks lines that are wider than the terminal at blanks. Lines that users copy stay whole. */
export const fitted = (text: string, columns = 80): string =>
  text
    .split('\n')
    .flatMap((line) =>
      /^( {2}|next: |There are more: )/.test(line) ? [line] : wrap(line, Math.max(20, columns)),
    )
    .join('\n');

/** Aligns the cells in columns. The last column has any width. */
export function table(rows: readonly (readonly string[])[]): string {
  const widths = widthsOf(rows);
  return rows
    .map((row) =>
      row.map((cell, at) => (at === widths.length - 1 ? cell : padTo(cell, widths[at] ?? 0))).join('  '),
    )
    .join('\n');
}

const widthsOf = (rows: readonly (readonly string[])[]): number[] =>
  Array.from({ length: Math.max(0, ...rows.map((row) => row.length)) }, (_, at) =>
    Math.max(...rows.map((row) => displayWidth(row[at] ?? ''))),
  );

/** Prints names and values of one thing. On a terminal a long value is wrapped below itself. */
export function printFacts(facts: readonly (readonly [string, string])[]): void {
  if (!process.stdout.isTTY) return print(table(facts));
  print(factLines(facts, columnsOf(process.stdout)).join('\n'));
}

const VALUE_COLUMNS_MIN = 16;

export function factLines(facts: readonly (readonly [string, string])[], columns = 80): string[] {
  const indent = Math.max(0, ...facts.map(([name]) => displayWidth(name))) + 2;
  if (columns - indent < VALUE_COLUMNS_MIN) {
    return facts.flatMap(([name, value]) => [name, ...wrap(value, columns - 2).map((line) => `  ${line}`)]);
  }
  return facts.flatMap(([name, value]) =>
    wrap(value, columns - indent).map((line, at) => padTo(at === 0 ? name : '', indent) + line),
  );
}

/** Prints a list, with headings on a terminal and without them elsewhere, for scripts. */
export function printTable(headings: readonly string[], rows: readonly (readonly string[])[]): void {
  if (rows.length === 0) return;
  if (!process.stdout.isTTY) return print(table(rows));
  print(fittedTable(headings, rows, columnsOf(process.stdout)));
}

/** If the rows are wider than the terminal, each becomes a block: its first cell, and below it the others with their names. */
export function fittedTable(
  headings: readonly string[],
  rows: readonly (readonly string[])[],
  columns = 80,
): string {
  const whole = table([headings.map((heading) => heading.toUpperCase()), ...rows]);
  if (whole.split('\n').every((line) => displayWidth(line) <= columns)) return whole;
  const blocks = rows.map(([first = '', ...others]) => {
    const facts = others.map((cell, at): [string, string] => [headings[at + 1] ?? '', cell]);
    const lines = factLines(
      facts.filter(([, cell]) => cell !== ''),
      columns - 2,
    );
    return [...wrap(first, columns), ...lines.map((line) => `  ${line}`)].join('\n');
  });
  return blocks.join('\n');
}

export interface Page<T> {
  readonly data: readonly T[];
  readonly hasMore: boolean;
  /** The whole answer of the service. */
  readonly answer: unknown;
}

interface PageView<T> {
  readonly json: boolean | undefined;
  readonly headings: readonly string[];
  readonly row: (item: T) => readonly string[];
}

/** Prints a page of a list, a row for each item, and how to get the next page. JSON is an object, as on the wire. */
export function printPage<T extends { readonly id: string }>(
  { data, hasMore, answer }: Page<T>,
  { json = false, headings, row }: PageView<T>,
): void {
  if (json) return printJson(answer);
  printTable(headings, data.map(row));
  if (hasMore) note(`There are more: --after ${oneLine(data.at(-1)?.id ?? '')}`);
}

/** Prints a whole list in the shape of a page. */
export const printListJson = (data: readonly unknown[]): void =>
  printJson({ object: 'list', data, has_more: false });

export const dateTime = (unixSeconds: number): string =>
  new Date(unixSeconds * 1000).toISOString().replace('T', ' ').slice(0, 19);

const BYTE_UNITS = ['B', 'KiB', 'MiB', 'GiB', 'TiB'];
export function byteSize(size: number): string {
  const power = Math.min(BYTE_UNITS.length - 1, size < 1 ? 0 : Math.floor(Math.log2(size) / 10));
  return `${(size / 2 ** (10 * power)).toFixed(power ? 1 : 0)} ${BYTE_UNITS[power]}`;
}

export const grouped = (value: number): string => value.toLocaleString('en-US');

export { tokenCount } from '../../core/token-unit.ts';
