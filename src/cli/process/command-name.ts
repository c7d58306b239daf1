import { realpathSync } from 'node:fs';
import { delimiter, join, relative } from 'node:path';
import { fileURLToPath } from 'node:url';

const fromCheckout = import.meta.url.endsWith('.ts');
const LAUNCHER = fileURLToPath(new URL('../../../bin/offpeak', import.meta.url));

/** The launcher sets this variable to the way in which it was called. */
export const CALLED_AS = 'OFFPEAK_CALLED_AS';

/** The batch file that comes with the program. */
export const EXAMPLE = fileURLToPath(new URL('../../../examples/test.jsonl', import.meta.url));
/** The model that the lines of `EXAMPLE` name. */
export const EXAMPLE_DEPLOYMENT = 'gpt-4o-batch-deployment';

/** How a user calls this program here. It begins the lines that users copy. */
export function commandName(env: NodeJS.ProcessEnv = process.env): string {
  if (isOnPath(env)) return 'offpeak';
  if (env['npm_command'] === 'exec' || env['npm_lifecycle_event'] === 'npx') return 'npx offpeak';
  const called = env[CALLED_AS];
  return called ? quoted(called) : fromCheckout ? 'bin/offpeak' : 'offpeak';
}

function isOnPath(env: NodeJS.ProcessEnv): boolean {
  // Directories that npx and npm add to the path are gone when they have ended.
  const dirs = (env['PATH'] ?? '')
    .split(delimiter)
    .filter((dir) => dir !== '' && !(env['npm_command'] && dir.endsWith(join('node_modules', '.bin'))));
  const [first] = dirs.flatMap((dir) => realPath(join(dir, 'offpeak')) ?? []);
  return first !== undefined && first === realPath(LAUNCHER);
}

function realPath(path: string): string | undefined {
  try {
    return realpathSync(path);
  } catch {
    return undefined; // Not there.
  }
}

type ServiceFlags = {
  readonly [Name in 'resource' | 'endpoint' | 'apiKey' | 'adminKey' | 'apiVersion']?: string | undefined;
};

/** A command line that works here, for the same service and resource. It never repeats a key. */
export function nextCommand(
  words: readonly string[],
  { resource, endpoint, apiKey, adminKey, apiVersion }: ServiceFlags = {},
): string {
  const flags = Object.entries({ resource, endpoint, 'api-version': apiVersion }).flatMap(([name, value]) =>
    value === undefined ? [] : [`--${name}`, value],
  );
  const keys = [...(apiKey ? ['--api-key', 'KEY'] : []), ...(adminKey ? ['--admin-key', 'KEY'] : [])];
  return [commandName(), ...[...words, ...flags, ...keys].map(quoted)].join(' ');
}

/** The path of `EXAMPLE`, quoted for a shell. */
export function exampleArgument(): string {
  const near = relative(process.cwd(), EXAMPLE);
  return quoted(near.startsWith('..') ? EXAMPLE : near);
}

const quoted = (word: string): string =>
  /^[\w./@:=-]+$/.test(word) ? word : `'${word.replaceAll("'", String.raw`'\''`)}'`;
