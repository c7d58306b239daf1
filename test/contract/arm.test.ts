import fc from 'fast-check';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import type { HttpDeps } from '../../src/http/deps.ts';
import type { DeclaredDeployment, DeclaredResource } from '../../src/config/declared.ts';
import { startEntra } from '../support/entra.ts';
import {
  ADMIN_KEY,
  batchOn,
  form,
  GROUP as HARNESS_GROUP,
  line,
  RESOURCE_B,
  startService,
  SUBSCRIPTION as HARNESS_SUBSCRIPTION,
  type Json,
  type Service,
} from './harness.ts';

/** This offer gives gpt-4o a quota of 200,000 thousand tokens on GlobalBatch. */
const OFFER = 'default';
const QUOTA = 200_000;
const SUBSCRIPTION = '11111111-2222-3333-4444-555555555555';
const PROVIDER = 'providers/Microsoft.CognitiveServices';
const GROUP = `/subscriptions/${SUBSCRIPTION}/resourceGroups/Research/${PROVIDER}/accounts`;
const LOCATION = `/subscriptions/${SUBSCRIPTION}/${PROVIDER}/locations/swedencentral`;
const FIXED = `${GROUP}/fixed`;

let service: Service;
beforeAll(async () => {
  service = await startService({ declared: { resources: [FIXED_RESOURCE] } });
  // Live batches stay live.
  service.gate.close();
  await declare(service.deps);
});
afterAll(() => service.close());

interface Answer {
  readonly status: number;
  readonly body: Json;
}

async function arm(
  method: string,
  path: string,
  body?: Json,
  { version = '2025-09-01', query = '' }: { version?: string; query?: string } = {},
): Promise<Answer> {
  const { status, body: answer } = await service.json(`${path}?api-version=${version}${query}`, {
    method,
    headers: { 'api-key': ADMIN_KEY, 'content-type': 'application/json' },
    ...(body !== undefined && { body: JSON.stringify(body) }),
  });
  return { status, body: answer };
}

async function get(url: string, key: string): Promise<Answer> {
  const { status, body } = await service.json(url, { headers: { 'api-key': key } });
  return { status, body };
}

const nameOf = (path: string): string => path.slice(path.lastIndexOf('/') + 1);

const FIXED_DEPLOYMENT: DeclaredDeployment = {
  source: 'resources[0].deployments[0]',
  name: 'd',
  model: 'gpt-4o',
  version: '2024-08-06',
  sku: 'GlobalBatch',
  enqueuedTokensMax: 7_000,
  dynamicQuota: false,
  whenFull: 'fail',
  versionUpgradeOption: 'NoAutoUpgrade',
  contentFilter: null,
  concurrencyMax: 1,
  upstreams: null,
  tags: {},
};
const FIXED_RESOURCE: DeclaredResource = {
  source: 'resources[0]',
  id: 'fixed',
  location: 'swedencentral',
  subscriptionId: SUBSCRIPTION,
  resourceGroup: 'Research',
  offer: OFFER,
  keyAuthDisabled: false,
  keys: [],
  sharesKeys: true,
  tags: {},
  deployments: [FIXED_DEPLOYMENT],
};

async function declare({ state }: HttpDeps): Promise<void> {
  const change = { actor: 'configuration', atS: 1_700_000_000 };
  const owned = { owner: 'configuration', createdAt: change.atS } as const;
  await state.resources.put({ ...FIXED_RESOURCE, ...owned }, change);
  await state.deployments.put(
    { resourceId: FIXED_RESOURCE.id, actor: change.actor },
    {
      ...FIXED_DEPLOYMENT,
      ...owned,
      resourceId: FIXED_RESOURCE.id,
      enqueuedTokensMax: 7_000,
      updatedAt: change.atS,
    },
    { quotaTokensMax: null, atS: change.atS },
  );
}

/** Starts a batch whose requests are never answered, and returns the tokens that it holds. */
async function startBatch(resource: string, deploymentName: string): Promise<number> {
  const { key1 } = (await arm('POST', `${GROUP}/${resource}/regenerateKey`, { keyName: 'Key1' })).body;
  const headers = { 'api-key': key1 };
  const file = await service.post(
    `/${resource}/openai/v1/files`,
    form(`${line(1, deploymentName)}\n`),
    headers,
  );
  const batch = await service.post(`/${resource}/openai/v1/batches`, batchOn(file.body.id), headers);
  expect(batch.body.errors).toBeNull();
  return Number(batch.headers.get('deployment-enqueued-tokens'));
}

async function usageOf(name: string): Promise<Json> {
  const { body } = await arm('GET', `${LOCATION}/usages`);
  return body.value.find((usage: Json) => usage.name.value === name);
}

const account = (properties: Json = {}): Json => ({
  location: 'swedencentral',
  kind: 'OpenAI',
  sku: { name: 'S0' },
  properties: { offpeak: { offer: OFFER }, ...properties },
});
const deployment = (capacity = 10, more: Json = {}): Json => ({
  sku: { name: 'GlobalBatch', capacity },
  properties: { model: { format: 'OpenAI', name: 'gpt-4o', version: '2024-08-06' }, ...more },
});

let made = 0;
/** Makes an account for one test, in a location of its own where quota matters. */
async function newAccount(body: Json = account()): Promise<string> {
  made += 1;
  const path = `${GROUP}/team-${made}`;
  const { status } = await arm('PUT', path, body);
  expect(status).toBe(201);
  return path;
}

test('an answer carries the request id that clients of ARM report, also when it refuses', async () => {
  for (const headers of [{ 'api-key': ADMIN_KEY }, { 'api-key': 'wrong' }]) {
    const answer = await service.fetch(`${GROUP}?api-version=2025-09-01`, { headers });

    expect(answer.headers.get('x-ms-request-id')).toBe(answer.headers.get('x-request-id'));
  }
});

test.each([
  ['POST', '', 'GET, HEAD, PUT, PATCH, DELETE'],
  ['GET', '/listKeys', 'POST'],
  ['DELETE', '/deployments', 'GET, HEAD'],
  ['POST', '/deployments/d', 'GET, HEAD, PUT, PATCH, DELETE'],
])('%s %s is answered with the methods that there are', async (method, suffix, allow) => {
  const answer = await service.fetch(`${FIXED}${suffix}?api-version=2025-09-01`, {
    method,
    headers: { 'api-key': ADMIN_KEY },
  });

  expect(answer.status).toBe(405);
  expect(answer.headers.get('allow')?.split(', ').toSorted()).toEqual(allow.split(', ').toSorted());
});

test('the endpoint of an account names it in the host when the control plane was called by such a host', async () => {
  const path = await newAccount();
  const answer = await service.raw(
    `GET ${path}?api-version=2025-09-01 HTTP/1.1\r\nhost: any.openai.azure.com:8443\r\napi-key: ${ADMIN_KEY}\r\n\r\n`,
  );

  expect(answer).toContain(`"endpoint":"http://${nameOf(path)}.openai.azure.com:8443/"`);
});

describe('accounts', () => {
  test('are made, shown, listed, changed and deleted', async () => {
    const path = `${GROUP}/alpha`;

    const created = await arm('PUT', path, { ...account(), tags: { team: 'search' } });
    expect(created.status).toBe(201);
    expect(created.body).toMatchObject({
      id: path,
      name: 'alpha',
      type: 'Microsoft.CognitiveServices/accounts',
      location: 'swedencentral',
      kind: 'OpenAI',
      sku: { name: 'S0' },
      etag: expect.stringMatching(/^"[0-9a-f]{32}"$/),
      tags: { team: 'search' },
      properties: {
        provisioningState: 'Succeeded',
        endpoint: `${service.url}/alpha/`,
        customSubDomainName: 'alpha',
        disableLocalAuth: false,
        offpeak: { offer: OFFER, owner: 'api' },
      },
    });

    expect((await arm('GET', path)).body).toEqual(created.body);
    const inGroup = await arm('GET', GROUP);
    expect(inGroup.body.value.map(({ id }: Json) => id)).toContain(path);
    const inSubscription = await arm(
      'GET',
      `/subscriptions/${SUBSCRIPTION}/providers/Microsoft.CognitiveServices/accounts`,
    );
    expect(inSubscription.body.value.map(({ id }: Json) => id)).toContain(path);

    const changed = await arm('PATCH', path, { properties: { disableLocalAuth: true } });
    expect(changed).toMatchObject({ status: 200, body: { properties: { disableLocalAuth: true } } });
    expect(changed.body.tags).toEqual({ team: 'search' });
    expect(changed.body.etag).not.toBe(created.body.etag);
    const again = await arm('PUT', path, account({ disableLocalAuth: false }));
    expect(again).toMatchObject({ status: 200, body: { properties: { disableLocalAuth: false } } });

    expect((await arm('DELETE', path)).status).toBe(200);
    expect((await arm('DELETE', path)).status).toBe(204);
    expect((await arm('GET', path)).status).toBe(404);
  });

  test('are found whatever the case of the path, and only under their own group and subscription', async () => {
    const path = await newAccount();
    const name = nameOf(path);
    const other = '/subscriptions/99999999-2222-3333-4444-555555555555';
    const provider = `${PROVIDER}/accounts`;

    expect((await arm('GET', path.toLowerCase())).status).toBe(200);
    expect((await arm('GET', path.replace('resourceGroups', 'RESOURCEGROUPS'))).status).toBe(200);
    for (const wrong of [
      `/subscriptions/${SUBSCRIPTION}/resourceGroups/other/${provider}/${name}`,
      `${other}/resourceGroups/Research/${provider}/${name}`,
    ]) {
      for (const [method, suffix] of [
        ['GET', ''],
        ['PATCH', ''],
        ['POST', '/listKeys'],
        ['GET', '/skus'],
        ['GET', '/usages'],
        ['GET', '/models'],
        ['GET', '/deployments'],
        ['PUT', '/deployments/d'],
      ] as const) {
        const body =
          method === 'GET' || suffix === '/listKeys' ? undefined : suffix === '' ? {} : deployment();
        const { status, body: answer } = await arm(method, wrong + suffix, body);
        expect([method, suffix, status, answer.error?.code]).toEqual([
          method,
          suffix,
          404,
          'ResourceNotFound',
        ]);
      }
      expect((await arm('DELETE', wrong)).status).toBe(204);
      expect((await arm('DELETE', `${wrong}/deployments/d`)).status).toBe(204);
    }
    expect((await arm('GET', path)).status).toBe(200);
    const taken = await arm(
      'PUT',
      `/subscriptions/${SUBSCRIPTION}/resourceGroups/other/${provider}/${name}`,
      account(),
    );
    expect(taken).toMatchObject({ status: 409, body: { error: { code: 'AccountNameTaken' } } });
  });

  test.each([
    ['no location', (): Json => ({ kind: 'OpenAI' }), /location/],
    ['a location that is no text', () => ({ ...account(), location: 7 }), /'location'/],
    ['another kind', () => ({ ...account(), kind: 'Speech' }), /'kind'.*'Speech'.*'OpenAI'/],
    ['another SKU', () => ({ ...account(), sku: { name: 'F0' } }), /'sku\.name'.*'F0'.*'S0'/],
    ['tags that are no texts', () => ({ ...account(), tags: { a: 1 } }), /'tags\.a'/],
    ['a switch that is none', () => account({ disableLocalAuth: 'yes' }), /'properties\.disableLocalAuth'/],
    [
      'an unknown offer',
      () => account({ offpeak: { offer: 'gold' } }),
      /'properties\.offpeak\.offer'.*'gold'/,
    ],
    [
      'another subdomain',
      () => account({ customSubDomainName: 'other' }),
      /'properties\.customSubDomainName'/,
    ],
    ['a body that is no object', () => [], /must be a JSON object/],
  ])('with %s are refused', async (_what, body, message) => {
    const { status, body: answer } = await arm('PUT', `${GROUP}/never`, body());

    expect(status).toBe(400);
    expect(answer.error.message).toMatch(message);
    expect((await arm('GET', `${GROUP}/never`)).status).toBe(404);
  });

  test.each(['-a', 'a_b', 'a.b', 'openai', 'wire', 'x'.repeat(64)])('cannot be named %s', async (name) => {
    const { status, body } = await arm('PUT', `${GROUP}/${name}`, account());

    expect(status).toBe(400);
    expect(body.error.message).toContain(name.slice(0, 20));
  });

  test('cannot move to another location', async () => {
    const path = await newAccount();

    const { status, body } = await arm('PUT', path, { ...account(), location: 'eastus' });

    expect(status).toBe(400);
    expect(body.error.message).toMatch(/swedencentral/);
  });

  test('that the configuration declares are read-only, and say so', async () => {
    const put = await arm('PUT', FIXED, { location: 'swedencentral', tags: { a: 'b' } });
    const patch = await arm('PATCH', FIXED, { tags: { a: 'b' } });
    const removed = await arm('DELETE', FIXED);

    for (const { status, body } of [put, patch, removed])
      expect([status, body.error.code]).toEqual([409, 'OwnedByConfiguration']);
    expect(put.body.error.message).toMatch(/configuration/);
    expect((await arm('GET', FIXED)).body.properties.offpeak.owner).toBe('configuration');
  });

  test('with live batches cannot be deleted', async () => {
    const path = await newAccount();
    await arm('PUT', `${path}/deployments/busy`, deployment());
    const held = await startBatch(nameOf(path), 'busy');

    const whole = await arm('DELETE', path);
    const part = await arm('DELETE', `${path}/deployments/busy`);

    expect(whole).toMatchObject({ status: 409, body: { error: { code: 'ResourceInUse' } } });
    expect(part).toMatchObject({ status: 409, body: { error: { code: 'DeploymentInUse' } } });
    expect(part.body.error.message).toMatch(/\b1\b/);
    const { body } = await arm('GET', `${path}/deployments/busy`);
    expect(body.properties.offpeak.enqueued_tokens).toEqual({
      held,
      waiting: 0,
      waiting_batches: 0,
      limit: 10_000,
      available: 10_000 - held,
    });
  });

  test('show one SKU, and the models and quotas of their location', async () => {
    const path = await newAccount();

    const skus = await arm('GET', `${path}/skus`);
    const models = await arm('GET', `${path}/models`);
    const usages = await arm('GET', `${path}/usages`);

    expect(skus.body.value).toEqual([
      { resourceType: 'Microsoft.CognitiveServices/accounts', sku: { name: 'S0', tier: 'Standard' } },
    ]);
    expect(models.body.value.map(({ name }: Json) => name)).toContain('gpt-4o');
    expect(usages.body.value.map(({ name }: Json) => name.value)).toContain('OpenAI.GlobalBatch.gpt-4o');
  });
});

describe('keys', () => {
  test('are shown once, open their own resource, and end when they are regenerated', async () => {
    const path = await newAccount();
    const name = nameOf(path);
    const opens = async (key: string): Promise<number> =>
      (await get(`/${name}/openai/v1/deployments`, key)).status;

    const first = await arm('POST', `${path}/listKeys`);
    expect(first.body.key1).toMatch(/^[\w-]{32,}$/);
    expect(first.body.key2).not.toBe(first.body.key1);
    expect(await opens(first.body.key1)).toBe(200);
    expect(await opens(first.body.key2)).toBe(200);

    const second = await arm('POST', `${path}/listKeys`);
    expect(second.body).toEqual({
      key1: `shown-once-ends-in-${first.body.key1.slice(-4)}`,
      key2: `shown-once-ends-in-${first.body.key2.slice(-4)}`,
    });

    const renewed = await arm('POST', `${path}/regenerateKey`, { keyName: 'key2' });
    expect(renewed.status).toBe(200);
    expect(renewed.body.key1).toBe(second.body.key1);
    expect(await opens(first.body.key2)).toBe(401);
    expect(await opens(renewed.body.key2)).toBe(200);
    expect(await opens(first.body.key1)).toBe(200);
  });

  test.each([[{}], [{ keyName: 'Key3' }], [{ keyName: 1 }], [undefined]])(
    'are not made anew for %j',
    async (body) => {
      const path = await newAccount();

      const { status, body: answer } = await arm('POST', `${path}/regenerateKey`, body);

      expect([status, answer.error.code]).toEqual([400, 'InvalidRequestContent']);
    },
  );

  test('of accounts do not open the control plane, nor the admin key the data plane', async () => {
    const path = await newAccount();
    const { body: keys } = await arm('POST', `${path}/listKeys`);
    const name = nameOf(path);

    expect((await get(`${path}?api-version=2025-09-01`, keys.key1)).status).toBe(401);
    expect((await get(`/${name}/openai/v1/deployments`, ADMIN_KEY)).status).toBe(401);
  });
});

describe('deployments', () => {
  test('are made, shown, listed, changed and deleted', async () => {
    const path = `${await newAccount()}/deployments/gpt-4o-batch`;

    const created = await arm('PUT', path, { ...deployment(50), tags: { env: 'test' } });
    expect(created.status).toBe(201);
    expect(created.body).toMatchObject({
      id: path,
      name: 'gpt-4o-batch',
      type: 'Microsoft.CognitiveServices/accounts/deployments',
      sku: { name: 'GlobalBatch', capacity: 50 },
      tags: { env: 'test' },
      properties: {
        provisioningState: 'Succeeded',
        model: { format: 'OpenAI', name: 'gpt-4o', version: '2024-08-06' },
        versionUpgradeOption: 'OnceNewDefaultVersionAvailable',
        raiPolicyName: 'Microsoft.DefaultV2',
        dynamicThrottlingEnabled: false,
        offpeak: {
          whenFull: 'fail',
          upstreams: null,
          servedBy: ['simulator'],
          owner: 'api',
          enqueued_tokens: { held: 0, waiting: 0, waiting_batches: 0, limit: 50_000, available: 50_000 },
        },
      },
    });
    expect((await arm('GET', path)).body).toEqual(created.body);
    const all = await arm('GET', path.replace(/\/[^/]+$/, ''));
    expect(all.body).toEqual({ value: [created.body] });

    const changed = await arm('PATCH', path, { sku: { name: 'GlobalBatch', capacity: 60 } });
    expect(changed).toMatchObject({ status: 200, body: { sku: { capacity: 60 }, tags: { env: 'test' } } });
    const replaced = await arm('PUT', path, deployment(70, { raiPolicyName: 'strict' }));
    expect(replaced).toMatchObject({ status: 200, body: { sku: { capacity: 70 } } });
    expect(replaced.body.properties.raiPolicyName).toBe('strict');

    expect((await arm('DELETE', path)).status).toBe(200);
    expect((await arm('DELETE', path)).status).toBe(204);
    expect((await arm('GET', path)).body.error.code).toBe('ResourceNotFound');
    expect((await arm('PATCH', path, {})).status).toBe(404);
    expect((await arm('GET', `${path}/skus`)).status).toBe(404);
  });

  test('keep what a later PUT leaves out, and take back what a GET showed', async () => {
    const path = `${await newAccount()}/deployments/d`;
    const extras = { whenFull: 'wait', concurrency: 3, upstreams: ['simulator'] };
    await arm('PUT', path, deployment(5, { offpeak: extras, versionUpgradeOption: 'NoAutoUpgrade' }));

    const shown = await arm('GET', path);
    const same = await arm('PUT', path, shown.body);
    const less = await arm('PUT', path, deployment(5));

    expect(shown.body.properties.offpeak).toMatchObject({ ...extras, servedBy: ['simulator'] });
    expect(same).toMatchObject({ status: 200, body: shown.body });
    expect(less.body.properties).toMatchObject({
      offpeak: extras,
      versionUpgradeOption: 'NoAutoUpgrade',
    });
    const any = await arm('PATCH', path, { properties: { offpeak: { upstreams: null } } });
    expect(any.body.properties.offpeak.upstreams).toBeNull();
  });

  test.each(['2023-10-01-preview', '2025-09-01'])('take dynamic quota by PATCH with %s', async (version) => {
    const path = `${await newAccount()}/deployments/d`;
    await arm('PUT', path, deployment(5));

    const { status, body } = await arm(
      'PATCH',
      path,
      { properties: { dynamicThrottlingEnabled: true } },
      { version },
    );

    expect(status).toBe(200);
    expect(body.properties.dynamicThrottlingEnabled).toBe(true);
    expect(body.sku.capacity).toBe(5);
  });

  test('take the default version of the model, and SKUs in any case', async () => {
    const path = `${await newAccount()}/deployments/d`;

    const { status, body } = await arm('PUT', path, {
      sku: { name: 'globalbatch', capacity: 1 },
      properties: { model: { format: 'OpenAI', name: 'gpt-4o' } },
    });

    expect(status).toBe(201);
    expect(body.sku.name).toBe('GlobalBatch');
    expect(body.properties.model.version).toMatch(/^\d{4}-\d{2}-\d{2}$/);
  });

  test.each([
    ['no model', (): Json => ({ sku: { name: 'GlobalBatch', capacity: 1 } }), /model/],
    [
      'a model without a name',
      () => ({ ...deployment(), properties: { model: {} } }),
      /'properties\.model\.name'/,
    ],
    ['an unknown model', () => deployment(1, { model: { name: 'gpt-99' } }), /gpt-99/],
    [
      'an unknown version',
      () => deployment(1, { model: { name: 'gpt-4o', version: '1999-01-01' } }),
      /1999-01-01/,
    ],
    [
      'another format',
      () => deployment(1, { model: { format: 'Meta', name: 'gpt-4o' } }),
      /'properties\.model\.format'/,
    ],
    ['a fine-tuned model', () => deployment(1, { model: { name: 'gpt-4o', source: '/x' } }), /[Ff]ine-tuned/],
    [
      'an unknown SKU',
      () => ({ ...deployment(), sku: { name: 'Fast', capacity: 1 } }),
      /'sku\.name'.*'Fast'.*GlobalBatch/,
    ],
    [
      'no capacity at all',
      () => ({ ...deployment(), sku: { name: 'GlobalBatch', capacity: 0 } }),
      /'sku\.capacity'/,
    ],
    [
      'half a unit',
      () => ({ ...deployment(), sku: { name: 'GlobalBatch', capacity: 1.5 } }),
      /'sku\.capacity'/,
    ],
    [
      'a capacity in words',
      () => ({ ...deployment(), sku: { name: 'GlobalBatch', capacity: '10' } }),
      /'sku\.capacity'/,
    ],
    [
      'an endless capacity',
      () => ({ ...deployment(), sku: { name: 'GlobalBatch', capacity: 1e300 } }),
      /'sku\.capacity'/,
    ],
    [
      'an unknown upgrade option',
      () => deployment(1, { versionUpgradeOption: 'Never' }),
      /'properties\.versionUpgradeOption'/,
    ],
    [
      'an unknown way to queue',
      () => deployment(1, { offpeak: { whenFull: 'cry' } }),
      /'properties\.offpeak\.whenFull'/,
    ],
    [
      'no concurrency',
      () => deployment(1, { offpeak: { concurrency: 0 } }),
      /'properties\.offpeak\.concurrency'/,
    ],
    ['an unknown upstream', () => deployment(1, { offpeak: { upstreams: ['nowhere'] } }), /nowhere/],
    [
      'a switch that is none',
      () => deployment(1, { dynamicThrottlingEnabled: 1 }),
      /'properties\.dynamicThrottlingEnabled'/,
    ],
    [
      'the scaleSettings of old clients and no SKU',
      () => ({ properties: { ...deployment()['properties'], scaleSettings: { scaleType: 'Standard' } } }),
      /Send 'sku'/,
    ],
    [
      'scaleSettings and a SKU without a name',
      () => ({ ...deployment(1, { scaleSettings: { scaleType: 'Manual' } }), sku: { capacity: 2 } }),
      /Send 'sku'/,
    ],
    [
      'a fine-tuned model of another account',
      () => deployment(1, { model: { name: 'gpt-4o', sourceAccount: '/x' } }),
      /[Ff]ine-tuned/,
    ],
    [
      'a deployment to spill over to',
      () => deployment(1, { spilloverDeploymentName: 'other' }),
      /'properties\.spilloverDeploymentName'/,
    ],
    [
      'a parent',
      () => deployment(1, { parentDeploymentName: 'other' }),
      /'properties\.parentDeploymentName'/,
    ],
    [
      'capacity of another kind',
      () => deployment(1, { capacitySettings: { designatedCapacity: 5, priority: 1 } }),
      /'properties\.capacitySettings'/,
    ],
    ['a body that is no object', () => 'text', /must be a JSON object/],
  ])('with %s are refused', async (_what, body, message) => {
    const path = `${await newAccount()}/deployments/d`;

    const { status, body: answer } = await arm('PUT', path, body());

    expect(status).toBe(400);
    expect(answer.error.message).toMatch(message);
    expect((await arm('GET', path)).status).toBe(404);
  });

  test('with a SKU are made whatever scaleSettings are sent along', async () => {
    const path = `${await newAccount()}/deployments/d`;

    const { status, body } = await arm(
      'PUT',
      path,
      deployment(3, { scaleSettings: { scaleType: 'Standard' }, spilloverDeploymentName: null }),
    );

    expect([status, body.sku]).toEqual([201, { name: 'GlobalBatch', capacity: 3 }]);
    const patched = await arm('PATCH', path, { properties: { scaleSettings: { scaleType: 'Standard' } } });
    expect([patched.status, patched.body.error.target]).toEqual([400, 'sku']);
  });

  test('share one quota, and more than it is refused with all figures', async () => {
    const [one, other] = [await newAccount(), await newAccount()];
    const usage = await usageOf('OpenAI.GlobalBatch.gpt-4o');
    const free = QUOTA - usage.currentValue;
    expect((await arm('PUT', `${one}/deployments/d`, deployment(free - 20))).status).toBe(201);

    const { status, body } = await arm('PUT', `${other}/deployments/d`, deployment(21));
    const fits = await arm('PUT', `${other}/deployments/d`, deployment(20));
    const grown = await arm('PATCH', `${one}/deployments/d`, { sku: { capacity: free - 19 } });

    expect([status, body.error.code]).toEqual([400, 'InsufficientQuota']);
    expect(body.error.message).toContain('Enqueued tokens (thousands) - gpt-4o - GlobalBatch');
    expect(body.error.message).toMatch(/\b21\b/);
    expect(body.error.message).toMatch(/\b20\b/);
    expect(body.error.message).toMatch(new RegExp(`\\b${QUOTA}\\b`));
    expect(fits.status).toBe(201);
    expect(grown.body.error.code).toBe('InsufficientQuota');
    expect(await usageOf('OpenAI.GlobalBatch.gpt-4o')).toMatchObject({
      currentValue: QUOTA,
      limit: QUOTA,
    });
    await arm('DELETE', one);
    await arm('DELETE', other);
  });

  test('that the configuration declares are read-only, and say so', async () => {
    const path = `${FIXED}/deployments/d`;

    const put = await arm('PUT', path, deployment());
    const patch = await arm('PATCH', path, { sku: { capacity: 1 } });
    const removed = await arm('DELETE', path);

    for (const { status, body } of [put, patch, removed])
      expect([status, body.error.code]).toEqual([409, 'OwnedByConfiguration']);
    expect((await arm('GET', path)).body.properties.offpeak.owner).toBe('configuration');
  });

  test('may be added beside those that the configuration declares', async () => {
    const path = `${FIXED}/deployments/more`;

    expect((await arm('PUT', path, deployment(1, { model: { name: 'gpt-4o' } }))).status).toBe(201);
    expect((await arm('DELETE', path)).status).toBe(200);
  });

  test('show the SKUs that their model can have', async () => {
    const path = `${await newAccount()}/deployments/d`;
    await arm('PUT', path, deployment(5));

    const { body } = await arm('GET', `${path}/skus`);

    expect(body.value).toContainEqual({
      resourceType: 'Microsoft.CognitiveServices/accounts/deployments',
      sku: { name: 'GlobalBatch' },
      capacity: { minimum: 1, maximum: QUOTA, step: 1, default: 10 },
    });
  });
});

describe('locations', () => {
  test('show the quotas, what is allocated, and what is held', async () => {
    const path = await newAccount();
    await arm('PUT', `${path}/deployments/d`, deployment(30));
    const held = await startBatch(nameOf(path), 'd');

    const { status, body } = await arm('GET', `${LOCATION}/usages`);
    const usage = body.value.find(({ name }: Json) => name.value === 'OpenAI.GlobalBatch.gpt-4o');

    expect(status).toBe(200);
    expect(usage).toMatchObject({
      name: { localizedValue: 'Enqueued tokens (thousands) - gpt-4o - GlobalBatch' },
      limit: QUOTA,
      unit: 'Count',
      offpeak: { limit_tokens: QUOTA * 1_000 },
    });
    expect(usage.currentValue).toBeGreaterThanOrEqual(30);
    expect(usage.offpeak.held_tokens).toBeGreaterThanOrEqual(held);
  });

  test('show the models that can be deployed there', async () => {
    const { body } = await arm('GET', `${LOCATION}/models`);
    const model = body.value.find(
      ({ model: { name, version } }: Json) => name === 'gpt-4o' && version === '2024-08-06',
    );

    expect(model).toMatchObject({
      kind: 'OpenAI',
      skuName: 'S0',
      model: {
        format: 'OpenAI',
        capabilities: { chatCompletion: 'true', batch: 'true', imageInput: 'true' },
        maxCapacity: expect.any(Number),
        offpeak: { inputs: ['text', 'image'] },
      },
    });
    expect(model.model.skus).toContainEqual({
      name: 'GlobalBatch',
      usageName: 'OpenAI.GlobalBatch.gpt-4o',
      capacity: { minimum: 1, maximum: QUOTA, step: 1, default: 10 },
    });
    const versions = body.value.filter(({ model: { name } }: Json) => name === 'gpt-4o');
    expect(versions.filter(({ model: { isDefaultVersion } }: Json) => isDefaultVersion)).toHaveLength(1);
  });

  test('are written with or without spaces and capitals', async () => {
    const spaced = await arm('GET', LOCATION.replace('swedencentral', 'Sweden%20Central') + '/models');
    const plain = await arm('GET', `${LOCATION}/models`);

    expect(spaced.body).toEqual(plain.body);
  });

  test('show what is left of a model, there and everywhere', async () => {
    const query = '&modelFormat=OpenAI&modelName=gpt-4o&modelVersion=2024-08-06';
    const here = await arm('GET', `${LOCATION}/modelCapacities`, undefined, { query });
    const everywhere = await arm(
      'GET',
      `/subscriptions/${SUBSCRIPTION}/providers/Microsoft.CognitiveServices/modelCapacities`,
      undefined,
      { query },
    );
    const usage = await usageOf('OpenAI.GlobalBatch.gpt-4o');

    const item = here.body.value.find(({ name }: Json) => name === 'GlobalBatch');
    expect(item).toMatchObject({
      location: 'swedencentral',
      properties: {
        model: { format: 'OpenAI', name: 'gpt-4o', version: '2024-08-06' },
        skuName: 'GlobalBatch',
        availableCapacity: QUOTA - usage.currentValue,
      },
    });
    expect(everywhere.body.value).toContainEqual(item);
    expect(new Set(everywhere.body.value.map(({ location }: Json) => location)).size).toBeGreaterThan(5);
  });

  test('refuse to show capacities when no model is named', async () => {
    const { status, body } = await arm('GET', `${LOCATION}/modelCapacities`);

    expect([status, body.error.code, body.error.target]).toEqual([400, 'InvalidRequestContent', 'modelName']);
  });
});

describe('the audit log', () => {
  test('shows who changed what, newest first, page by page', async () => {
    const path = await newAccount();
    const name = nameOf(path);
    await arm('PUT', `${path}/deployments/d`, deployment(5));
    await arm('PATCH', `${path}/deployments/d`, { sku: { capacity: 6 } });
    await arm('DELETE', `${path}/deployments/d`);

    const { status, body } = await get(`/audit?resource=${name}&limit=2`, ADMIN_KEY);
    const next = await get(`/audit?resource=${name}&limit=100&before=${body.data[1].seq}`, ADMIN_KEY);

    expect(status).toBe(200);
    expect(body).toMatchObject({ object: 'list', has_more: true });
    expect(body.data.map(({ action }: Json) => action)).toEqual(['deployment.delete', 'deployment.update']);
    expect(next.body.data.map(({ action }: Json) => action)).toEqual([
      'deployment.create',
      'resource.create',
    ]);
    expect(next.body.has_more).toBe(false);
    expect(body.data[0]).toMatchObject({ resource: name, target: 'd', actor: 'admin-key' });
    expect(Object.keys(body.data[1].detail)).toEqual(expect.arrayContaining(['enqueued_tokens_max']));
  });

  test.each(['limit=0', 'limit=x', 'limit=100000', 'before=x'])('refuses %s', async (query) => {
    const { status, body } = await get(`/audit?${query}`, ADMIN_KEY);

    expect([status, body.error.code]).toEqual([400, 'InvalidRequestContent']);
  });

  test('does not open to the keys of resources', async () => {
    const path = await newAccount();
    const { body: keys } = await arm('POST', `${path}/listKeys`);

    expect((await get('/audit', keys.key1)).status).toBe(401);
    expect((await get('/audit', '')).status).toBe(401);
  });
});

describe('with the key of a resource', () => {
  test('deployments, quotas and models can be read, in both dialects', async () => {
    const path = await newAccount();
    const name = nameOf(path);
    await arm('PUT', `${path}/deployments/d`, deployment(5));
    const held = await startBatch(name, 'd');
    const { key2 } = (await arm('POST', `${path}/listKeys`)).body;
    const read = (url: string): Promise<Answer> => get(`/${name}${url}`, key2);
    const shown = {
      id: 'd',
      object: 'deployment',
      model: 'gpt-4o',
      model_version: '2024-08-06',
      sku: 'GlobalBatch',
      capacity: 5,
      status: 'succeeded',
      enqueued_tokens: { held, waiting: 0, waiting_batches: 0, limit: 5_000, available: 5_000 - held },
    };

    for (const [root, query] of [
      ['/openai/v1', ''],
      ['/openai', '?api-version=2024-10-21'],
      ['/v1', ''],
    ]) {
      expect((await read(`${root}/deployments${query}`)).body).toMatchObject({
        object: 'list',
        data: [shown],
      });
      expect((await read(`${root}/deployments/d${query}`)).body).toMatchObject(shown);
      expect((await read(`${root}/deployments/none${query}`)).status).toBe(404);
      const usages = await read(`${root}/usages${query}`);
      expect(usages.body.data.find(({ id }: Json) => id === 'OpenAI.GlobalBatch.gpt-4o')).toMatchObject({
        limit_tokens: QUOTA * 1_000,
        allocated_tokens: 5_000,
        held_tokens: held,
      });
    }

    expect((await read('/v1/models')).body.data).toEqual([
      { id: 'd', object: 'model', created: expect.any(Number), owned_by: 'offpeak' },
    ]);
    expect((await read('/v1/models/d')).body.id).toBe('d');
    expect((await read('/v1/models/gpt-4o')).body.error.code).toBe('model_not_found');
    const models = await read('/openai/models?api-version=2024-10-21');
    expect(models.body.data).toContainEqual(
      expect.objectContaining({
        id: 'gpt-4o-2024-08-06',
        status: 'succeeded',
        capabilities: expect.objectContaining({ chat_completion: true, fine_tune: false }),
      }),
    );
    expect((await read('/openai/v1/models/gpt-4o-2024-08-06')).body.model).toBe('gpt-4o');
    expect((await read('/openai/v1/models/none')).status).toBe(404);
  });

  test('nothing of another resource is seen', async () => {
    const [one, other] = [await newAccount(), await newAccount()];
    const { key1 } = (await arm('POST', `${one}/listKeys`)).body;
    await arm('PUT', `${other}/deployments/secret-name`, deployment(5));

    const own = `/${nameOf(one)}/openai/v1`;
    const foreign = `/${nameOf(other)}/openai/v1`;

    expect((await get(`${own}/deployments`, key1)).body.data).toEqual([]);
    expect((await get(`${own}/deployments/secret-name`, key1)).status).toBe(404);
    for (const path of ['/deployments', '/deployments/secret-name', '/usages', '/models'])
      expect((await get(foreign + path, key1)).status).toBe(401);
  });
});

test('the operator of one account may change it, but not the offer, which decides the quotas of all', async () => {
  const oid = 'aaaaaaaa-0000-0000-0000-000000000003';
  const entra = await startEntra();
  const own = await startService({
    identity: {
      tokens: entra.config,
      roleAssignments: [{ role: 'Cognitive Services Contributor', resource: RESOURCE_B, oid }],
    },
  });
  const patch = async (body: Json): Promise<unknown[]> => {
    const path = `/subscriptions/${HARNESS_SUBSCRIPTION}/resourceGroups/${HARNESS_GROUP}/${PROVIDER}/accounts/${RESOURCE_B}`;
    const answer = await own.json(`${path}?api-version=2025-09-01`, {
      method: 'PATCH',
      headers: { authorization: `Bearer ${await entra.token({ oid })}`, 'content-type': 'application/json' },
      body: JSON.stringify(body),
    });
    return [answer.status, answer.body.error?.code];
  };
  try {
    expect(await patch({ tags: { kept: 'well' } })).toEqual([200, undefined]);
    expect(await patch({ properties: { offpeak: { offer: 'enterprise' } } })).toEqual([200, undefined]);
    expect(await patch({ properties: { offpeak: { offer: 'unlimited' } } })).toEqual([
      403,
      'AuthorizationFailed',
    ]);
  } finally {
    await own.close();
    await entra.close();
  }
});

describe('hostile input', () => {
  const anything = fc.jsonValue({ maxDepth: 2 });
  const some = (members: Record<string, fc.Arbitrary<unknown>>): fc.Arbitrary<unknown> =>
    fc.record(members, { requiredKeys: [] });
  const body = fc.oneof(
    anything,
    some({
      location: fc.oneof(anything, fc.constant('swedencentral')),
      kind: anything,
      sku: fc.oneof(anything, some({ name: fc.constant('GlobalBatch'), capacity: anything })),
      tags: fc.oneof(anything, fc.dictionary(fc.string(), anything)),
      properties: some({
        model: fc.oneof(anything, some({ name: fc.constant('gpt-4o'), version: anything })),
        disableLocalAuth: anything,
        versionUpgradeOption: anything,
        raiPolicyName: anything,
        offpeak: some({ offer: anything, whenFull: anything, concurrency: anything, upstreams: anything }),
      }),
    }),
  );
  const name = fc.oneof(
    fc.string({ unit: 'binary', minLength: 1, maxLength: 100 }),
    fc.constantFrom('__proto__', 'constructor', '\0', '..', '%', 'a/b', "' OR 1=1 --", '이름'),
  );

  test('is taken or refused, and never a 5xx', async () => {
    const path = await newAccount();
    const call = async (method: string, url: string, sent?: unknown): Promise<void> => {
      const { status } = await arm(method, url, sent);
      expect([method, url, sent, status < 500]).toEqual([method, url, sent, true]);
    };

    await fc.assert(
      fc.asyncProperty(body, name, async (sent, hostile) => {
        const segment = encodeURIComponent(hostile.toWellFormed());
        await call('PUT', `${path}/deployments/fuzzed`, sent);
        await call('PATCH', path, sent);
        await call('POST', `${path}/regenerateKey`, sent);
        await call('PUT', `${GROUP}/${segment}`, sent);
        await call('PUT', `${path}/deployments/${segment}`, sent);
        await call('GET', `/subscriptions/${segment}/${PROVIDER}/locations/${segment}/usages`);
        await call('GET', `/subscriptions/${segment}/resourceGroups/${segment}/${PROVIDER}/accounts`);
        await call('DELETE', `${path}/deployments/${segment}`);
        const audit = await get(`/audit?resource=${segment}&before=${segment}`, ADMIN_KEY);
        expect(audit.status).toBeLessThan(500);
      }),
      { numRuns: 60 },
    );
  });
});
