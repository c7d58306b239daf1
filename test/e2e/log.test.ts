import { execFileSync, spawn, type ChildProcess, type StdioOptions } from 'node:child_process';
import { once } from 'node:events';
import { closeSync, constants, openSync, readSync } from 'node:fs';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { startLedgerUpstream, type LedgerUpstream } from '../support/ledger-upstream.ts';
import { createTestDatabase } from '../support/postgres.ts';
import { offpeak, OFFPEAK, requests, scratch } from './offpeak.ts';

const KEY = 'k'.repeat(64);

let place: Awaited<ReturnType<typeof scratch>>;
let upstream: LedgerUpstream;
let children: ChildProcess[];
let descriptors: number[];
beforeEach(async () => {
  place = await scratch();
  upstream = await startLedgerUpstream({ script: { latencyMs: 100 } });
  children = [];
  descriptors = [];
});
afterEach(async () => {
  for (const child of children) {
    if (child.exitCode === null && child.signalCode === null) {
      child.kill('SIGKILL');
      await once(child, 'exit');
    }
  }
  for (const descriptor of descriptors) closeSync(descriptor);
  await upstream.stop();
  await place.remove();
});

const open = (path: string, flags: number | string): number => {
  const descriptor = openSync(path, flags);
  descriptors.push(descriptor);
  return descriptor;
};

/** Both ends of a pipe. Nobody reads it unless the test does. */
function pipe(): { readonly reader: number; readonly writer: number } {
  const path = join(place.dir, `pipe-${descriptors.length}-${children.length}`);
  execFileSync('mkfifo', [path]);
  const reader = open(path, constants.O_RDONLY | constants.O_NONBLOCK);
  return { reader, writer: open(path, 'w') };
}

const close = (descriptor: number): void => {
  descriptors = descriptors.filter((one) => one !== descriptor);
  closeSync(descriptor);
};

interface Service {
  readonly url: string;
  readonly ended: Promise<number | null>;
  stop(): Promise<number | null>;
}

/** Up as soon as it answers, since nothing may be readable of what it prints. */
async function start(stdio: StdioOptions, args: readonly string[] = []): Promise<Service> {
  const port = await freePort();
  const url = `http://127.0.0.1:${port}`;
  const flags = {
    port: String(port),
    'data-dir': 'data',
    ballast: '0',
    'api-key': KEY,
    upstream: upstream.url,
    deployment: 'llama',
    concurrency: '4',
  };
  const given = Object.entries(flags).flatMap(([name, value]) => [`--${name}`, value]);
  const child = spawn(OFFPEAK, ['serve', ...given, ...args], {
    cwd: place.dir,
    env: { PATH: process.env['PATH'], HOME: place.dir },
    stdio,
  });
  children.push(child);
  const ended = once(child, 'exit').then(([code]) => code as number | null);
  for (;;) {
    const isUp = await fetch(`${url}/healthz`).then(
      ({ ok }) => ok,
      () => false,
    );
    if (isUp) break;
    if (child.exitCode !== null) throw new Error(`the service ended with ${child.exitCode}`);
  }
  return {
    url,
    ended,
    stop() {
      child.kill('SIGTERM');
      return ended;
    },
  };
}

async function freePort(): Promise<number> {
  const { createServer } = await import('node:net');
  const server = createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const address = server.address();
  server.close();
  await once(server, 'close');
  if (address === null || typeof address === 'string') throw new Error('no port');
  return address.port;
}

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

/** What goes wrong with the place that the log goes to. */
const PLACES: readonly (readonly [name: string, () => StdioOptions])[] = [
  [
    'a full disk',
    () => {
      const full = open('/dev/full', 'w');
      return ['ignore', full, full];
    },
  ],
  [
    'a pipe that nobody reads',
    () => {
      const { writer } = pipe();
      return ['ignore', writer, writer];
    },
  ],
  [
    'a socket that nobody reads',
    // Nothing listens for its data, so it is paused.
    () => ['ignore', 'pipe', 'pipe'],
  ],
  [
    'a pipe that is closed',
    () => {
      const { reader, writer } = pipe();
      close(reader);
      return ['ignore', writer, writer];
    },
  ],
];

describe.each(PLACES)('a log on %s', (_name, stdio) => {
  test('changes no answer, no batch and no stop', async () => {
    await writeFile(join(place.dir, 'in.jsonl'), requests(40));
    const first = await start(stdio(), ['--log-level', 'debug']);
    await makeNoise(first.url, 1_500);
    const cli = (url: string, ...args: string[]) =>
      offpeak(args, { cwd: place.dir, env: { OFFPEAK_ENDPOINT: url, OFFPEAK_API_KEY: KEY } });

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
    while ((await upstream.stats()).requests < 8) await cli(first.url, 'batches', 'get', id);

    expect(await first.stop()).toBe(0);
    const second = await start(stdio());
    expect((await cli(second.url, 'batches', 'watch', id)).code).toBe(0);
    expect(await upstream.stats()).toMatchObject({ requests: 40, distinctKeys: 40 });
    expect(await second.stop()).toBe(0);
  });
});

test('what a log could not take is counted, and told once it can', async () => {
  const { reader, writer } = pipe();
  const service = await start(['ignore', 'ignore', writer]);
  await makeNoise(service.url, 6_000);

  const text = await readUntil(reader, /"event":"log\.dropped".*\n/);
  await makeNoise(service.url, 100);

  const entries = text
    .slice(0, text.lastIndexOf('\n'))
    .split('\n')
    .map((line) => JSON.parse(line) as { event: string; count?: number });
  const told = entries.filter(({ event }) => event === 'request').length;
  const dropped = entries.find(({ event }) => event === 'log.dropped')?.count ?? 0;
  expect(dropped).toBeGreaterThan(0);
  expect(told + dropped).toBe(6_000);
  expect(await service.stop()).toBe(0);
});

test('a terminal that is stopped or gone holds nothing up', async () => {
  const port = await freePort();
  const script = join(place.dir, 'terminal.py');
  await writeFile(script, IN_A_TERMINAL);
  const child = spawn(
    'python3',
    [script, OFFPEAK, 'serve', '--port', String(port), '--ballast', '0', '--api-key', KEY],
    {
      cwd: place.dir,
      env: { PATH: process.env['PATH'], HOME: place.dir },
      stdio: ['pipe', 'pipe', 'inherit'],
    },
  );
  children.push(child);
  const url = `http://127.0.0.1:${port}`;
  const say = async (word: string) => {
    child.stdin.write(`${word}\n`);
    const [answer] = (await once(child.stdout, 'data')) as [Buffer];
    return answer.toString().trim();
  };
  while (
    !(await fetch(`${url}/healthz`).then(
      ({ ok }) => ok,
      () => false,
    ))
  );

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

test('what operators change over the API is told, with who did it, and no key', async () => {
  const { reader, writer } = pipe();
  const { url } = await start(['ignore', 'ignore', writer], ['--admin-key', KEY.replaceAll('k', 'a')]);
  const admin = { OFFPEAK_ENDPOINT: url, OFFPEAK_ADMIN_KEY: KEY.replaceAll('k', 'a') };
  const cli = async (...args: string[]) => {
    const { code, stdout, stderr } = await offpeak(args, { cwd: place.dir, env: admin });
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

test('the last word of a service that must end is in the log', async () => {
  const database = await createTestDatabase();
  const { reader, writer } = pipe();
  const service = await start(['ignore', 'ignore', writer], ['--database', database.url]);

  await database.drop();

  expect(await service.ended).toBe(1);
  expect(await readUntil(reader, /service\.failed.*\n/)).toMatch(
    /"level":"error",.*"event":"service\.failed","error":".+"/,
  );
});
