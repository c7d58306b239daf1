import { createServer, type Server as HttpServer } from 'node:http';
import { once } from 'node:events';
import type { AddressInfo } from 'node:net';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { scratch, serve, start, type Running, type Server } from './offpeak.ts';

let place: Awaited<ReturnType<typeof scratch>>;
let running: Running[];
let models: HttpServer[];
beforeEach(async () => {
  place = await scratch();
  running = [];
  models = [];
});
afterEach(async () => {
  for (const { child, ended } of running) {
    child.kill('SIGKILL');
    await ended;
  }
  for (const server of models) {
    server.closeAllConnections();
    server.close();
  }
  await place.remove();
});

/** A model server that lists these models; null: it never answers. */
async function modelServer(list: readonly string[] | null, status = 200): Promise<string> {
  const server = createServer((_request, response) => {
    if (list === null) return;
    response.writeHead(status, { 'content-type': 'application/json' });
    response.end(JSON.stringify({ object: 'list', data: list.map((id) => ({ id })) }));
  });
  models.push(server);
  await once(server.listen(0, '127.0.0.1'), 'listening');
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}/v1`;
}

async function startServer(...args: string[]): Promise<Server> {
  const server = await serve(['--admin-key', 'a'.repeat(64), ...args], { cwd: place.dir });
  running.push(server);
  return server;
}

const startedJson = async (server: Running): Promise<{ upstreams: unknown }> =>
  JSON.parse(/^\{"url".*\}$/m.exec(await server.until(/^\{"url".*\}$/m))?.[0] ?? '') as {
    upstreams: unknown;
  };

test('what each upstream is good for is told at the start, and a start does not wait for any', async () => {
  const closed = await modelServer([]);
  models.pop()?.close();
  const file = `upstreams:
  - { name: good, url: ${await modelServer(['llama', 'qwen'])} }
  - { name: other, url: ${await modelServer(['mistral'])} }
  - { name: locked, url: ${await modelServer([], 401)} }
  - { name: closed, url: ${closed} }
  - { name: hanging, url: ${await modelServer(null)} }
  - { name: invented, url: simulator }
deployments: [llama]
`;
  await writeFile(join(place.dir, 'offpeak.yaml'), file);

  const server = await startServer();

  expect((await fetch(`${server.url}/healthz`)).status).toBe(200);
  expect((await startedJson(server)).upstreams).toEqual([
    { name: 'good', state: 'ready', reason: 'answers and lists 2 models' },
    {
      name: 'other',
      state: 'unready',
      reason: "answers and lists 1 model, but not 'llama'; it has 'mistral'",
    },
    { name: 'locked', state: 'unready', reason: expect.stringMatching(/^wants another key: it answers 401/) },
    { name: 'closed', state: 'unready', reason: 'nothing listens there (connection refused)' },
    { name: 'hanging', state: 'unknown', reason: 'has not answered within 2 s' },
    { name: expect.any(String), state: 'simulated', reason: 'answers are simulated' },
  ]);
  const log = await server.until(/upstream\.simulated/);
  expect(log).toMatch(/"level":"info",.*"event":"upstream.ready","upstream":"good"/);
  expect(log).toMatch(
    /"level":"warn",.*"event":"upstream.unready","upstream":"closed","reason":"nothing listens/,
  );
  expect(log).toMatch(/"level":"warn",.*"event":"upstream.unknown","upstream":"hanging"/);
  expect(log).toMatch(/"level":"warn",.*"event":"upstream.simulated","upstream":".*answers are simulated/);
});

test('the banner names what cannot serve', async () => {
  const closed = await modelServer([]);
  models.pop()?.close();
  const service = start(
    ['serve', '--port', '0', '--ballast', '0', '--upstream', closed, '--deployment', 'llama'],
    { cwd: place.dir },
  );
  running.push(service);

  const text = await service.until(/watch/);

  expect(text).toMatch(/upstreams +127\.0\.0\.1:\d+ cannot serve as it is: nothing listens there/);
  expect(text).toContain('Send it a batch, a file whose lines have "model": "llama"');
});

test('an upstream that a reload brings is asked too, and one that stays is not asked again', async () => {
  const good = await modelServer(['llama']);
  const configure = (more: string) =>
    writeFile(
      join(place.dir, 'offpeak.yaml'),
      `upstreams:\n  - { name: good, url: ${good} }\n${more}deployments: [llama]\n`,
    );
  await configure('');
  const server = await startServer();
  await configure(`  - { name: new, url: ${await modelServer(['llama'])} }\n`);

  server.child.kill('SIGHUP');
  const log = await server.until(/"event":"upstream.ready","upstream":"new"/);

  expect(log.match(/"event":"upstream.ready","upstream":"good"/g)).toHaveLength(1);
});

test('servers without names behind one host are told apart by their paths', async () => {
  const gateway = new URL(await modelServer(['qwen']));
  const file = `deployments:
  - { name: one, model: qwen, upstreams: [{ url: '${gateway.origin}/one/v1' }] }
  - { name: two, model: qwen, upstreams: [{ url: '${gateway.origin}/v1/' }] }
`;
  await writeFile(join(place.dir, 'offpeak.yaml'), file);

  const { upstreams } = await startedJson(await startServer());

  const names = (upstreams as { name: string }[]).map(({ name }) => name);
  expect(names).toEqual(expect.arrayContaining([`${gateway.host}/one/v1`, gateway.host]));
});
