/** Does what a reader of a document does: opens shells and terminals, writes the files, and runs the lines as printed. */
import { spawn, spawnSync, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { mkdir, readFile, writeFile } from 'node:fs/promises';
import { createServer, type AddressInfo } from 'node:net';
import { dirname, join } from 'node:path';
import { setTimeout } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';

/** The path on which Python finds `openai`: the installed one, or else a stand-in. */
export function pythonEnv(): Readonly<Record<string, string>> {
  const here = process.env['PYTHONPATH'] ?? '';
  const { status } = spawnSync('python3', ['-c', 'import openai'], {
    env: { ...process.env, PYTHONPATH: here },
  });
  const path = status === 0 ? here : fileURLToPath(new URL('python', import.meta.url));
  return { PYTHONPATH: path, PYTHONDONTWRITEBYTECODE: '1' };
}

interface Block {
  readonly language: string;
  readonly text: string;
}

export interface Section {
  readonly heading: string;
  readonly blocks: readonly Block[];
}

/** The second-level sections of a Markdown text that have blocks of code. */
export function sectionsOf(markdown: string): Section[] {
  return markdown
    .split(/^## /m)
    .slice(1)
    .map((text) => ({
      heading: text.slice(0, text.indexOf('\n')),
      blocks: [...text.matchAll(/^```(\w+)\n(.*?)^```$/gms)].map(([, language = '', code = '']) => ({
        language,
        text: code,
      })),
    }))
    .filter(({ blocks }) => blocks.length > 0);
}

/** A block that begins with the name of a file in a comment is that file. */
const fileOf = ({ text }: Block): string | undefined => /^(?:#|\/\/) (\S+\.\w+)\n/.exec(text)?.[1];

/** A service or a model server in the foreground takes a terminal of its own. */
const takesTerminal = ({ text }: Block): boolean => /^offpeak (serve|simulator)\b[^&\n]*\n$/.test(text);

/** A free port for each port that a document names. */
export async function freePorts(...named: number[]): Promise<ReadonlyMap<string, string>> {
  const servers = named.map(() => createServer().listen(0, '127.0.0.1'));
  await Promise.all(servers.map((server) => once(server, 'listening')));
  const free = servers.map((server) => String((server.address() as AddressInfo).port));
  await Promise.all(servers.map((server) => once(server.close(), 'close')));
  return new Map(named.map((port, index) => [String(port), free[index] ?? '']));
}

export interface Reader {
  /** Runs the blocks in their order, in one shell, and returns what was printed. Fails at the first line that fails. */
  follow(blocks: readonly Block[], cwd: string): Promise<string>;
  /** Ends all that was left running. */
  leave(): Promise<void>;
}

export function reader({
  env,
  ports,
}: {
  env: Readonly<Record<string, string | undefined>>;
  ports: ReadonlyMap<string, string>;
}): Reader {
  const left: ChildProcess[] = [];
  const asHere = (text: string): string => text.replace(/\b\d{4}\b/g, (port) => ports.get(port) ?? port);

  const follow: Reader['follow'] = async (blocks, cwd) => {
    const terminals: ChildProcess[] = [];
    const environment = { OFFPEAK_PORT: ports.get('8080'), ...pythonEnv(), ...env };
    const shell = openShell(cwd, environment);
    left.push(shell.child);
    for (const block of blocks) {
      const text = asHere(block.text);
      const path = fileOf(block);
      if (path !== undefined) {
        await mkdir(dirname(join(cwd, path)), { recursive: true });
        await writeFile(join(cwd, path), text);
      } else if (takesTerminal(block)) {
        const child = await openTerminal(text, cwd, environment);
        left.push(child);
        if (text.includes('serve')) terminals.push(child);
        // What the first start shows on a terminal to be copied; here it is in a file.
        await shell.run(await exportsOf(join(cwd, '.offpeak', 'first-keys.env')));
      } else if (block.language === 'sh') {
        await shell.run(text);
      }
    }
    await Promise.all([shell.child, ...terminals].map(end));
    return shell.said();
  };
  return { follow, leave: async () => void (await Promise.all(left.map(end))) };
}

/** Bash that ends at the first line that fails. What it starts belongs to its process group. */
function openShell(cwd: string, env: Readonly<Record<string, string | undefined>>) {
  const child = spawn('bash', ['-e'], { cwd, env, detached: true, stdio: ['pipe', 'pipe', 'pipe'] });
  let said = '';
  let steps = 0;
  const news = new Set<() => void>();
  for (const stream of [child.stdout, child.stderr]) {
    stream.setEncoding('utf8').on('data', (text: string) => {
      said += text;
      for (const tell of news) tell();
    });
  }
  const ended = once(child, 'close');
  const run = async (text: string): Promise<void> => {
    const mark = `--- step ${++steps} is done`;
    const script = Buffer.from(text).toString('base64');
    child.stdin.write(`eval "$(echo ${script} | base64 -d)" < /dev/null\necho; echo '${mark}'\n`);
    await new Promise<void>((resolve, reject) => {
      const tell = () => said.includes(mark) && resolve();
      news.add(tell);
      tell();
      void ended.then(([code]) => reject(new Error(`exit code ${code} in:\n${text}\nsaid:\n${said}`)));
    });
  };
  return { child, run, said: () => said };
}

async function openTerminal(
  line: string,
  cwd: string,
  env: Readonly<Record<string, string | undefined>>,
): Promise<ChildProcess> {
  const child = spawn('bash', ['-c', `exec ${line}`], {
    cwd,
    env,
    detached: true,
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  let said = '';
  await new Promise<void>((resolve, reject) => {
    for (const stream of [child.stdout, child.stderr]) {
      stream.setEncoding('utf8').on('data', (text: string) => {
        said += text;
        if (/^(Offpeak is ready|The simulator answers) at /m.test(said)) resolve();
      });
    }
    child.once('close', (code) => reject(new Error(`exit code ${code} of: ${line}said:\n${said}`)));
  });
  return child;
}

async function exportsOf(keysFile: string): Promise<string> {
  const keys = await readFile(keysFile, 'utf8').catch(() => '');
  return keys.replace(/^(?=\w)/gm, 'export ');
}

/** Ends everything in its group, as the end of a terminal does. Returns when all of it has ended. */
async function end({ pid }: ChildProcess): Promise<void> {
  if (pid === undefined || !signalGroup(pid, 'SIGTERM')) return;
  while (signalGroup(pid, 0)) await setTimeout(20);
}

/** False: nothing of the group is left. */
function signalGroup(pid: number, signal: 'SIGTERM' | 0): boolean {
  try {
    return process.kill(-pid, signal);
  } catch {
    return false;
  }
}
