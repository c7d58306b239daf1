import { EVENTS, FIELDS } from '../../src/core/events.ts';
import { between } from './marked.ts';

const START = '<!-- Made from src/core/events.ts by `npm run fix`, up to the end of the lists. -->';
const END = '<!-- The end of the lists. -->';

/** The page, with the lists of events and fields in the marked place. */
export const withEvents = (page: string): string =>
  between(page, [START, END], `${events()}\n\nFields:\n\n${fields()}`);

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
