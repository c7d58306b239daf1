import { rm } from 'node:fs/promises';
import { expect, test } from 'vitest';
import { Place, requests, type Server } from './offpeak.ts';

const ADMIN_KEY = 'admin-0123456789abcdef';

const DEPLOYMENTS = '/openai/deployments?api-version=2024-10-21';

const place = new Place();
const startUpstream = (latencyMs: number) => place.ledger({ script: { latencyMs } });
const startServer = (args: readonly string[] = [], env: Record<string, string> = {}) =>
  place.serve(['--admin-key', ADMIN_KEY, ...args], { env });
const configure = (file: string) => place.write('offpeak.yaml', file);

/** Sends the signal, and resolves with what the service then logged. */
async function reload(server: Server, ends = /configuration\.read"/): Promise<string> {
  const before = (await server.until(/./)).length;
  server.child.kill('SIGHUP');
  return (await server.until(new RegExp(`^[^]{${before}}[^]*${ends.source}`))).slice(before);
}

const cliOf =
  ({ url }: Server) =>
  (...args: string[]) =>
    place.offpeak(args, { env: { OFFPEAK_ENDPOINT: url, OFFPEAK_API_KEY: 'own-key' } });

async function ask(server: Server, path: string, key = 'own-key'): Promise<{ status: number; body: string }> {
  const response = await fetch(server.url + path, { headers: { 'api-key': key } });
  return { status: response.status, body: await response.text() };
}

test('a running batch loses nothing when deployments and upstreams are added and removed', async () => {
  const [first, second] = [await startUpstream(300), await startUpstream(0)];
  const file = (named: string, deployments: string) =>
    configure(`apiKey: own-key\nconcurrency: 4\nupstreams:\n${named}deployments: [${deployments}]\n`);
  const [one, two] = [
    `  - { name: one, url: ${first.url} }\n`,
    `  - { name: two, url: ${second.url}, models: [llama, qwen] }\n`,
  ];
  await file(one, 'llama, old');
  const server = await startServer();
  await place.write('in.jsonl', requests(200));
  const cli = cliOf(server);
  const id = (await cli('batches', 'create', '--file', 'in.jsonl')).stdout.trim();
  await first.untilRequests(20);

  await file(one + two, 'llama, new=qwen');
  const added = await reload(server);
  await second.untilRequests(20);
  await file(two, 'llama, new=qwen');
  const removed = await reload(server);
  const sentToFirst = (await first.stats()).requests;
  const watched = await cli('batches', 'watch', id);

  for (const change of [
    'deployment default/new added',
    'deployment default/old removed',
    'upstream two added',
  ])
    expect(added).toContain(change);
  expect(removed).toContain('upstream one removed');
  expect(watched.code).toBe(0);
  expect((await first.stats()).requests).toBe(sentToFirst);
  await cli('batches', 'download', id, '-o', 'out.jsonl');
  const content = await cli('batches', 'get', id, '--json');
  expect(JSON.parse(content.stdout)).toMatchObject({
    request_counts: { total: 200, completed: 200, failed: 0 },
  });
  const deployments = await ask(server, DEPLOYMENTS);
  expect(deployments.body).toContain('"new"');
  expect(deployments.body).not.toContain('"old"');
});

test('a deployment that is removed while its batch runs keeps its own upstream until the batch is over', async () => {
  const upstream = await startUpstream(1_000);
  await configure(
    `apiKey: own-key\nconcurrency: 4\ndeployments:\n  - { name: llama, upstreams: ['${upstream.url}'] }\n  - stays\n`,
  );
  const server = await startServer();
  await place.write('in.jsonl', requests(100));
  const cli = cliOf(server);
  const id = (await cli('batches', 'create', '--file', 'in.jsonl')).stdout.trim();
  await upstream.untilRequests(10);

  await configure('apiKey: own-key\nconcurrency: 4\ndeployments: [stays]\n');
  const said = await reload(server);
  await upstream.script({ latencyMs: 0 });
  const watched = await cli('batches', 'watch', id);
  await reload(server);
  const deployments = await ask(server, DEPLOYMENTS);

  expect(said).toMatch(/'llama'.*is no longer declared, but has live batches: it stays/);
  expect(watched.code).toBe(0);
  expect(deployments.body).not.toContain('"llama"');
});

test('a faulty file changes nothing: every fault is logged with its line, and the service runs on', async () => {
  await configure('apiKey: own-key\ndeployments: [a, b]\n');
  const server = await startServer();
  const before = await ask(server, DEPLOYMENTS);

  await configure(`apiKey: other-key
deployments:
  - c
  - { name: d, model: gpt-4o, version: '1999' }
resources:
  - { name: team, location: eastus, deployments: [{ name: e, model: gpt-4o, enqueuedTokens: 6B }] }
`);
  const refused = await reload(server, /configuration\.refused"/);
  await configure('apiKey: other-key\ndeployments: [c]\nlocatoin: x\n');
  const misspelt = await reload(server, /configuration\.refused"/);
  const after = await ask(server, DEPLOYMENTS);

  expect(refused).toMatch(/offpeak\.yaml:4.*1999/);
  expect(refused).toMatch(/offpeak\.yaml:6.*quota/i);
  expect(misspelt).toMatch(/offpeak\.yaml:3.*Did you mean 'location'/);
  expect(after).toEqual(before);
  expect(after.status).toBe(200);
});

test('a file that is gone is a fault, and options that need a restart are logged', async () => {
  await configure('apiKey: own-key\ndeployments: [a]\n');
  const server = await startServer();

  await configure('apiKey: own-key\ndeployments: [a]\nlocation: eastus\nmaxFiles: 7\nconcurrency: 3\n');
  const said = await reload(server);
  await rm(place.path('offpeak.yaml'));
  const gone = await reload(server, /configuration\.refused"/);

  expect(said).toMatch(
    /configuration\.restart_needed","option":"--location"[^]*restart_needed","option":"--max-files"/,
  );
  expect(said).toContain('"change":"--concurrency"');
  expect(gone).toMatch(/offpeak\.yaml.*there is no such file/);
});

test('a key that was replaced is refused at once', async () => {
  await configure('apiKey: own-key\nadminKey: first-admin-key\ndeployments: [a]\n');
  const server = await place.serve();
  const files = '/openai/v1/files';
  const before = [await ask(server, files), await ask(server, '/audit', 'first-admin-key')];

  await configure('apiKey: new-key\nadminKey: second-admin-key\ndeployments: [a]\n');
  const said = await reload(server);
  const old = [await ask(server, files), await ask(server, '/audit', 'first-admin-key')];
  const now = [await ask(server, files, 'new-key'), await ask(server, '/audit', 'second-admin-key')];

  const statuses = [before, old, now].map((answers) => answers.map(({ status }) => status));
  expect(statuses).toEqual([
    [200, 200],
    [401, 401],
    [200, 200],
  ]);
  expect(said).toContain('"change":"--api-key"');
  expect(said).not.toContain('new-key');
});

test('without a configuration file the signal changes nothing', async () => {
  const server = await startServer(['--api-key', 'own-key']);

  const said = await reload(server);

  expect(said).toContain('"event":"configuration.read","count":0');
  expect((await ask(server, DEPLOYMENTS)).status).toBe(200);
});

test('declared resources accept keys from the environment, and a second start writes nothing into the audit log', async () => {
  await configure(`apiKey: own-key
resources:
  - name: search
    location: swedencentral
    keys: ['\${SEARCH_KEY}']
    deployments: [{ name: bulk, model: gpt-4o, enqueuedTokens: 1M }]
`);
  const env = { SEARCH_KEY: 'key-of-search' };
  const first = await startServer([], env);
  const opened = await ask(first, `/search${DEPLOYMENTS}`, 'key-of-search');
  const foreign = await ask(first, `/search${DEPLOYMENTS}`);
  const before = await ask(first, '/audit', ADMIN_KEY);
  await first.stop();

  const second = await startServer([], env);
  const after = await ask(second, '/audit', ADMIN_KEY);

  expect(opened.body).toContain('"bulk"');
  expect(foreign.status).toBe(401);
  expect(before.body).toContain('deployment.create');
  expect(before.body).not.toContain('key-of-search');
  expect(after).toEqual(before);
});
