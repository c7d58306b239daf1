import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import { startLedgerUpstream, type LedgerUpstream } from '../support/ledger-upstream.ts';
import { requests, scratch, serve, type Server } from './offpeak.ts';

const ADMIN_KEY = 'admin-0123456789abcdef0123456789abcdef';
const API_KEY = 'key-of-the-default-resource-0123456789';
const DEPLOYMENTS =
  '/subscriptions/00000000-0000-0000-0000-000000000000/resourceGroups/offpeak/providers/Microsoft.CognitiveServices/accounts/default/deployments';
const REQUESTS = 400;
/** A request that was on its way when the change was answered has arrived by then. */
const ON_ITS_WAY_MS = 200;

let place: Awaited<ReturnType<typeof scratch>>;
let server: Server | undefined;
let east: LedgerUpstream;
let west: LedgerUpstream;
beforeEach(async () => {
  place = await scratch();
  [east, west] = (await Promise.all(
    ['east', 'west'].map(() => startLedgerUpstream({ script: { latencyMs: 20 } })),
  )) as [LedgerUpstream, LedgerUpstream];
});
afterEach(async () => {
  server?.child.kill('SIGKILL');
  await server?.ended;
  server = undefined;
  await Promise.all([east.stop(), west.stop()]);
  await place.remove();
});

function url(): string {
  if (server === undefined) throw new Error('the service has not started');
  return server.url;
}

const upstream = (name: 'east' | 'west') => ({
  name,
  url: (name === 'east' ? east : west).url,
  region: `${name}us`,
});

async function configure(upstreams: readonly object[]): Promise<void> {
  const config = {
    adminKey: ADMIN_KEY,
    apiKey: API_KEY,
    location: 'eastus',
    upstreams,
  };
  // JSON is YAML, too.
  await writeFile(join(place.dir, 'offpeak.yaml'), JSON.stringify(config));
}

async function call(method: string, path: string, body?: object): Promise<Record<string, never>> {
  const response = await fetch(`${url()}${path}`, {
    method,
    headers: {
      'api-key': path.startsWith('/subscriptions') ? ADMIN_KEY : API_KEY,
      'content-type': 'application/json',
    },
    ...(body && { body: JSON.stringify(body) }),
  });
  const answer = (await response.json()) as Record<string, never>;
  if (!response.ok) throw new Error(`${method} ${path}: ${response.status} ${JSON.stringify(answer)}`);
  return answer;
}

const deploy = (method: 'PUT' | 'PATCH', offpeak: object): Promise<unknown> =>
  call(method, `${DEPLOYMENTS}/llama?api-version=2025-09-01`, {
    ...(method === 'PUT' && { sku: { name: 'GlobalBatch', capacity: 50 } }),
    properties: {
      ...(method === 'PUT' && { model: { format: 'OpenAI', name: 'gpt-4o', version: '2024-08-06' } }),
      offpeak,
    },
  });

async function startBatch(): Promise<string> {
  const form = new FormData();
  form.append('purpose', 'batch');
  form.append('file', new Blob([requests(REQUESTS)]), 'in.jsonl');
  const uploaded = await fetch(`${url()}/v1/files`, {
    method: 'POST',
    body: form,
    headers: { 'api-key': API_KEY },
  });
  const { id } = (await uploaded.json()) as { id: string };
  const batch = await call('POST', '/v1/batches', {
    input_file_id: id,
    endpoint: '/v1/chat/completions',
    completion_window: '24h',
  });
  return batch['id'] ?? '';
}

const completed = (id: string): Promise<unknown> =>
  vi.waitFor(
    async () =>
      expect(await call('GET', `/v1/batches/${id}`)).toMatchObject({
        status: 'completed',
        request_counts: { total: REQUESTS, completed: REQUESTS, failed: 0 },
      }),
    { timeout: 60_000, interval: 50 },
  );

const bothAreAsked = (): Promise<void> =>
  vi.waitFor(
    async () => {
      for (const { requests: asked } of await Promise.all([east.stats(), west.stats()]))
        expect(asked).toBeGreaterThan(5);
    },
    { timeout: 20_000, interval: 10 },
  );

async function askedAfter(ledger: LedgerUpstream, atMs: number): Promise<number> {
  const { entries } = await ledger.ledger();
  return entries.filter(({ receivedAtMs }) => receivedAtMs > atMs + ON_ITS_WAY_MS).length;
}

test('once a PATCH that takes an upstream from a deployment is answered, nothing more is sent there', async () => {
  await configure([upstream('east'), upstream('west')]);
  server = await serve([], { cwd: place.dir });
  await deploy('PUT', { concurrency: 4 });
  const id = await startBatch();
  await bothAreAsked();

  await deploy('PATCH', { upstreams: ['west'] });
  const changedAtMs = Date.now();
  await completed(id);

  expect(await askedAfter(east, changedAtMs)).toBe(0);
  expect(await askedAfter(west, changedAtMs)).toBeGreaterThan(100);
});

test('a SIGHUP moves a running batch to the upstreams of the new configuration, and loses nothing', async () => {
  await configure([upstream('east')]);
  server = await serve([], { cwd: place.dir });
  await deploy('PUT', { concurrency: 4 });
  const id = await startBatch();
  await vi.waitFor(async () => expect((await east.stats()).requests).toBeGreaterThan(20), {
    timeout: 20_000,
  });

  await configure([upstream('west')]);
  server?.child.kill('SIGHUP');
  await vi.waitFor(async () => expect((await west.stats()).requests).toBeGreaterThan(0), { timeout: 20_000 });
  const movedAtMs = Date.now();
  await completed(id);

  expect(await askedAfter(east, movedAtMs)).toBe(0);
  const [eastern, western] = await Promise.all([east.stats(), west.stats()]);
  expect(eastern.requests + western.requests).toBe(REQUESTS);
});
