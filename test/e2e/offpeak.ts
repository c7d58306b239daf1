import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

/** The launcher as a user calls it. */
export const OFFPEAK = fileURLToPath(new URL('../../bin/offpeak', import.meta.url));
export const EXAMPLE = fileURLToPath(new URL('../../examples/test.jsonl', import.meta.url));

export interface Ended {
  readonly code: number | null;
  readonly stdout: string;
  readonly stderr: string;
}

export interface Running {
  readonly child: ChildProcess;
  readonly ended: Promise<Ended>;
  /** Resolves with all of stdout and stderr so far once it matches. */
  until(pattern: RegExp): Promise<string>;
}

export interface Options {
  readonly cwd: string;
  readonly env?: Readonly<Record<string, string>>;
  readonly launcher?: string;
  /** What it reads; by default nothing. */
  readonly stdin?: string;
}

/** Runs it to its end. */
export const offpeak = (args: readonly string[], options: Options): Promise<Ended> =>
  start(args, options).ended;

export function start(
  args: readonly string[],
  { cwd, env = {}, launcher = OFFPEAK, stdin = '' }: Options,
): Running {
  const child = spawn(launcher, args, {
    cwd,
    // Nothing of the developer's own set-up may reach the command.
    env: { PATH: process.env['PATH'], HOME: cwd, TMPDIR: cwd, ...env },
    stdio: ['pipe', 'pipe', 'pipe'],
  });
  child.stdin.on('error', () => {}).end(stdin);

  const said = { stdout: '', stderr: '' };
  const news = new Set<() => void>();
  for (const name of ['stdout', 'stderr'] as const) {
    child[name].setEncoding('utf8').on('data', (text: string) => {
      said[name] += text;
      for (const tell of news) tell();
    });
  }
  const ended = once(child, 'close').then(([code]): Ended => ({ code: code as number | null, ...said }));
  const until = (pattern: RegExp) =>
    new Promise<string>((resolve, reject) => {
      const tell = () => pattern.test(said.stdout + said.stderr) && resolve(said.stdout + said.stderr);
      news.add(tell);
      tell();
      void ended.then(({ code }) =>
        reject(new Error(`ended with ${code} before ${pattern}:\n${said.stdout}${said.stderr}`)),
      );
    });
  return { child, ended, until };
}

export interface Server extends Running {
  readonly url: string;
  /** Empty unless it was made at this start. */
  readonly key: string;
  /** Likewise. */
  readonly adminKey: string;
  /** Of the authority that signed its certificate; empty when it speaks plain HTTP. */
  readonly certPath: string;
  /** What a client command needs to find it. */
  readonly env: Readonly<Record<string, string>>;
}

export async function serve(args: readonly string[], options: Options): Promise<Server> {
  const running = start(['serve', '--port', '0', '--json', '--ballast', '0', ...args], options);
  const line = /^\{"url".*\}$/m.exec(await running.until(/^\{"url".*\}$/m))?.[0] ?? '';
  const started = JSON.parse(line) as Record<'keys_file' | 'tls_certificate', string | null> & {
    readonly url: string;
  };
  const { url, keys_file: keysFile } = started;
  const keys = keysFile === null ? '' : await readFile(keysFile, 'utf8');
  const keyOf = (name: string): string => new RegExp(`^${name}=(.+)$`, 'm').exec(keys)?.[1] ?? '';
  const key = keyOf('OFFPEAK_API_KEY');
  return {
    ...running,
    url,
    key,
    adminKey: keyOf('OFFPEAK_ADMIN_KEY'),
    certPath: started.tls_certificate ?? '',
    env: { OFFPEAK_ENDPOINT: url, OFFPEAK_API_KEY: key },
  };
}

/** A directory for one test, with a space in its name. */
export async function scratch(parent = tmpdir()): Promise<{ dir: string; remove(): Promise<void> }> {
  const dir = await mkdtemp(join(parent, 'offpeak e2e '));
  // A service whose terminal is gone may take a moment to end.
  return { dir, remove: () => rm(dir, { recursive: true, force: true, maxRetries: 20 }) };
}

/** `count` chat requests, one per line. */
export const requests = (count: number, model = 'llama'): string =>
  Array.from(
    { length: count },
    (_, at) =>
      `${JSON.stringify({
        custom_id: `request-${at}`,
        method: 'POST',
        url: '/v1/chat/completions',
        body: { model, messages: [{ role: 'user', content: `Say ${at}` }] },
      })}\n`,
  ).join('');

export const lines = (text: string): { custom_id: string }[] =>
  text
    .split('\n')
    .filter(Boolean)
    .map((line) => JSON.parse(line) as { custom_id: string });
