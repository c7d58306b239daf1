import { ACTIONS, ROLES } from '../../src/contract/control.ts';
import { ROLE_ACTIONS } from '../../src/identity/roles.ts';
import { between } from './marked.ts';

const START = '<!-- Made from src/identity/roles.ts by `npm run fix`, up to the end of the table. -->';
const END = '<!-- The end of the table. -->';

/** The page, with the table of what each role allows in the marked place. */
export const withRoles = (page: string): string => between(page, [START, END], table());

function table(): string {
  const header = ['action', ...ROLES.map((role) => role.replace('Cognitive Services ', ''))];
  const rows = ACTIONS.map((action) => [
    `\`${action}\``,
    ...ROLES.map((role) => (ROLE_ACTIONS[role].has(action) ? 'yes' : '')),
  ]);
  const widths = header.map((_, column) =>
    Math.max(...[header, ...rows].map((row) => row[column]?.length ?? 0)),
  );
  // The formatter lays out tables like this.
  const line = (cells: readonly string[]): string =>
    `| ${cells.map((cell, column) => cell.padEnd(widths[column] ?? 0)).join(' | ')} |`;
  return [header, widths.map((width) => '-'.repeat(width)), ...rows].map(line).join('\n');
}
