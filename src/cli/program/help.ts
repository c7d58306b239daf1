import type { Help } from 'commander';
import { columnsOf, factLines } from '../terminal/print.ts';
import { wrap } from '../terminal/width.ts';

const TEXT_COLUMNS_MIN = 30;

/** An option, argument or command, and its text beside it. On a narrow terminal the text is below. */
export function helpItem(term: string, termWidth: number, text: string, help: Help): string {
  const columns = columnsOf(process.stdout);
  const isNarrow = columns - termWidth - 4 < TEXT_COLUMNS_MIN;
  const indent = isNarrow ? 3 : termWidth + 4;
  const lines = help.boxWrap(text, columns - indent).replaceAll('\n', `\n${' '.repeat(indent)}`);
  return isNarrow ? `  ${term}\n   ${lines}` : `  ${term.padEnd(termWidth)}  ${lines}`;
}

export const helpUsage = (usage: string): string =>
  wrap(usage, columnsOf(process.stdout) - 'Usage: '.length).join('\n       ');

/** Text below the options. An item of a list is wrapped beside its number. */
export function helpText(text: string): string {
  const columns = columnsOf(process.stdout);
  return text
    .split('\n')
    .flatMap((line) => {
      const [, number, item] = /^( {2}\d\.?) +(.*)/.exec(line) ?? [];
      return number && item ? factLines([[number, item]], columns) : wrap(line, columns);
    })
    .join('\n');
}

/** Where every client looks for the service first. */
export const FIRST_ENDPOINTS = `
The service is the first of these that there is. It is printed before anything is sent.
  1. --endpoint
  2. OFFPEAK_ENDPOINT
  3. the service that runs over the data directory here`;
