import { beforeEach, expect, test } from 'vitest';
import type { LedgerUpstream } from '../support/ledger-upstream.ts';
import { Place, requests, type Server } from './offpeak.ts';
import { sendTo, Wire } from './wire.ts';

const ADMIN_KEY = 'admin-0123456789abcdef0123456789abcdef';
const API_KEY = 'key-of-the-default-resource-0123456789';
const DEPLOYMENTS =
  '/subscriptions/00000000-0000-0000-0000-000000000000/resourceGroups/offpeak/providers/Microsoft.CognitiveServices/accounts/default/deployments';
const REQUESTS = 400;
/** After this time, every request that was sent before the answer to the change has arrived. */
const ON_ITS_WAY_MS = 200;

const place = new Place();
let server: Server;
let east: LedgerUpstream;
let west: LedgerUpstream;
beforeEach(async () => {
  east = await place.ledger({ script: { latencyMs: 20 } });
  west = await place.ledger({ script: { latencyMs: 20 } });
});

const upstream = (name: 'east' | 'west') => ({
  name,
  url: (name === 'east' ? east : west).url,
  region: `${name}us`,
});

/** JSON is valid YAML. */
const configure = (upstreams: readonly object[]): Promise<void> =>
  place.write(
    'offpeak.yaml',
    JSON.stringify({ adminKey: ADMIN_KEY, apiKey: API_KEY, location: 'eastus', upstreams }),
  );

const wire = new Wire(
  sendTo(
    () => server.url,
    () => API_KEY,
  ),
);

async function deploy(method: 'PUT' | 'PATCH', offpeak: object): Promise<void> {
  const response = await fetch(`${server.url}${DEPLOYMENTS}/llama?api-version=2025-09-01`, {
    method,
    headers: { 'api-key': ADMIN_KEY, 'content-type': 'application/json' },
    body: JSON.stringify({
      ...(method === 'PUT' && { sku: { name: 'GlobalBatch', capacity: 50 } }),
      properties: {
        ...(method === 'PUT' && { model: { format: 'OpenAI', name: 'gpt-4o', version: '2024-08-06' } }),
        offpeak,
      },
    }),
  });
  if (!response.ok) throw new Error(`${method}: ${response.status} ${await response.text()}`);
}

const startBatch = async (): Promise<string> => (await wire.create(await wire.upload(requests(REQUESTS)))).id;

const completed = async (id: string): Promise<unknown> =>
  expect(await wire.untilEnded(id)).toMatchObject({
    status: 'completed',
    request_counts: { total: REQUESTS, completed: REQUESTS, failed: 0 },
  });

async function askedAfter(ledger: LedgerUpstream, atMs: number): Promise<number> {
  const { entries } = await ledger.ledger();
  return entries.filter(({ receivedAtMs }) => receivedAtMs > atMs + ON_ITS_WAY_MS).length;
}

test('once a PATCH that takes an upstream from a deployment is answered, nothing more is sent there', async () => {
  await configure([upstream('east'), upstream('west')]);
  server = await place.serve();
  await deploy('PUT', { concurrency: 4 });
  const id = await startBatch();
  await Promise.all([east.untilRequests(6), west.untilRequests(6)]);

  await deploy('PATCH', { upstreams: ['west'] });
  const changedAtMs = Date.now();
  await completed(id);

  expect(await askedAfter(east, changedAtMs)).toBe(0);
  expect(await askedAfter(west, changedAtMs)).toBeGreaterThan(100);
});

test('a SIGHUP moves a running batch to the upstreams of the new configuration, and loses nothing', async () => {
  await configure([upstream('east')]);
  server = await place.serve();
  await deploy('PUT', { concurrency: 4 });
  const id = await startBatch();
  await east.untilRequests(21);

  await configure([upstream('west')]);
  server.child.kill('SIGHUP');
  await west.untilRequests(1);
  const movedAtMs = Date.now();
  await completed(id);

  expect(await askedAfter(east, movedAtMs)).toBe(0);
  const [eastern, western] = await Promise.all([east.stats(), west.stats()]);
  expect(eastern.requests + western.requests).toBe(REQUESTS);
});
