import { execFileSync, spawn, type ChildProcess, type StdioOptions } from 'node:child_process';
import { randomUUID } from 'node:crypto';
import { once } from 'node:events';
import { closeSync, constants, openSync, readSync } from 'node:fs';
import { beforeEach, describe, expect, test } from 'vitest';
import type { LedgerUpstream } from '../support/ledger-upstream.ts';
import { createTestDatabase } from '../support/postgres.ts';
import { OFFPEAK, Place, requests, words } from './offpeak.ts';

const KEY = 'k'.repeat(64);

const place = new Place();
let upstream: LedgerUpstream;
let descriptors: number[];
beforeEach(async () => {
  upstream = await place.ledger({ script: { latencyMs: 100 } });
  descriptors = [];
  place.atEnd(() => descriptors.forEach((one) => closeSync(one)));
});

const open = (path: string, flags: number | string): number => {
  const descriptor = openSync(path, flags);
  descriptors.push(descriptor);
  return descriptor;
};

/** Opens both ends of a pipe. Only the test may read it. */
function pipe(): { readonly reader: number; readonly writer: number } {
  const path = place.path(`pipe-${randomUUID()}`);
  execFileSync('mkfifo', [path]);
  const reader = open(path, constants.O_RDONLY | constants.O_NONBLOCK);
  return { reader, writer: open(path, 'w') };
}

const close = (descriptor: number): void => {
  descriptors = descriptors.filter((one) => one !== descriptor);
  closeSync(descriptor);
};

/** Starts a process whose output goes where `stdio` says. */
function spawnAt(stdio: StdioOptions, launcher: string, args: readonly string[]): ChildProcess {
  const env = { PATH: process.env['PATH'], HOME: place.dir };
  const child = spawn(launcher, args, { cwd: place.dir, env, stdio });
  const exited = once(child, 'exit');
  place.atEnd(() => {
    child.kill('SIGKILL');
    return exited;
  });
  return child;
}

interface Service {
  readonly url: string;
  readonly ended: Promise<number | null>;
  stop(): Promise<number | null>;
}

/** Nothing that it prints may be readable, so it is up when it answers. */
async function start(stdio: StdioOptions, args: readonly string[] = []): Promise<Service> {
  const url = await place.nobody();
  const flags = words`--port ${new URL(url).port} --data-dir data --ballast 0 --api-key ${KEY} --concurrency 4`;
  const models = words`--upstream ${upstream.url} --deployment llama`;
  const child = spawnAt(stdio, OFFPEAK, ['serve', ...flags, ...models, ...args]);
  const ended = once(child, 'exit').then(([code]) => code as number | null);
  while (!(await isUp(url)))
    if (child.exitCode !== null) throw new Error(`the service ended with ${child.exitCode}`);
  return {
    url,
    ended,
    stop() {
      child.kill('SIGTERM');
      return ended;
    },
  };
}

const isUp = (url: string): Promise<boolean> =>
  fetch(`${url}/healthz`).then(
    ({ ok }) => ok,
    () => false,
  );

const health = async (url: string): Promise<number> =>
  (await fetch(`${url}/healthz`, { signal: AbortSignal.timeout(5_000) })).status;

/** Each call is one line of the log. */
async function makeNoise(url: string, calls: number): Promise<void> {
  for (let done = 0; done < calls; done += 100) {
    await Promise.all(
      Array.from({ length: 100 }, async () => {
        const reply = await fetch(`${url}/v1/files`, {
          headers: { 'api-key': KEY },
          signal: AbortSignal.timeout(20_000),
        });
        await reply.arrayBuffer();
      }),
    );
  }
}

const bothTo = (descriptor: number): StdioOptions => ['ignore', descriptor, descriptor];

/** Places to which a log cannot be written. */
const PLACES: readonly (readonly [name: string, () => StdioOptions])[] = [
  ['a full disk', () => bothTo(open('/dev/full', 'w'))],
  ['a pipe that nobody reads', () => bothTo(pipe().writer)],
  // Nothing listens for its data, so the socket is paused.
  ['a socket that nobody reads', () => ['ignore', 'pipe', 'pipe']],
  [
    'a pipe that is closed',
    () => {
      const { reader, writer } = pipe();
      close(reader);
      return bothTo(writer);
    },
  ],
];

describe.each(PLACES)('a log on %s', (_name, stdio) => {
  test('changes no answer, no batch and no stop', async () => {
    await place.write('in.jsonl', requests(40));
    const first = await start(stdio(), ['--log-level', 'debug']);
    await makeNoise(first.url, 1_500);
    const cli = (url: string, ...args: string[]) =>
      place.offpeak(args, { env: { OFFPEAK_ENDPOINT: url, OFFPEAK_API_KEY: KEY } });

    expect(await health(first.url)).toBe(200);
    const refused = await fetch(`${first.url}/v1/batches`, {
      method: 'POST',
      headers: { 'api-key': KEY, 'content-type': 'application/json' },
      body: '{"input_file_id": 7}',
    });
    expect(refused.status).toBe(400);
    expect(await refused.json()).toMatchObject({ error: { type: 'invalid_request_error' } });
    const created = await cli(first.url, 'batches', 'create', '--file', 'in.jsonl');
    expect(created).toMatchObject({ code: 0 });
    const id = created.stdout.trim();
    await upstream.untilRequests(8);

    expect(await first.stop()).toBe(0);
    const second = await start(stdio());
    expect((await cli(second.url, 'batches', 'watch', id)).code).toBe(0);
    expect(await upstream.stats()).toMatchObject({ requests: 40, distinctKeys: 40 });
    expect(await second.stop()).toBe(0);
  });
});

test('lines that a log could not take are counted, and the count is logged as soon as possible', async () => {
  const { reader, writer } = pipe();
  const service = await start(['ignore', 'ignore', writer]);
  await makeNoise(service.url, 6_000);

  const text = await readUntil(reader, /"event":"log\.dropped".*\n/);
  await makeNoise(service.url, 100);

  const entries = text
    .slice(0, text.lastIndexOf('\n'))
    .split('\n')
    .map((line) => JSON.parse(line) as { event: string; count?: number });
  const logged = entries.filter(({ event }) => event === 'request').length;
  const dropped = entries.find(({ event }) => event === 'log.dropped')?.count ?? 0;
  expect(dropped).toBeGreaterThan(0);
  expect(logged + dropped).toBe(6_000);
  expect(await service.stop()).toBe(0);
});

test('a terminal that is stopped or gone delays no answer and no stop', async () => {
  const url = await place.nobody();
  const script = place.path('terminal.py');
  await place.write('terminal.py', IN_A_TERMINAL);
  const serve = words`serve --port ${new URL(url).port} --ballast 0 --api-key ${KEY}`;
  const { stdin, stdout } = spawnAt(['pipe', 'pipe', 'inherit'], 'python3', [script, OFFPEAK, ...serve]);
  if (stdin === null || stdout === null) throw new Error('there are no pipes');
  const say = async (word: string) => {
    stdin.write(`${word}\n`);
    const [answer] = (await once(stdout, 'data')) as [Buffer];
    return answer.toString().trim();
  };
  while (!(await isUp(url)));

  await say('pause');
  await makeNoise(url, 1_000);
  expect(await health(url)).toBe(200);
  await say('hang up');
  await makeNoise(url, 100);
  expect(await health(url)).toBe(200);
  expect(await say('stop')).toBe('ended with 0');
});

/** Starts a program on a terminal that is not the controlling one, so that its end sends no signal. */
const IN_A_TERMINAL = `
import os, signal, subprocess, sys, termios
master, slave = os.openpty()
child = subprocess.Popen(sys.argv[1:], stdin=subprocess.DEVNULL, stdout=slave, stderr=slave)
for line in sys.stdin:
    word = line.strip()
    if word == 'pause':
        termios.tcflow(slave, termios.TCOOFF)
        os.close(slave)
    elif word == 'hang up':
        os.close(master)
    else:
        child.send_signal(signal.SIGTERM)
        print('ended with', child.wait(), flush=True)
        break
    print('done', flush=True)
child.kill()
`;

async function readUntil(descriptor: number, pattern: RegExp): Promise<string> {
  const chunk = Buffer.alloc(65_536);
  let text = '';
  while (!pattern.test(text)) {
    try {
      text += chunk.toString('utf8', 0, readSync(descriptor, chunk));
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'EAGAIN') throw error;
      await new Promise(setImmediate);
    }
  }
  return text;
}

test('what operators change over the API is logged with who did it, and without keys', async () => {
  const { reader, writer } = pipe();
  const { url } = await start(['ignore', 'ignore', writer], ['--admin-key', KEY.replaceAll('k', 'a')]);
  const admin = { OFFPEAK_ENDPOINT: url, OFFPEAK_ADMIN_KEY: KEY.replaceAll('k', 'a') };
  const cli = async (...args: string[]) => {
    const { code, stdout, stderr } = await place.offpeak(args, { env: admin });
    expect({ code, stderr, args }).toMatchObject({ code: 0 });
    return stdout;
  };

  await cli('resources', 'create', 'team', '--location', 'swedencentral');
  const keys = await cli('resources', 'keys', 'team', '--json');
  await cli('resources', 'keys', 'team', '--regenerate', '2');
  await cli('deployments', 'create', 'nightly', '--resource', 'team', '--model', 'llama', '--capacity', '5');
  await cli('deployments', 'delete', 'nightly', '--resource', 'team');
  const log = await readUntil(reader, /"change":"deployment removed".*\n/);

  const events = log
    .trim()
    .split('\n')
    .map((line) => JSON.parse(line) as Record<string, unknown>)
    .filter(({ event }) => /^(key\.|configuration\.)/.test(String(event)));
  const by = { resource: 'team', actor: expect.any(String) };
  expect(events).toMatchObject([
    { event: 'configuration.changed', change: 'resource added', ...by },
    { event: 'key.made', slot: 1, ...by },
    { event: 'key.made', slot: 2, ...by },
    { event: 'key.rotated', slot: 2, ...by },
    { event: 'configuration.changed', change: 'deployment added', deployment: 'nightly', ...by },
    { event: 'configuration.changed', change: 'deployment removed', deployment: 'nightly', ...by },
  ]);
  for (const key of Object.values(JSON.parse(keys) as Record<string, string>)) expect(log).not.toContain(key);
});

test('a service that must end logs why', async () => {
  const database = await createTestDatabase();
  const { reader, writer } = pipe();
  const service = await start(['ignore', 'ignore', writer], ['--database', database.url]);

  await database.drop();

  expect(await service.ended).toBe(1);
  expect(await readUntil(reader, /service\.failed.*\n/)).toMatch(
    /"level":"error",.*"event":"service\.failed","error":".+"/,
  );
});
