import { CognitiveServicesManagementClient } from '@azure/arm-cognitiveservices';
import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { getCACertificates, setDefaultCACertificates } from 'node:tls';
import { AzureOpenAI, toFile } from 'openai';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { requests, scratch, serve, type Server } from '../e2e/offpeak.ts';
import { startEntra, TENANT, type Entra } from '../support/entra.ts';
import { startLedgerUpstream, type LedgerUpstream } from '../support/ledger-upstream.ts';

const SUBSCRIPTION = '11111111-2222-3333-4444-555555555555';
const GROUP = 'research';
const ADMIN_KEY = 'admin-key-0123456789abcdef';
const OPERATOR = 'aaaaaaaa-0000-0000-0000-000000000001';
const MEMBER_OF_A = 'aaaaaaaa-0000-0000-0000-00000000000a';
const MEMBER_OF_B = 'aaaaaaaa-0000-0000-0000-00000000000b';
const MODEL = { format: 'OpenAI', name: 'gpt-4o', version: '2024-08-06' };
const REQUESTS = 40;

let entra: Entra;
let place: Awaited<ReturnType<typeof scratch>>;
let upstreams: Record<'frankfurt' | 'virginia', LedgerUpstream>;
let server: Server;
let arm: CognitiveServicesManagementClient;
beforeAll(async () => {
  entra = await startEntra();
  place = await scratch();
  const [frankfurt, virginia] = await Promise.all([
    startLedgerUpstream({ script: { latencyMs: 10 } }),
    startLedgerUpstream({ script: { latencyMs: 10 } }),
  ]);
  upstreams = { frankfurt, virginia };
  const config = {
    adminKey: ADMIN_KEY,
    upstreams: [
      { name: 'frankfurt', url: frankfurt.url, region: 'germanywestcentral' },
      { name: 'virginia', url: virginia.url, region: 'eastus' },
    ],
    identity: { tenant: TENANT, jwksUri: entra.config.jwksUri },
    roleAssignments: [
      { role: 'Cognitive Services Contributor', oid: OPERATOR, resource: '*' },
      { role: 'Cognitive Services OpenAI Contributor', oid: MEMBER_OF_A, resource: 'team-a' },
      { role: 'Cognitive Services OpenAI Contributor', oid: MEMBER_OF_B, resource: 'team-b' },
    ],
  };
  // JSON is YAML, too.
  await writeFile(join(place.dir, 'offpeak.yaml'), JSON.stringify(config));
  server = await serve(['--tls-self-signed'], { cwd: place.dir });
  const { tls_certificate: certificate } = JSON.parse(await server.until(/tls_certificate/).then(firstLine));
  setDefaultCACertificates([...getCACertificates('default'), await readFile(certificate, 'utf8')]);
  arm = new CognitiveServicesManagementClient(
    {
      getToken: async () => ({
        // A credential of Azure's gets such a token for this client.
        token: await entra.token({ oid: OPERATOR, aud: 'https://management.azure.com' }),
        expiresOnTimestamp: Date.now() + 3_600_000,
      }),
    },
    SUBSCRIPTION,
    { endpoint: server.url },
  );
});
afterAll(async () => {
  server.child.kill('SIGKILL');
  await server.ended;
  await Promise.all([upstreams.frankfurt.stop(), upstreams.virginia.stop(), entra.close()]);
  await place.remove();
});

const firstLine = (text: string): string => /^\{"url".*\}$/m.exec(text)?.[0] ?? '';

const clientOf = (endpoint: string, oid: string): AzureOpenAI =>
  new AzureOpenAI({
    endpoint,
    apiVersion: '2025-04-01-preview',
    azureADTokenProvider: () => entra.token({ oid }),
    maxRetries: 0,
  });

/** Runs a batch to its end. Returns it, and how many of its requests each upstream got. */
async function runBatch(client: AzureOpenAI, deployment: string) {
  const before = await sent();
  const file = await client.files.create({
    file: await toFile(Buffer.from(requests(REQUESTS, deployment)), 'in.jsonl'),
    purpose: 'batch',
  });
  let batch = await client.batches.create({
    input_file_id: file.id,
    endpoint: '/v1/chat/completions',
    completion_window: '24h',
  });
  while (!['completed', 'failed', 'cancelled', 'expired'].includes(batch.status))
    batch = await client.batches.retrieve(batch.id);
  const after = await sent();
  return {
    batch,
    file,
    sent: {
      frankfurt: after.frankfurt - before.frankfurt,
      virginia: after.virginia - before.virginia,
    },
  };
}

async function sent(): Promise<Record<'frankfurt' | 'virginia', number>> {
  const [frankfurt, virginia] = await Promise.all([upstreams.frankfurt.stats(), upstreams.virginia.stats()]);
  return { frankfurt: frankfurt.requests, virginia: virginia.requests };
}

test('the ARM client makes a Global Batch deployment, a token runs a batch on it, and another resource sees none of it', async () => {
  const accounts = await Promise.all(
    ['team-a', 'team-b'].map((name) =>
      arm.accounts.beginCreateAndWait(GROUP, name, {
        location: 'germanywestcentral',
        kind: 'OpenAI',
        sku: { name: 'S0' },
        properties: {},
      }),
    ),
  );
  const [endpointOfA = '', endpointOfB = ''] = accounts.map(({ properties }) => properties?.endpoint);
  for (const [name, sku] of [
    ['global', 'GlobalBatch'],
    ['zone', 'DataZoneBatch'],
  ] as const)
    await arm.deployments.beginCreateOrUpdateAndWait(GROUP, 'team-a', name, {
      sku: { name: sku, capacity: 50 },
      properties: { model: MODEL },
    });
  const a = clientOf(endpointOfA, MEMBER_OF_A);
  const b = clientOf(endpointOfB, MEMBER_OF_B);

  const global = await runBatch(a, 'global');
  const zone = await runBatch(a, 'zone');

  expect(global.batch).toMatchObject({
    status: 'completed',
    request_counts: { total: REQUESTS, completed: REQUESTS, failed: 0 },
  });
  const output = await (await a.files.content(global.batch.output_file_id ?? '')).text();
  expect(output.trim().split('\n')).toHaveLength(REQUESTS);
  // GlobalBatch is served everywhere, and DataZoneBatch in the resource's data zone alone.
  expect(global.sent.frankfurt).toBeGreaterThan(0);
  expect(global.sent.virginia).toBeGreaterThan(0);
  expect(global.sent.frankfurt + global.sent.virginia).toBe(REQUESTS);
  expect(zone.batch.status).toBe('completed');
  expect(zone.sent).toEqual({ frankfurt: REQUESTS, virginia: 0 });

  expect((await b.batches.list()).data).toEqual([]);
  expect((await b.files.list()).data).toEqual([]);
  expect((await b.models.list()).data.map(({ id }) => id)).not.toContain('global');
  for (const look of [
    () => b.batches.retrieve(global.batch.id),
    () => b.batches.cancel(global.batch.id),
    () => b.files.retrieve(global.file.id),
    () => b.files.content(global.batch.output_file_id ?? ''),
    () => b.files.delete(global.file.id),
  ])
    await expect(look()).rejects.toMatchObject({ status: 404 });
  await expect(clientOf(endpointOfB, MEMBER_OF_A).batches.list()).rejects.toMatchObject({
    status: 401,
    code: 'PermissionDenied',
  });
  const borrowed = await b.batches.create({
    input_file_id: (
      await b.files.create({
        file: await toFile(Buffer.from(requests(1, 'global')), 'in.jsonl'),
        purpose: 'batch',
      })
    ).id,
    endpoint: '/v1/chat/completions',
    completion_window: '24h',
  });
  expect(borrowed.status).toBe('failed');
  expect(borrowed.errors?.data?.[0]?.code).toBe('model_not_found');
});

test('work moves to the upstreams that are left, and never out of the data zone', async () => {
  const { properties } = await arm.accounts.get(GROUP, 'team-a');
  const a = clientOf(properties?.endpoint ?? '', MEMBER_OF_A);

  await upstreams.frankfurt.script({ down: true });
  const global = await runBatch(a, 'global');
  const before = await sent();
  const file = await a.files.create({
    file: await toFile(Buffer.from(requests(3, 'zone')), 'in.jsonl'),
    purpose: 'batch',
  });
  const waiting = await a.batches.create({
    input_file_id: file.id,
    endpoint: '/v1/chat/completions',
    completion_window: '24h',
  });
  expect(global.batch).toMatchObject({ status: 'completed', request_counts: { completed: REQUESTS } });
  expect(global.sent.virginia).toBe(REQUESTS);

  await upstreams.frankfurt.script({ down: false });
  let zone = waiting;
  while (!['completed', 'failed'].includes(zone.status)) zone = await a.batches.retrieve(zone.id);

  expect(zone).toMatchObject({ status: 'completed', request_counts: { completed: 3 } });
  expect((await sent()).virginia).toBe(before.virginia);
});

test('the audit log names who made what', async () => {
  const response = await fetch(`${server.url}/audit?resource=team-a`, { headers: { 'api-key': ADMIN_KEY } });
  const { data } = (await response.json()) as { data: { actor: string; action: string; target: string }[] };

  expect(data.map(({ actor, action, target }) => [actor, action, target])).toEqual([
    [OPERATOR, 'deployment.create', 'zone'],
    [OPERATOR, 'deployment.create', 'global'],
    [OPERATOR, 'resource.create', 'team-a'],
  ]);
});
