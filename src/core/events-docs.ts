import { EVENTS, FIELDS } from './events.ts';

const START = '<!-- Made from src/core/events.ts by `npm run fix`, up to the end of the tables. -->';
const END = '<!-- The end of the tables. -->';

/** The page with the tables of events and fields in the place that is marked for them. */
export function withEventTables(page: string): string {
  const [start, end] = [page.indexOf(START), page.indexOf(END)];
  if (start < 0 || end < start) throw new Error(`the page lacks the lines '${START}' and '${END}'`);
  return `${page.slice(0, start + START.length)}\n\n${events()}\n\n${fields()}\n\n${page.slice(end)}`;
}

const events = (): string =>
  markdownTable(
    ['event', 'level', 'what it says', 'fields'],
    Object.entries(EVENTS).map(([name, { level, message, fields: names }]) => [
      `\`${name}\``,
      level,
      message,
      names.map((field) => `\`${field}\``).join(', '),
    ]),
  );

const fields = (): string =>
  markdownTable(
    ['field', 'meaning'],
    Object.entries(FIELDS).map(([name, { meaning }]) => [`\`${name}\``, meaning]),
  );

/** As the formatter has it. */
function markdownTable(headings: readonly string[], rows: readonly (readonly string[])[]): string {
  const widths = headings.map((heading, at) =>
    Math.max(heading.length, ...rows.map((row) => row[at]?.length ?? 0)),
  );
  const line = (cells: readonly string[]) =>
    `| ${cells.map((cell, at) => cell.padEnd(widths[at] ?? 0)).join(' | ')} |`;
  return [line(headings), line(widths.map((width) => '-'.repeat(width))), ...rows.map(line)].join('\n');
}
