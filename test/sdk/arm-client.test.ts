import { CognitiveServicesManagementClient } from '@azure/arm-cognitiveservices';
import type { TokenCredential } from '@azure/core-auth';
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { openLocalCa } from '../../src/tls/local-ca.ts';
import { ADMIN_KEY, startService, type Service } from '../contract/harness.ts';
import { startEntra, type Entra } from '../support/entra.ts';

const SUBSCRIPTION = '11111111-2222-3333-4444-555555555555';
const GROUP = 'research';
const OPERATOR = 'aaaaaaaa-0000-0000-0000-000000000001';
const READER = 'aaaaaaaa-0000-0000-0000-000000000002';

let entra: Entra;
let service: Service;
let dir: string;
let ca: string;
beforeAll(async () => {
  entra = await startEntra();
  dir = await mkdtemp(join(tmpdir(), 'offpeak-arm-'));
  const authority = await openLocalCa(dir, { nowMs: Date.now() });
  ca = await readFile(authority.certPath, 'utf8');
  service = await startService({
    tls: await authority.issue(['localhost', '127.0.0.1']),
    identity: {
      tokens: entra.config,
      roleAssignments: [
        { role: 'Cognitive Services Contributor', resource: '*', oid: OPERATOR },
        { role: 'Reader', resource: 'reader-sees-this', oid: READER },
      ],
    },
  });
});
afterAll(async () => {
  await service.close();
  await entra.close();
  await rm(dir, { recursive: true, force: true });
});

const credentialOf = (token: () => Promise<string>): TokenCredential => ({
  getToken: async () => ({ token: await token(), expiresOnTimestamp: Date.now() + 3_600_000 }),
});
const clientOf = (token: () => Promise<string>): CognitiveServicesManagementClient =>
  new CognitiveServicesManagementClient(credentialOf(token), SUBSCRIPTION, {
    endpoint: service.url,
    tlsOptions: { ca },
    retryOptions: { maxRetries: 0 },
  });

async function all<T>(pages: AsyncIterable<T>): Promise<T[]> {
  const items: T[] = [];
  for await (const item of pages) items.push(item);
  return items;
}

interface Operator {
  readonly what: string;
  readonly account: string;
  readonly token: () => Promise<string>;
}

const OPERATORS: Operator[] = [
  { what: 'the admin key', account: 'by-key', token: async () => ADMIN_KEY },
  {
    what: 'a token of a local issuer',
    account: 'by-token',
    token: () => entra.token({ oid: OPERATOR }),
  },
  {
    what: 'a token meant for Azure Resource Manager',
    account: 'by-arm-token',
    token: () => entra.token({ oid: OPERATOR, aud: 'https://management.azure.com' }),
  },
];

describe.each(OPERATORS)('with $what', ({ account, token }) => {
  test('accounts are made, read, listed and changed, and their keys shown', async () => {
    const client = clientOf(token);

    const created = await client.accounts.beginCreateAndWait(GROUP, account, {
      location: 'swedencentral',
      kind: 'OpenAI',
      sku: { name: 'S0' },
      tags: { team: 'search' },
      properties: {},
    });
    expect(created).toMatchObject({
      name: account,
      location: 'swedencentral',
      kind: 'OpenAI',
      tags: { team: 'search' },
      properties: { provisioningState: 'Succeeded', endpoint: `${service.url}/${account}/` },
    });
    expect(await client.accounts.get(GROUP, account)).toEqual(created);
    expect(await all(client.accounts.listByResourceGroup(GROUP))).toContainEqual(created);
    expect(await all(client.accounts.list())).toContainEqual(created);
    expect((await client.accounts.listSkus(GROUP, account)).value).toMatchObject([{ sku: { name: 'S0' } }]);

    const changed = await client.accounts.beginUpdateAndWait(GROUP, account, {
      properties: { disableLocalAuth: true },
    });
    expect(changed.properties?.disableLocalAuth).toBe(true);

    const first = await client.accounts.listKeys(GROUP, account);
    const second = await client.accounts.listKeys(GROUP, account);
    const renewed = await client.accounts.regenerateKey(GROUP, account, 'Key1');
    expect(second.key1).toBe(`shown-once-ends-in-${first.key1?.slice(-4)}`);
    expect(renewed.key1).not.toBe(first.key1);
    expect(renewed.key2).toBe(second.key2);
  });

  test('deployments are made, read, listed, changed and deleted', async () => {
    const { deployments } = clientOf(token);
    const wanted = {
      sku: { name: 'GlobalBatch', capacity: 50 },
      properties: {
        model: { format: 'OpenAI', name: 'gpt-4o', version: '2024-08-06' },
        versionUpgradeOption: 'NoAutoUpgrade',
        raiPolicyName: 'strict',
      },
    };

    const created = await deployments.beginCreateOrUpdateAndWait(GROUP, account, 'gpt-4o-batch', wanted);
    expect(created).toMatchObject({
      ...wanted,
      name: 'gpt-4o-batch',
      properties: { ...wanted.properties, provisioningState: 'Succeeded', dynamicThrottlingEnabled: false },
    });
    expect(await deployments.get(GROUP, account, 'gpt-4o-batch')).toEqual(created);
    expect(await all(deployments.list(GROUP, account))).toEqual([created]);
    expect(await all(deployments.listSkus(GROUP, account, 'gpt-4o-batch'))).toContainEqual(
      expect.objectContaining({ sku: { name: 'GlobalBatch' } }),
    );

    const updated = await deployments.beginUpdateAndWait(GROUP, account, 'gpt-4o-batch', {
      sku: { name: 'GlobalBatch', capacity: 60 },
      tags: { env: 'test' },
    });
    expect(updated).toMatchObject({ sku: { capacity: 60 }, tags: { env: 'test' } });
    // What a GET showed can be sent back. The client does not know our own members.
    const again = await deployments.beginCreateOrUpdateAndWait(GROUP, account, 'gpt-4o-batch', updated);
    expect(again).toEqual(updated);

    await deployments.beginDeleteAndWait(GROUP, account, 'gpt-4o-batch');
    await deployments.beginDeleteAndWait(GROUP, account, 'gpt-4o-batch');
    await expect(deployments.get(GROUP, account, 'gpt-4o-batch')).rejects.toMatchObject({
      statusCode: 404,
      code: 'ResourceNotFound',
    });
  });

  test('models, capacities and quotas are read', async () => {
    const client = clientOf(token);

    const models = await all(client.models.list('swedencentral'));
    const ofAccount = await all(client.accounts.listModels(GROUP, account));
    const usages = await all(client.usages.list('swedencentral'));
    const usagesOfAccount = await client.accounts.listUsages(GROUP, account);
    const capacities = await all(client.modelCapacities.list('OpenAI', 'gpt-4o', '2024-08-06'));
    const here = await all(
      client.locationBasedModelCapacities.list('swedencentral', 'OpenAI', 'gpt-4o', '2024-08-06'),
    );

    expect(models.find(({ model }) => model?.version === '2024-08-06')).toMatchObject({
      kind: 'OpenAI',
      model: { format: 'OpenAI', name: 'gpt-4o' },
    });
    expect(ofAccount.map(({ name }) => name)).toContain('gpt-4o');
    expect(usages.find(({ name }) => name?.value === 'OpenAI.GlobalBatch.gpt-4o')).toMatchObject({
      unit: 'Count',
      currentValue: 0,
      limit: 5_000_000,
    });
    expect(usagesOfAccount.value).toEqual(usages);
    expect(here).toContainEqual(expect.objectContaining({ location: 'swedencentral', name: 'GlobalBatch' }));
    expect(capacities).toEqual(expect.arrayContaining(here));
  });

  test('refusals are errors that the client understands', async () => {
    const { deployments } = clientOf(token);
    const put = (capacity: number, version: string): Promise<unknown> =>
      deployments.beginCreateOrUpdateAndWait(GROUP, account, 'd', {
        sku: { name: 'GlobalBatch', capacity },
        properties: { model: { format: 'OpenAI', name: 'gpt-4o', version } },
      });

    await expect(put(5_000_001, '2024-08-06')).rejects.toMatchObject({
      statusCode: 400,
      code: 'InsufficientQuota',
    });
    await expect(put(1, '1999-01-01')).rejects.toMatchObject({
      statusCode: 400,
      code: 'DeploymentModelNotSupported',
    });
  });

  test('an account is deleted, once and again', async () => {
    const { accounts } = clientOf(token);

    await accounts.beginDeleteAndWait(GROUP, account);
    await accounts.beginDeleteAndWait(GROUP, account);

    await expect(accounts.get(GROUP, account)).rejects.toMatchObject({ statusCode: 404 });
  });
});

test('who may read one account sees that one alone, and changes nothing', async () => {
  const operator = clientOf(async () => ADMIN_KEY);
  for (const name of ['reader-sees-this', 'reader-sees-not'])
    await operator.accounts.beginCreateAndWait(GROUP, name, { location: 'swedencentral' });
  const { accounts, deployments } = clientOf(() => entra.token({ oid: READER }));

  expect((await all(accounts.list())).map(({ name }) => name)).toEqual(['reader-sees-this']);
  expect((await all(accounts.listByResourceGroup(GROUP))).map(({ name }) => name)).toEqual([
    'reader-sees-this',
  ]);
  await expect(accounts.get(GROUP, 'reader-sees-not')).rejects.toMatchObject({ statusCode: 403 });
  for (const change of [
    () => accounts.listKeys(GROUP, 'reader-sees-this'),
    () => accounts.beginDeleteAndWait(GROUP, 'reader-sees-this'),
    () => deployments.beginDeleteAndWait(GROUP, 'reader-sees-this', 'd'),
  ])
    await expect(change()).rejects.toMatchObject({ statusCode: 403, code: 'AuthorizationFailed' });
});

test('a wrong key, a key of a resource and a token of nobody are refused', async () => {
  for (const token of ['wrong', 'key-of-resource-a-0123456789', await entra.token({ oid: 'nobody' })]) {
    const { accounts } = clientOf(async () => token);

    await expect(accounts.get(GROUP, 'reader-sees-this')).rejects.toMatchObject({
      statusCode: token.startsWith('ey') ? 403 : 401,
    });
  }
});
