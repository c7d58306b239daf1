import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { readFile } from 'node:fs/promises';
import { fileURLToPath } from 'node:url';
import {
  startLedgerUpstream,
  type LedgerUpstream,
  type LedgerUpstreamOptions,
} from '../support/ledger-upstream.ts';
import { newDirectory, OwnDirectory, removeDirectory } from '../support/own-directory.ts';

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
  /** Resolves with all of stdout and stderr as soon as they match. */
  until(pattern: RegExp): Promise<string>;
}

export interface Options {
  readonly cwd: string;
  readonly env?: Readonly<Record<string, string>>;
  readonly launcher?: string;
  /** Its standard input; by default nothing. */
  readonly stdin?: string;
}

/** Options that a test may change. */
type Given = Partial<Options>;

/** Gives each test of a file a directory of its own, in which it starts commands, services and model servers. */
export class Place extends OwnDirectory {
  start(args: readonly string[], given: Given = {}): Running {
    const running = start(args, { cwd: this.dir, ...given });
    this.atEnd(() => {
      running.child.kill('SIGKILL');
      return running.ended;
    });
    return running;
  }

  /** Runs a command to its end. */
  offpeak(args: readonly string[], given: Given = {}): Promise<Ended> {
    return this.start(args, given).ended;
  }

  serve(args: readonly string[] = [], given: Given = {}): Promise<Server> {
    return serve(args, { cwd: this.dir, ...given }, (words) => this.start(words, given));
  }

  /** Starts the simulator as a model server of its own, and returns its base URL. */
  async simulator(...args: string[]): Promise<{ readonly running: Running; readonly url: string }> {
    const running = this.start(['simulator', '--port', '0', '--json', ...args]);
    const { url } = JSON.parse(await running.until(/\}\n/)) as { url: string };
    return { running, url };
  }

  async ledger(options: LedgerUpstreamOptions = {}): Promise<LedgerUpstream> {
    const upstream = await startLedgerUpstream(options);
    this.atEnd(() => upstream.stop());
    return upstream;
  }

  /** The `custom_id`s in a file of results. */
  async ids(name: string): Promise<string[]> {
    return idsIn(await this.read(name));
  }
}

/** Runs a command to its end. */
export const offpeak = (args: readonly string[], options: Options): Promise<Ended> =>
  start(args, options).ended;

export function start(
  args: readonly string[],
  { cwd, env = {}, launcher = OFFPEAK, stdin = '' }: Options,
): Running {
  const child = spawn(launcher, args, {
    cwd,
    // The developer's own settings must not reach the command.
    env: { PATH: process.env['PATH'], HOME: cwd, TMPDIR: cwd, ...env },
    stdio: ['pipe', 'pipe', 'pipe'],
  });
  child.stdin.on('error', () => {}).end(stdin);

  const said = { stdout: '', stderr: '' };
  const checks = new Set<() => void>();
  for (const name of ['stdout', 'stderr'] as const) {
    child[name].setEncoding('utf8').on('data', (text: string) => {
      said[name] += text;
      for (const check of checks) check();
    });
  }
  const ended = once(child, 'close').then(([code]): Ended => ({ code: code as number | null, ...said }));
  const until = (pattern: RegExp) =>
    new Promise<string>((resolve, reject) => {
      const check = () => pattern.test(said.stdout + said.stderr) && resolve(said.stdout + said.stderr);
      checks.add(check);
      check();
      void ended.then(({ code }) =>
        reject(new Error(`ended with ${code} before ${pattern}:\n${said.stdout}${said.stderr}`)),
      );
    });
  return { child, ended, until };
}

export interface Server extends Running {
  readonly url: string;
  /** Empty unless this start made it. */
  readonly key: string;
  /** Empty unless this start made it. */
  readonly adminKey: string;
  /** The certificate of the authority that signed its own; empty if it speaks plain HTTP. */
  readonly certPath: string;
  /** The variables with which a command finds the service. */
  readonly env: Readonly<Record<string, string>>;
  /** Runs a command with these variables. */
  readonly cli: (...args: string[]) => Promise<Ended>;
  /** Sends SIGTERM, and resolves when the service has ended. */
  stop(): Promise<Ended>;
}

export async function serve(
  args: readonly string[],
  options: Options,
  begin = (words: readonly string[]): Running => start(words, options),
): Promise<Server> {
  const running = begin(['serve', '--port', '0', '--json', '--ballast', '0', ...args]);
  const line = /^\{"url".*\}$/m.exec(await running.until(/^\{"url".*\}$/m))?.[0] ?? '';
  const started = JSON.parse(line) as Record<'keys_file' | 'tls_certificate', string | null> & {
    readonly url: string;
  };
  const { url, keys_file: keysFile } = started;
  const keys = keysFile === null ? '' : await readFile(keysFile, 'utf8');
  const keyOf = (name: string): string => new RegExp(`^${name}=(.+)$`, 'm').exec(keys)?.[1] ?? '';
  const [key, adminKey] = [keyOf('OFFPEAK_API_KEY'), keyOf('OFFPEAK_ADMIN_KEY')];
  const env = { OFFPEAK_ENDPOINT: url, OFFPEAK_API_KEY: key, OFFPEAK_ADMIN_KEY: adminKey };
  return {
    ...running,
    url,
    key,
    adminKey,
    certPath: started.tls_certificate ?? '',
    env,
    cli: (...command) => offpeak(command, { ...options, env }),
    stop() {
      running.child.kill('SIGTERM');
      return running.ended;
    },
  };
}

/** A directory for all tests of a file. */
export async function scratch(parent?: string): Promise<{ dir: string; remove(): Promise<void> }> {
  const dir = await newDirectory(parent);
  return { dir, remove: () => removeDirectory(dir) };
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

const idsIn = (text: string): string[] => lines(text).map(({ custom_id }) => custom_id);

/** The words of a command line. A value in the template is one word, whatever it has in it. */
export const words = (text: TemplateStringsArray, ...values: readonly (string | number)[]): string[] =>
  String.raw(text, ...values.map((_, at) => `\0${at}\0`))
    .trim()
    .split(/\s+/)
    .map((word) => word.replaceAll(/\0(\d+)\0/g, (_, at: string) => String(values[Number(at)])));
