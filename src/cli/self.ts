import { relative } from 'node:path';
import { fileURLToPath } from 'node:url';

const fromCheckout = import.meta.url.endsWith('.ts');

/** How a user calls this program, for lines to copy. */
export const COMMAND = fromCheckout ? 'bin/offpeak' : 'offpeak';
/** The batch file that comes with the program. */
export const EXAMPLE = fileURLToPath(new URL('../../examples/test.jsonl', import.meta.url));
/** What its lines name as their model. */
export const EXAMPLE_DEPLOYMENT = 'gpt-4o-batch-deployment';

/** The path of `EXAMPLE`, to be copied into a shell. */
export function exampleArgument(): string {
  const near = relative(process.cwd(), EXAMPLE);
  const path = near.startsWith('..') ? EXAMPLE : near;
  return /^[\w./@-]+$/.test(path) ? path : `'${path.replaceAll("'", String.raw`'\''`)}'`;
}
