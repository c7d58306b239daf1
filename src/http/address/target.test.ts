import { describe, expect, test } from 'vitest';
import { RESERVED_NAMES } from '../../contract/names.ts';
import { CLASSIC_VERSIONS } from './api-version.ts';
import { PUBLIC_ROOTS } from './router-paths.ts';
import { resolveTarget, type Target } from './target.ts';

const DOMAINS = ['localhost', 'eu.localhost', 'openai.azure.com'];
const resolve = (url: string, host = 'localhost:8080'): Target =>
  resolveTarget(url, host, { resourceDomains: DOMAINS });

describe('a URL', () => {
  test.each([
    ['/openai/v1/batches', 'azure', '/wire/batches'],
    ['/openai/v1/batches?limit=2', 'azure', '/wire/batches?limit=2'],
    ['/openai/v1', 'azure', '/wire'],
    ['/v1/files/f/content', 'openai', '/wire/files/f/content'],
    ['/openai/files?api-version=2024-10-21', 'azure', '/wire/files?api-version=2024-10-21'],
    ['/openai/files?API-Version=2024-10-21', 'azure', '/wire/files?API-Version=2024-10-21'],
    ['/openai/deployments/d/batches?api-version=2024-10-21', 'azure', '/wire/batches?api-version=2024-10-21'],
    [
      '/openai/deployments/d/batches/b/cancel?api-version=2024-10-21',
      'azure',
      '/wire/batches/b/cancel?api-version=2024-10-21',
    ],
    [
      '/openai/deployments/d/chat/completions?api-version=2024-10-21',
      'azure',
      '/wire/deployments/d/chat/completions?api-version=2024-10-21',
    ],
    [
      '/openai/deployments/d/batchesque?api-version=2024-10-21',
      'azure',
      '/wire/deployments/d/batchesque?api-version=2024-10-21',
    ],
    ['/batches?api-version=2024-10-01-preview', 'azure', '/wire/batches?api-version=2024-10-01-preview'],
    ['//openai//v1///batches', 'azure', '/wire/batches'],
  ])('%s is of the %s dialect and routed as %s', (url, dialect, routed) => {
    const target = resolve(url);

    expect(target.surface.dialect).toBe(dialect);
    expect(target.url).toBe(routed);
    expect(target.plane).toBe('data');
    expect(target.refusal).toBeUndefined();
  });

  test.each([
    '/wire/batches',
    '/favicon.ico',
    '/v1x/batches',
    '/openaiv1',
    'http://host/openai/v1/batches',
    '*',
  ])('%j leads nowhere', (url) => {
    expect(resolve(url).url).toBe('/nowhere');
  });

  test.each(PUBLIC_ROOTS)('%s is reserved, so that no resource takes its name', (root) => {
    expect(RESERVED_NAMES).toContain(root.slice(1));
  });

  test.each(['/healthz', '/openapi.json', '/docs', '/docs/page.js'])('%s is open to everybody', (url) => {
    expect(resolve(url)).toMatchObject({ url, plane: 'public' });
  });
});

describe('an api-version', () => {
  test('that is missing is answered as a path that does not exist', () => {
    expect(resolve('/openai/batches').refusal).toMatchObject({
      code: 'routeNotFound',
      message: 'Resource not found',
    });
  });

  test.each(['2023-05-15', '2024-10-21-preview', 'v1', '', '2024-10-21%00'])(
    '%j is not supported',
    (version) => {
      const { refusal } = resolve(`/openai/batches?api-version=${version}`);

      expect(refusal?.code).toBe('badRequest');
      expect(refusal?.message).toContain('API version not supported');
    },
  );

  test.each(['', '?api-version=v1', '?api-version=preview', '?limit=3&api-version=preview'])(
    '%j is accepted on the v1 path',
    (query) => {
      expect(resolve(`/openai/v1/batches${query}`).refusal).toBeUndefined();
    },
  );

  test.each(['?api-version=2024-10-21', '?api-version='])('%j is refused on the v1 path', (query) => {
    expect(resolve(`/openai/v1/batches${query}`).refusal).toMatchObject({
      code: 'badRequest',
      message: 'api-version query parameter is not allowed when using /v1 path',
    });
  });

  test('brings what it had', () => {
    const features = CLASSIC_VERSIONS.map((version) => {
      const { surface } = resolve(`/openai/batches?api-version=${version}`);
      return [
        version,
        surface.createStatus,
        surface.filters,
        surface.tokenHeaders,
        surface.fileExpiry,
        surface.outputExpiry,
      ];
    });

    expect(features).toEqual([
      ['2024-07-01-preview', 200, false, false, false, false],
      ['2024-08-01-preview', 200, false, false, false, false],
      ['2024-09-01-preview', 200, false, false, false, false],
      ['2024-10-01-preview', 200, true, true, false, false],
      ['2024-10-21', 200, true, true, false, false],
      ['2024-12-01-preview', 201, true, true, false, false],
      ['2025-01-01-preview', 201, true, true, false, false],
      ['2025-02-01-preview', 201, true, true, false, false],
      ['2025-03-01-preview', 201, true, true, true, false],
      ['2025-04-01-preview', 201, true, true, true, true],
    ]);
  });
});

describe('the addressed resource', () => {
  test.each([
    ['/openai/v1/batches', 'localhost:8080', 'default', '/openai/v1', '/wire/batches'],
    ['/openai/v1/batches', 'alpha.localhost:8080', 'alpha', '/openai/v1', '/wire/batches'],
    ['/openai/v1/batches', 'ALPHA.OpenAI.Azure.com', 'alpha', '/openai/v1', '/wire/batches'],
    ['/v1/batches', 'alpha.localhost.', 'alpha', '/v1', '/wire/batches'],
    // The longest domain counts.
    ['/v1/batches', 'alpha.eu.localhost', 'alpha', '/v1', '/wire/batches'],
    ['/v1/batches', 'eu.localhost', 'default', '/v1', '/wire/batches'],
    // No resource can have such a name, so nothing opens it.
    ['/v1/batches', 'a.b.localhost', 'a.b', '/v1', '/wire/batches'],
    ['/v1/batches', 'www.localhost', 'www', '/v1', '/wire/batches'],
    ['/v1/batches', '127.0.0.1:8080', 'default', '/v1', '/wire/batches'],
    ['/v1/batches', '[::1]:8080', 'default', '/v1', '/wire/batches'],
    ['/v1/batches', 'alpha.example.com', 'default', '/v1', '/wire/batches'],
    ['/v1/batches', 'alphalocalhost', 'default', '/v1', '/wire/batches'],
    ['/v1/batches', '', 'default', '/v1', '/wire/batches'],
    ['/alpha/openai/v1/batches', 'localhost', 'alpha', '/alpha/openai/v1', '/wire/batches'],
    ['/alpha/v1/files', 'localhost', 'alpha', '/alpha/v1', '/wire/files'],
    ['/alpha//v1/files', 'localhost', 'alpha', '/alpha/v1', '/wire/files'],
    ['/Alpha/v1/files', 'alpha.localhost', 'alpha', '/Alpha/v1', '/wire/files'],
    ['/a/v1', 'localhost', 'a', '/a/v1', '/wire'],
    [
      '/alpha/openai/files?api-version=2024-10-21',
      '',
      'alpha',
      '/alpha/openai',
      '/wire/files?api-version=2024-10-21',
    ],
    [
      '/alpha/openai/deployments/d/batches?api-version=2024-10-21',
      '',
      'alpha',
      '/alpha/openai',
      '/wire/batches?api-version=2024-10-21',
    ],
    [
      '/batches?api-version=2024-10-21',
      'alpha.localhost',
      'alpha',
      '/openai',
      '/wire/batches?api-version=2024-10-21',
    ],
  ])('of %s at %j is %s', (url, host, resource, root, routed) => {
    const target = resolve(url, host);

    expect([target.plane, target.resource, target.surface.root, target.url]).toEqual([
      'data',
      resource,
      root,
      routed,
    ]);
    expect(target.refusal).toBeUndefined();
  });

  test('of a very long host is cut, and still no name that a resource can have', () => {
    expect(resolve('/v1/batches', `${'a'.repeat(10_000)}.localhost`).resource).toBe('a'.repeat(64));
  });

  test('must be the same in host and path', () => {
    const target = resolve('/alpha/v1/files', 'beta.localhost');

    expect(target).toMatchObject({ plane: 'public', url: '/nowhere', surface: { dialect: 'openai' } });
    expect(target.refusal?.code).toBe('badRequest');
    expect(target.refusal?.message).toContain("'beta', and the path 'alpha'");
  });

  test.each(RESERVED_NAMES)(
    'is never named %s, so a path that begins with it leads where it always did',
    (name) => {
      for (const rest of ['/openai/v1/batches', '/v1/batches', '/openai/files?api-version=2024-10-21'])
        expect(resolve(`/${name}${rest}`).resource).toBe(resolve(`/${name}`).resource);
    },
  );

  test.each([
    '/alpha/healthz',
    '/alpha/docs',
    '/alpha/batches',
    '/alpha/subscriptions/s',
    '/alpha/beta/v1/files',
    '/-alpha/v1/files',
    '/alpha-/v1/files',
    '/al_pha/v1/files',
    '/%61lpha/v1/files',
    '/alpha%2fv1/files',
    `/${'a'.repeat(64)}/v1/files`,
    '/control/v1/files',
    '/wire/openai/v1/batches',
    '/wire/v1/batches',
    '/nowhere/v1',
  ])('is not in %s, which leads nowhere', (url) => {
    expect(resolve(url)).toMatchObject({ plane: 'public', url: '/nowhere' });
  });
});

describe('the control plane', () => {
  const group = '/subscriptions/S1/resourceGroups/My-Group/providers/Microsoft.CognitiveServices';
  const there = '/control/subscriptions/S1/resourceGroups/My-Group';

  test.each([
    [`${group}/accounts`, `${there}/accounts`],
    [`${group}/accounts/alpha`, `${there}/accounts/alpha`],
    [`${group}/accounts/AOAI-Lab/`, `${there}/accounts/aoai-lab`],
    [`${group}/accounts/a/deployments`, `${there}/accounts/a/deployments`],
    [`${group}/accounts/a/deployments/Gpt-4o`, `${there}/accounts/a/deployments/Gpt-4o`],
    [`${group}/accounts/a/deployments/d/skus`, `${there}/accounts/a/deployments/d/skus`],
    [`${group}/accounts/a/listKeys`, `${there}/accounts/a/listKeys`],
    [`${group}/accounts/a/LISTKEYS`, `${there}/accounts/a/listKeys`],
    [`${group}/accounts/a/regenerateKey`, `${there}/accounts/a/regenerateKey`],
    [`${group}/accounts/a/skus`, `${there}/accounts/a/skus`],
    [`${group}/accounts/a/usages`, `${there}/accounts/a/usages`],
    [`${group}/accounts/a/models`, `${there}/accounts/a/models`],
    [
      '/SUBSCRIPTIONS/S1/resourcegroups/My-Group/PROVIDERS/microsoft.cognitiveservices/ACCOUNTS/a',
      `${there}/accounts/a`,
    ],
    [
      '/subscriptions/S1/providers/Microsoft.CognitiveServices/accounts',
      '/control/subscriptions/S1/accounts',
    ],
    [
      '/subscriptions/S1/providers/Microsoft.CognitiveServices/locations/westus/usages',
      '/control/subscriptions/S1/locations/westus/usages',
    ],
    [
      '/subscriptions/S1/providers/Microsoft.CognitiveServices/locations/westus/modelcapacities',
      '/control/subscriptions/S1/locations/westus/modelCapacities',
    ],
    [
      '/subscriptions/S1/providers/Microsoft.CognitiveServices/modelCapacities',
      '/control/subscriptions/S1/modelCapacities',
    ],
    // A name is a name, whatever word it is.
    [
      `${group}/accounts/deployments/deployments/providers`,
      `${there}/accounts/deployments/deployments/providers`,
    ],
    [
      '/subscriptions/providers/resourceGroups/providers/providers/Microsoft.CognitiveServices/accounts/a',
      '/control/subscriptions/providers/resourceGroups/providers/accounts/a',
    ],
  ])('%s is routed as %s', (path, routed) => {
    const target = resolve(`${path}?api-version=2025-09-01`);

    expect(target).toMatchObject({ plane: 'control', url: `${routed}?api-version=2025-09-01` });
    expect(target.refusal).toBeUndefined();
  });

  test.each([
    '/subscriptions',
    '/subscriptions/S1',
    '/subscriptions/S1/resourceGroups/g',
    '/subscriptions/S1/resourceGroups/g/accounts/a',
    '/subscriptions/S1/resourceGroups/g/providers/Microsoft.Storage/accounts/a',
    '/subscriptions/S1/resourceGroups/g/providers/Microsoft.CognitiveServices/accounts/a/providers/Microsoft.CognitiveServices/accounts/b',
    `${group}/accounts/a/privateEndpointConnections`,
    `${group}/batches`,
    `${group}/audit`,
  ])('%s leads nowhere, for operators alone', (path) => {
    expect(resolve(`${path}?api-version=2025-09-01`)).toMatchObject({
      plane: 'control',
      url: '/nowhere?api-version=2025-09-01',
    });
  });

  test.each(['', '?api-version=', '?limit=3'])('%j lacks the api-version', (query) => {
    expect(resolve(`${group}/accounts${query}`).refusal).toMatchObject({
      code: 'missingApiVersion',
      message: 'The api-version query parameter (?api-version=) is required for all requests.',
    });
  });

  test.each(['2025-09-01', '2023-10-01-preview'])('%s is an api-version', (version) => {
    expect(resolve(`${group}/accounts?api-version=${version}`).refusal).toBeUndefined();
  });

  test.each(['v1', '2025-9-1', '2025-09-01-beta', 'latest'])('%s is no api-version', (version) => {
    expect(resolve(`${group}/accounts?api-version=${version}`).refusal?.code).toBe('badRequest');
  });

  test('the audit log has no api-version', () => {
    expect(resolve('/audit?limit=3')).toMatchObject({
      plane: 'control',
      url: '/control/audit?limit=3',
    });
    expect(resolve('/audit').refusal).toBeUndefined();
  });

  test.each(['/control/audit', '/control/subscriptions/s/accounts', '/auditor'])(
    '%s leads nowhere',
    (url) => {
      expect(resolve(url)).toMatchObject({ plane: 'public', url: '/nowhere' });
    },
  );
});
