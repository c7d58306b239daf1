import { expect, test } from 'vitest';
import { resolveControl, resolveEndpoint } from './endpoint.ts';

const cloud = {
  AZURE_OPENAI_ENDPOINT: 'https://mine.openai.azure.com/',
  AZURE_OPENAI_API_KEY: 'azure-key',
  OPENAI_BASE_URL: 'https://api.openai.com/v1',
  OPENAI_API_KEY: 'openai-key',
};

test('with nothing set it is the local service', () => {
  expect(resolveEndpoint({}, { OFFPEAK_API_KEY: 'k' })).toMatchObject({
    baseUrl: 'http://127.0.0.1:8080/openai',
    style: 'azure',
    headers: { 'api-key': 'k' },
    query: { 'api-version': '2024-10-21' },
  });
});

test('the flag is used before OFFPEAK_ENDPOINT, and that before a cloud service', () => {
  const env = { ...cloud, OFFPEAK_ENDPOINT: 'http://127.0.0.1:9000', OFFPEAK_API_KEY: 'own' };
  const { OPENAI_BASE_URL, OPENAI_API_KEY, ...azure } = cloud;

  expect(resolveEndpoint({ endpoint: 'http://flag' }, env).baseUrl).toBe('http://flag/openai');
  expect(resolveEndpoint({}, env).baseUrl).toBe('http://127.0.0.1:9000/openai');
  expect(resolveEndpoint({}, azure)).toMatchObject({
    baseUrl: 'https://mine.openai.azure.com/openai',
    headers: { 'api-key': 'azure-key' },
  });
  expect(resolveEndpoint({}, { OPENAI_BASE_URL, OPENAI_API_KEY })).toEqual({
    baseUrl: 'https://api.openai.com/v1',
    style: 'openai',
    headers: { authorization: 'Bearer openai-key' },
    query: {},
    source: 'OPENAI_BASE_URL',
    keyHint: 'Check the key: --api-key or OPENAI_API_KEY.',
  });
});

test('a key of a cloud service goes to no other endpoint', () => {
  expect(resolveEndpoint({ endpoint: 'http://elsewhere' }, cloud).headers).toEqual({});
  expect(resolveEndpoint({ endpoint: 'http://elsewhere/v1' }, cloud).headers).toEqual({});
  expect(resolveEndpoint({}, { OPENAI_API_KEY: 'k', AZURE_OPENAI_API_KEY: 'k' }).headers).toEqual({});
});

const azureOnly = {
  AZURE_OPENAI_ENDPOINT: cloud.AZURE_OPENAI_ENDPOINT,
  AZURE_OPENAI_API_KEY: cloud.AZURE_OPENAI_API_KEY,
};

test.each([
  [{ OFFPEAK_API_KEY: 'own' }, 'http://127.0.0.1:8080/openai'],
  [{ OFFPEAK_ADMIN_KEY: 'own' }, 'http://127.0.0.1:8080/openai'],
  [{ OFFPEAK_PORT: '9090' }, 'http://127.0.0.1:9090/openai'],
  [
    { OFFPEAK_PORT: 'tcp://10.0.0.1:8080', OFFPEAK_SERVICE_HOST: '10.0.0.1' },
    'https://mine.openai.azure.com/openai',
  ],
])('with %j beside a cloud service the service is %s', (own, baseUrl) => {
  expect(resolveEndpoint({}, { ...azureOnly, ...own }).baseUrl).toBe(baseUrl);
});

test('a misspelt variable is refused, and chooses no other service', () => {
  const env = { ...azureOnly, OFFPEAK_ENDPONT: 'http://127.0.0.1:9000' };

  for (const resolve of [resolveEndpoint, resolveControl])
    expect(() => resolve({}, env)).toThrow(
      "OFFPEAK_ENDPONT: unknown variable. Did you mean 'OFFPEAK_ENDPOINT'?",
    );
});

test('the service of this directory is used before a cloud service, and gets no key of that', () => {
  expect(resolveEndpoint({}, cloud, 'http://127.0.0.1:9000')).toMatchObject({
    baseUrl: 'http://127.0.0.1:9000/openai',
    headers: {},
    source: 'the service of this directory',
  });
  expect(resolveControl({}, {}, 'http://127.0.0.1:9000').baseUrl).toBe('http://127.0.0.1:9000');
});

test('variables of Azure or OpenAI that name the service of this directory say how to address it', () => {
  const env = { AZURE_OPENAI_ENDPOINT: 'http://localhost:9000/team-a', AZURE_OPENAI_API_KEY: 'team-key' };

  expect(resolveEndpoint({}, env, 'http://127.0.0.1:9000')).toMatchObject({
    baseUrl: 'http://localhost:9000/team-a/openai',
    headers: { 'api-key': 'team-key' },
  });
});

test('of two cloud services neither is chosen, and both are named', () => {
  expect(() => resolveEndpoint({}, cloud)).toThrow(
    /https:\/\/mine\.openai\.azure\.com\/ \(AZURE_OPENAI_ENDPOINT\) and https:\/\/api\.openai\.com\/v1 \(OPENAI_BASE_URL\)/,
  );
  expect(resolveEndpoint({ endpoint: 'https://api.openai.com/v1' }, cloud)).toMatchObject({
    headers: { authorization: 'Bearer openai-key' },
  });
  expect(resolveEndpoint({ endpoint: 'https://mine.openai.azure.com' }, cloud)).toMatchObject({
    headers: { 'api-key': 'azure-key' },
  });
});

test.each([
  'https://mine.openai.azure.com',
  'https://x.cognitiveservices.azure.com/openai/v1',
  'https://x.services.ai.azure.com',
  'https://x.openai.azure.us',
  'https://api.openai.com/v1',
])('a key of an Offpeak service does not go to %s', (endpoint) => {
  const env = { OFFPEAK_API_KEY: 'own', OFFPEAK_TOKEN: 'own', OFFPEAK_ADMIN_KEY: 'own' };

  expect(() => resolveEndpoint({ endpoint }, env)).toThrow(/no key for .* Nothing was sent\./);
  expect(() => resolveEndpoint({}, { ...env, OFFPEAK_ENDPOINT: endpoint })).toThrow(/no key for /);
  expect(resolveEndpoint({ endpoint, apiKey: 'given' }, env).headers).not.toEqual({});
  expect(resolveControl({ endpoint }, env).headers).toEqual({});
});

test('a key that was set for one service does not go to another, and the hint says so', () => {
  const env = {
    ...cloud,
    OFFPEAK_ENDPOINT: 'http://one:8080',
    OFFPEAK_API_KEY: 'own',
    OFFPEAK_ADMIN_KEY: 'own',
  };

  expect(resolveEndpoint({ endpoint: 'http://two:8080' }, env)).toMatchObject({
    headers: {},
    keyHint: 'No key was sent: OFFPEAK_API_KEY was set for another service. Give --api-key KEY.',
  });
  expect(() => resolveEndpoint({ endpoint: 'https://other.openai.azure.com' }, env)).toThrow(
    'AZURE_OPENAI_API_KEY was set for another service',
  );
  expect(resolveControl({ endpoint: 'http://two:8080' }, env).headers).toEqual({});
  expect(resolveEndpoint({ endpoint: 'http://one:8080/v1' }, env).headers).toEqual({
    authorization: 'Bearer own',
  });
});

test.each(['…', 'sk-…', '<key>', 'schlüssel', 'two words'])('%j is no key, and is not repeated', (key) => {
  for (const resolve of [
    () => resolveEndpoint({}, { OFFPEAK_API_KEY: key }),
    () => resolveEndpoint({ apiKey: key }, {}),
    () => resolveControl({}, { OFFPEAK_ADMIN_KEY: key }),
  ]) {
    expect(resolve).toThrow(/(OFFPEAK_API_KEY|--api-key|OFFPEAK_ADMIN_KEY) is no key: it /);
    expect(resolve).not.toThrow(new RegExp(key));
  }
});

test.each([
  ['http://h', 'http://h/openai', 'azure'],
  ['http://h/', 'http://h/openai', 'azure'],
  ['http://h/openai/', 'http://h/openai', 'azure'],
  ['http://h/openai/v1/', 'http://h/openai/v1', 'openai'],
  ['http://h/v1', 'http://h/v1', 'openai'],
  ['http://h/base', 'http://h/base/openai', 'azure'],
])('%s is called at %s in the style of %s', (endpoint, baseUrl, style) => {
  expect(resolveEndpoint({ endpoint }, {})).toMatchObject({ baseUrl, style });
});

test('the api-version is the flag, else the variable, else the current one', () => {
  const env = { AZURE_OPENAI_API_VERSION: '2025-04-01-preview' };

  expect(resolveEndpoint({ apiVersion: '2024-10-01-preview' }, env).query).toEqual({
    'api-version': '2024-10-01-preview',
  });
  expect(resolveEndpoint({}, env).query).toEqual({ 'api-version': '2025-04-01-preview' });
});

test('an endpoint that is no URL is refused', () => {
  expect(() => resolveEndpoint({ endpoint: 'localhost:8080' }, {})).toThrow(/is not a URL/);
});

test.each([
  ['http://h', 'http://h/team-a/openai'],
  ['http://h/openai', 'http://h/team-a/openai'],
  ['http://h/openai/v1', 'http://h/team-a/openai/v1'],
  ['http://h/v1', 'http://h/team-a/v1'],
  ['http://h/base/v1', 'http://h/base/team-a/v1'],
])('a resource of %s is addressed at %s', (endpoint, baseUrl) => {
  expect(resolveEndpoint({ endpoint, resource: 'Team-A' }, {}).baseUrl).toBe(baseUrl);
});

test.each(['', '..', 'a/b', 'a?b', '-a'])('%j names no resource', (resource) => {
  expect(() => resolveEndpoint({ resource }, {})).toThrow(/--resource .*expected its name/);
});

test('a token is used in the place of a key, for an Offpeak service alone', () => {
  const env = { OFFPEAK_TOKEN: 'ey' };

  expect(resolveEndpoint({}, env)).toMatchObject({
    headers: { authorization: 'Bearer ey' },
    keyHint: 'Check the token: OFFPEAK_TOKEN.',
  });
  expect(resolveEndpoint({}, { ...env, OFFPEAK_API_KEY: 'k' }).headers).toEqual({ 'api-key': 'k' });
  expect(resolveEndpoint({}, { ...env, AZURE_OPENAI_ENDPOINT: 'https://cloud' })).toMatchObject({
    baseUrl: 'http://127.0.0.1:8080/openai',
    headers: { authorization: 'Bearer ey' },
  });
  expect(() => resolveEndpoint({ endpoint: 'https://mine.openai.azure.com' }, env)).toThrow(
    'no key for https://mine.openai.azure.com: OFFPEAK_TOKEN was set for another service',
  );
});

test('commands of the control plane call only an Offpeak service, with its admin key alone', () => {
  const env = { ...cloud, OFFPEAK_API_KEY: 'own' };

  expect(resolveControl({}, env)).toMatchObject({
    baseUrl: 'http://127.0.0.1:8080',
    headers: {},
    query: { 'api-version': '2025-09-01' },
  });
  expect(
    resolveControl({}, { ...env, OFFPEAK_ENDPOINT: 'https://own', OFFPEAK_ADMIN_KEY: 'a' }),
  ).toMatchObject({ baseUrl: 'https://own', headers: { authorization: 'Bearer a' } });
});

test('the control plane is opened by --admin-key, else OFFPEAK_ADMIN_KEY, else OFFPEAK_TOKEN', () => {
  const env = { OFFPEAK_ADMIN_KEY: 'a', OFFPEAK_TOKEN: 't' };

  expect(resolveControl({ adminKey: 'flag' }, env).headers).toEqual({ authorization: 'Bearer flag' });
  expect(resolveControl({}, env).headers).toEqual({ authorization: 'Bearer a' });
  expect(resolveControl({}, { OFFPEAK_TOKEN: 't' }).headers).toEqual({ authorization: 'Bearer t' });
});

test.each(['http://h/', 'http://h/openai', 'http://h/openai/v1/', 'http://h/v1'])(
  'the control plane of %s is at its root',
  (endpoint) => {
    expect(resolveControl({ endpoint }, {}).baseUrl).toBe('http://h');
  },
);
