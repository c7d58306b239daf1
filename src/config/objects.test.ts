import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { resolveConfig, type AppConfig } from './config.ts';
import { loadConfig, type Loaded, type Sources } from './load.ts';

let cwd: string;
beforeEach(async () => {
  cwd = await mkdtemp(join(tmpdir(), 'offpeak-config-'));
});
afterEach(() => rm(cwd, { recursive: true }));

async function load(file: string, sources: Partial<Sources> = {}): Promise<Loaded> {
  await writeFile(join(cwd, 'offpeak.yaml'), file);
  return loadConfig({ command: 'serve', flags: {}, env: {}, cwd, ...sources });
}

async function config(file: string, sources: Partial<Sources> = {}): Promise<AppConfig> {
  const loaded = await load(file, sources);
  if (!loaded.ok) throw new Error(faultsOf(loaded).join('\n'));
  return resolveConfig(loaded.values, loaded.at);
}

const faultsOf = (loaded: Loaded): string[] =>
  loaded.ok ? [] : loaded.faults.map(({ source, message }) => `${source}: ${message}`);
const faults = async (file: string, sources?: Partial<Sources>) => faultsOf(await load(file, sources));

describe('deployments', () => {
  test('without any, the examples run against the simulator', async () => {
    const { resources, upstreams } = await config('');

    expect(resources).toMatchObject([
      {
        id: 'default',
        location: 'koreacentral',
        offer: 'enterprise',
        keys: [],
        deployments: [
          {
            name: 'gpt-4o-batch-deployment',
            model: 'gpt-4o',
            sku: 'GlobalBatch',
            enqueuedTokensMax: null,
            concurrencyMax: 32,
            whenFull: 'fail',
            upstreams: null,
          },
        ],
      },
    ]);
    expect(upstreams).toMatchObject([{ name: 'default', kind: 'simulator', models: null, onlyFor: null }]);
  });

  test("a deployment takes what it does not say from the options, and a key stays with its upstream's URL", async () => {
    const file = `upstream: http://10.0.0.5:8000/v1/
upstreamApiKey: common
concurrency: 8
enqueuedTokens: 7K
deployments:
  - chat=llama
  - name: own
    concurrency: 2
    enqueuedTokens: 1K
    whenFull: wait
    dynamicQuota: true
    version: '1'
    sku: DataZoneBatch
    upstreams:
      - https://mine.openai.azure.com/openai/v1
      - url: http://10.0.0.6/v1
        apiKey: other
        model: qwen
        requestTimeout: 5s
      - simulator
`;

    const { resources, upstreams } = await config(file);

    expect(resources[0]?.deployments).toMatchObject([
      { name: 'chat', model: 'llama', concurrencyMax: 8, enqueuedTokensMax: 7_000, upstreams: null },
      {
        name: 'own',
        model: 'own',
        version: '1',
        sku: 'DataZoneBatch',
        concurrencyMax: 2,
        enqueuedTokensMax: 1_000,
        whenFull: 'wait',
        dynamicQuota: true,
        upstreams: ['mine.openai.azure.com', '10.0.0.6', 'simulator'],
        source: 'offpeak.yaml:7',
      },
    ]);
    const onlyFor = { resourceId: 'default', deployment: 'own' };
    expect(upstreams).toMatchObject([
      { url: 'http://10.0.0.5:8000/v1', apiKey: 'common', authStyle: 'bearer', models: null, onlyFor: null },
      { apiKey: null, authStyle: 'api-key', models: { own: 'own' }, onlyFor },
      { apiKey: 'other', authStyle: 'bearer', models: { own: 'qwen' }, requestTimeoutMs: 5_000, onlyFor },
      { kind: 'simulator', models: { own: 'own' }, onlyFor },
    ]);
  });

  test('two upstreams at one address have names of their own', async () => {
    const file = `deployments:
  - name: a
    upstreams: [{ url: http://h/v1, model: x }, { url: http://h/v1, model: y }]
`;

    const { resources } = await config(file);

    expect(resources[0]?.deployments[0]?.upstreams).toEqual(['h', 'h#2']);
  });

  test('every fault has its line', async () => {
    const file = `upstreams:
  - { name: frankfurt, url: http://10.0.0.5/v1 }
deployments:
  - name: a
    sku: GlobalBatsch
    whenFull: maybe
    dynamicQuota: perhaps
  - name: b
    upstreams:
      - frankfrt
      - http:/nowhere?x
      - { urls: http://10.0.0.6/v1 }
    tags: [a]
`;

    expect(await faults(file)).toEqual([
      'offpeak.yaml:5: deployments: sku: expected one of GlobalBatch, DataZoneBatch, GlobalStandard, DataZoneStandard, Standard, got "GlobalBatsch"',
      'offpeak.yaml:6: deployments: whenFull: expected one of fail, wait, got "maybe"',
      'offpeak.yaml:7: deployments: dynamicQuota: expected true or false, got "perhaps"',
      'offpeak.yaml:11: deployments: url: expected simulator, or a URL like http://127.0.0.1:8000/v1 without user, password, query or #',
      'offpeak.yaml:12: deployments: url: expected simulator, or a URL like http://127.0.0.1:8000/v1 without user, password, query or #',
      "offpeak.yaml:12: deployments: unknown key 'urls'. Did you mean 'url'?",
      'offpeak.yaml:13: deployments: tags: expected names and values',
    ]);
  });

  test('an unknown upstream is reported with the likely name', async () => {
    const file = `upstreams:
  - { name: frankfurt, url: http://10.0.0.5/v1 }
deployments:
  - name: b
    upstreams:
      - frankfurt
      - frankfrt
`;

    expect(await faults(file)).toEqual([
      "offpeak.yaml:7: deployment 'b': there is no upstream 'frankfrt'. Did you mean 'frankfurt'?",
    ]);
  });
});

describe('upstreams', () => {
  test('the default one is there beside named ones only when it is asked for', async () => {
    const file = `upstreams: [{ name: a, url: http://h/v1 }]\n`;

    const named = (await config(file)).upstreams.map(({ name }) => name);
    const both = (await config(`upstream: simulator\n${file}`)).upstreams.map(({ name }) => name);

    expect(named).toEqual(['a']);
    expect(both).toEqual(['default', 'a']);
  });

  test('models are a list, or names there by model', async () => {
    const file = `upstreams:
  - { name: a, url: simulator, models: [x, y], region: Korea Central, dataZone: asia }
  - { name: b, url: https://h/v1, models: { x: org/X }, caFile: ca.pem }
`;

    expect((await config(file)).upstreams).toMatchObject([
      { models: { x: 'x', y: 'y' }, region: 'koreacentral', dataZone: 'asia' },
      { models: { x: 'org/X' }, region: 'koreacentral', dataZone: null, caPath: 'ca.pem' },
    ]);
  });

  test('every fault has its line, and no key is shown', async () => {
    const file = `upstream: http://h/v1
deployments: [a]
upstreams:
  - name: default
    url: http://10.0.0.5/v1
  - name: b
    url: http://10.0.0.5/v1
  - name: b
    url: http://10.0.0.6/v1
`;
    const shapes = `upstreams:
  - name: a b
    url: ftp://h
    apiKey: canary word
    insecure: true
  - url: simulator
    models: x
`;

    expect(await faults(file)).toEqual([
      "offpeak.yaml:4: 'default' is the name of the one from offpeak.yaml:1. Choose another.",
      "offpeak.yaml:8: upstream 'b' is given twice. Keep one.",
    ]);
    expect(await faults(shapes)).toEqual([
      'offpeak.yaml:2: upstreams: name: expected a name of letters, digits, -, _ and ., 64 at most, got "a b"',
      'offpeak.yaml:3: upstreams: url: expected simulator, or a URL like http://127.0.0.1:8000/v1 without user, password, query or #',
      'offpeak.yaml:4: upstreams: apiKey: expected a key of ASCII characters without spaces',
      "offpeak.yaml:5: upstreams: unknown key 'insecure'.",
      'offpeak.yaml:6: upstreams: name: expected a name of letters, digits, -, _ and ., 64 at most',
      'offpeak.yaml:7: upstreams: models: expected a list of models, or `model: its name there` lines',
    ]);
  });
});

describe('resources', () => {
  test('the default one comes first, others follow with what they say', async () => {
    const file = `location: eastus
apiKey: first
resources:
  - name: search
    location: germanywestcentral
    subscription: sub-1
    resourceGroup: rg
    offer: msdn
    keys: ['\${SEARCH_KEY}', other]
    disableKeyAuth: true
    tags: { team: search }
    deployments: [bulk=gpt-4o]
  - name: plain
`;

    const { resources } = await config(file, { env: { SEARCH_KEY: 'from-env' } });

    expect(resources).toMatchObject([
      { id: 'default', location: 'eastus', keys: ['first'], deployments: [] },
      {
        id: 'search',
        location: 'germanywestcentral',
        subscriptionId: 'sub-1',
        resourceGroup: 'rg',
        offer: 'msdn',
        keys: ['from-env', 'other'],
        keyAuthDisabled: true,
        tags: { team: 'search' },
        deployments: [{ name: 'bulk', model: 'gpt-4o' }],
        source: 'offpeak.yaml:4',
      },
      { id: 'plain', location: 'eastus', offer: 'enterprise', resourceGroup: 'offpeak' },
    ]);
  });

  test('an entry named default says more about the default one', async () => {
    const file = `deployments: [a]
resources:
  - { name: default, location: eastus, deployments: [b] }
`;

    const { resources } = await config(file);

    expect(resources).toHaveLength(1);
    expect(resources[0]).toMatchObject({ location: 'eastus', deployments: [{ name: 'a' }, { name: 'b' }] });
  });

  test('every fault has its line, and no key is shown', async () => {
    const shapes = `resources:
  - name: Search
    keys: [a, b, c]
    offer: gold
  - naem: x
    deployments:
      - a
      - { nam: b }
`;
    const together = `apiKey: canary-1
adminKey: canary-2
deployments: [a]
resources:
  - name: default
    keys: [canary-3]
    deployments: [a]
  - name: xx
    keys: [canary-2]
  - name: xx
`;

    expect(await faults(shapes)).toEqual([
      'offpeak.yaml:2: resources: name: expected a name of a-z, 0-9 and - that begins and ends with a letter or digit, 2 to 63 characters',
      'offpeak.yaml:3: resources: keys: expected at most 2 keys',
      'offpeak.yaml:4: resources: offer: expected one of enterprise, default, monthly, msdn, students, unlimited, got "gold"',
      'offpeak.yaml:5: resources: name: expected a name of letters, digits, -, _ and ., 64 at most',
      "offpeak.yaml:5: resources: unknown key 'naem'. Did you mean 'name'?",
      'offpeak.yaml:8: resources: name: expected some text',
      "offpeak.yaml:8: resources: unknown key 'nam'. Did you mean 'name'?",
    ]);
    const found = await faults(together);
    expect(found).toEqual([
      'offpeak.yaml:6: the default resource has a key from offpeak.yaml:1 already. Keep one of the two.',
      "offpeak.yaml:7: deployment 'a' is given twice. Keep one.",
      'offpeak.yaml:9: this key is given for something else as well. Make a key for each.',
      "offpeak.yaml:10: resource 'xx' is given twice. Keep one.",
    ]);
    expect(found.join()).not.toContain('canary');
  });
});

describe('models and data zones', () => {
  test('an entry says what it can do, where, how much of it there is and what it costs', async () => {
    const file = `models:
  - name: llama
    version: '3.3'
    default: true
    inputs: [text]
    regions: { GlobalBatch: everywhere, Standard: [eastus] }
    quota: { GlobalBatch: { enterprise: 5B, students: none } }
    price: { input: 0.1, output: 2 }
  - name: plain
dataZones:
  asia: [koreacentral, japaneast]
`;

    const { models, dataZones } = await config(file);

    expect(models).toMatchObject([
      {
        name: 'llama',
        version: '3.3',
        isDefault: true,
        inputs: ['text'],
        regions: { GlobalBatch: 'everywhere', Standard: ['eastus'] },
        quotaTokens: { GlobalBatch: { enterprise: 5e9, students: null } },
        batchPrice: { input: 0.1, output: 2 },
      },
      { name: 'plain', version: null, inputs: ['text', 'image'], quotaTokens: {}, batchPrice: null },
    ]);
    expect(models[1]?.regions).toMatchObject({ GlobalBatch: 'everywhere', Standard: 'everywhere' });
    expect(dataZones).toEqual({ asia: ['koreacentral', 'japaneast'] });
  });

  test('every fault has its line', async () => {
    const shapes = `models:
  - name: a
    inputs: [text, sound]
    regions: { GlobalBatch: somewhere, GlobalBtch: everywhere }
    quota:
      GlobalBatch: { enterprise: lots, gold: 5 }
    price: { input: -1 }
dataZones:
  asia: koreacentral
`;
    const together = `models:
  - { name: a, version: '1', default: true }
  - { name: a, version: '1' }
  - { name: a, version: '2', default: true }
dataZones:
  asia: [koreacentral]
  korea:
    - koreacentral
`;

    expect(await faults(shapes)).toEqual([
      'offpeak.yaml:3: models: inputs: expected one of text, image, got "sound"',
      'offpeak.yaml:4: models: GlobalBatch: expected one of everywhere, got "somewhere"',
      "offpeak.yaml:4: models: unknown key 'GlobalBtch'. Did you mean 'GlobalBatch'?",
      'offpeak.yaml:6: models: enterprise: expected a whole number, 1 to 1000000000000000, like 200, 50K, 5M or 5B, got "lots"',
      "offpeak.yaml:6: models: unknown key 'gold'.",
      'offpeak.yaml:7: models: input: expected USD per million tokens, like 1.25, got "-1"',
      'offpeak.yaml:7: models: output: expected USD per million tokens, like 1.25',
      'offpeak.yaml:9: dataZones: asia: expected a list; each region',
    ]);
    expect(await faults(together)).toEqual([
      "offpeak.yaml:3: model 'a' is given twice in the same version. Keep one.",
      "offpeak.yaml:4: model 'a' has two default versions. Keep `default: true` on one.",
      "offpeak.yaml:8: region 'koreacentral' is in two data zones. Keep one.",
    ]);
  });
});

const TENANT = '11111111-2222-3333-4444-555555555555';

describe('identity', () => {
  test('a tenant of Entra is enough', async () => {
    const { identity } = await config(`identity:\n  tenant: ${TENANT}\n`);

    expect(identity).toEqual({ tenant: TENANT, clockSkew: 300_000 });
  });

  test('any other issuer says who it is, for whom, and where its keys are', async () => {
    const file = `identity:
  issuers: [https://keycloak.example/realms/offpeak]
  audiences: [offpeak]
  jwksUri: http://127.0.0.1:9000/certs
  clockSkew: 5s
roleAssignments:
  - { role: Cognitive Services OpenAI Contributor, group: g-1, resource: search }
  - { role: Reader, appRole: Auditor, resource: '*' }
  - { role: Reader, oid: o-1, resource: default }
`;

    const { identity, roleAssignments } = await config(file);

    expect(identity).toMatchObject({ audiences: ['offpeak'], clockSkew: 5_000 });
    expect(roleAssignments).toEqual([
      { role: 'Cognitive Services OpenAI Contributor', group: 'g-1', resource: 'search' },
      { role: 'Reader', appRole: 'Auditor', resource: '*' },
      { role: 'Reader', oid: 'o-1', resource: 'default' },
    ]);
  });

  test('every fault has its line', async () => {
    const file = `identity:
  audiences: [offpeak]
roleAssignments:
  - { role: Owner, oid: o-1, resource: '*' }
  - { role: Reader, oid: o-1, group: g-1, resource: '*' }
  - { role: Reader, oid: o-1 }
`;
    const shapes = `identity:
  tenant: contoso
  issuer: https://h
  jwksUri: http://keys.example/jwks
  clockSkew: 6m
`;

    expect(await faults(file)).toEqual([
      'offpeak.yaml:1: identity: give tenant (Microsoft Entra ID), or all of issuers, audiences, jwksUri; issuers, jwksUri missing',
      'offpeak.yaml:4: roleAssignments: role: expected one of Cognitive Services OpenAI User, Cognitive Services OpenAI Contributor, Cognitive Services Contributor, Cognitive Services Usages Reader, Reader, got "Owner"',
      'offpeak.yaml:5: roleAssignments: expected one of oid, group and appRole',
      'offpeak.yaml:6: roleAssignments: resource: expected some text',
    ]);
    expect(await faults(shapes)).toEqual([
      'offpeak.yaml:2: identity: tenant: expected the id of a tenant, as 8-4-4-4-12 hexadecimal digits',
      "offpeak.yaml:3: identity: unknown key 'issuer'. Did you mean 'issuers'?",
      'offpeak.yaml:4: identity: jwksUri: expected an https URL (http only for this machine)',
      'offpeak.yaml:5: identity: clockSkew: expected a duration like 500ms, 30s, 10m or 2h, got "6m"',
    ]);
  });
});

describe('tls', () => {
  test.each([
    [{ tlsCertPath: 'a.pem' }, '--tls-cert: its private key is missing. Add --tls-key FILE.'],
    [{ tlsKeyPath: 'a.pem' }, '--tls-key: its certificate is missing. Add --tls-cert FILE.'],
    [
      { tlsSelfSigned: true, tlsCertPath: 'a.pem', tlsKeyPath: 'b.pem' },
      '--tls-self-signed: a certificate of your own is given as well. Keep one of the two.',
    ],
  ])('%o', async (flags, fault) => {
    expect(await faults('', { flags })).toEqual([fault]);
  });
});

test('an upstream may have a proxy of its own, which is never shown', async () => {
  const file = (proxy: string) => `upstreams:\n  - { name: a, url: https://h/v1, proxy: "${proxy}" }\n`;

  expect((await config(file('none'))).upstreams).toMatchObject([{ proxy: 'none' }]);
  expect((await config(file('http://user:pw@p:3128'))).upstreams).toMatchObject([
    { proxy: 'http://user:pw@p:3128' },
  ]);
  expect(await faults(file('socks5://user:s3cret@p'))).toEqual([
    expect.stringMatching(/expected none, or a URL like/),
  ]);
  expect(String(await faults(file('socks5://user:s3cret@p')))).not.toContain('s3cret');
});
