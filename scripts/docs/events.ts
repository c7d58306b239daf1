import { EVENTS, FIELDS } from '../../src/core/events.ts';

const START = '<!-- Made from src/core/events.ts by `npm run fix`, up to the end of the lists. -->';
const END = '<!-- The end of the lists. -->';

/** The page, with the lists of events and fields in the marked place. */
export function withEvents(page: string): string {
  const [start, end] = [page.indexOf(START), page.indexOf(END)];
  if (start < 0 || end < start) throw new Error(`the page lacks the lines '${START}' and '${END}'`);
  return `${page.slice(0, start + START.length)}\n\n${events()}\n\nFields:\n\n${fields()}\n\n${page.slice(end)}`;
}

/** Makes lists and not tables: a longer cell lays out a table anew, and two changes of a table collide. */
const events = (): string =>
  Object.entries(EVENTS)
    .map(([name, { level, message, fields: names }]) => {
      const shown = names.map((field) => `\`${field}\``).join(', ');
      return `- \`${name}\` (${level}): ${message}. ${shown}`;
    })
    .join('\n');

const fields = (): string =>
  Object.entries(FIELDS)
    .map(([name, { meaning }]) => `- \`${name}\`: ${meaning}`)
    .join('\n');
