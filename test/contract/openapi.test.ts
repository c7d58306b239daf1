import { Ajv2020 } from 'ajv/dist/2020.js';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { ADMIN_KEY, form, lines, startService, type Json, type Service } from './harness.ts';

let service: Service;
let api: Json;
beforeAll(async () => {
  service = await startService();
  api = (await service.json('/openapi.json')).body;
});
afterAll(() => service.close());

/** A validator of what the document says of an answer. */
function validatorOf(path: string, method: string, status: number): (body: unknown) => string[] {
  const { responses } = api.paths[path][method];
  const { schema } = (responses[status] ?? responses.default).content['application/json'];
  const ajv = new Ajv2020({ strict: false, allErrors: true });
  ajv.addSchema({ ...api, $id: 'api' });
  const resolved = JSON.parse(JSON.stringify(schema).replaceAll('"#/', '"api#/'));
  const validate = ajv.compile(resolved);
  return (body) =>
    validate(body) ? [] : (validate.errors ?? []).map((error) => `${error.instancePath} ${error.message}`);
}

test('the document is OpenAPI 3.1 and has no dead reference', () => {
  expect(api.openapi).toBe('3.1.0');
  for (const [, name] of JSON.stringify(api).matchAll(/"#\/components\/schemas\/([^"]+)"/g))
    expect(api.components.schemas).toHaveProperty(name ?? '');
  expect(api.servers.map(({ url }: { url: string }) => url)).toEqual(['/openai/v1', '/v1', '/openai']);
});

const PROVIDER = '/providers/Microsoft.CognitiveServices';

test('the document shows every route that does not merely refuse or repeat another', () => {
  const shown = Object.entries<object>(api.paths).flatMap(([path, methods]) =>
    Object.keys(methods).map((method) => `${method.toUpperCase()} ${path.replace(PROVIDER, '')}`),
  );
  const own = service.routes.filter(
    ({ method, action, url }) => method !== 'HEAD' && action !== 'none' && /^\/(?:wire|control)/.test(url),
  );
  const byEntry = Map.groupBy(own, ({ method, url }) =>
    `${method} ${url.replace(/^\/(?:wire|control)/, '')}`.replaceAll(/:(\w+)/g, '{$1}'),
  );
  const shared = [...byEntry.values()].filter((routes) => routes.length > 1);
  expect(
    shared.map((routes) => routes.map(({ method, url }) => `${method} ${url}`).join(' and ')),
    'The document has one entry for both. Give one of them another path',
  ).toEqual([]);

  const served = [...byEntry.keys()]
    .filter((route) => !/completions|\/embeddings|\/responses/.test(route))
    .filter((route) => route !== 'GET /batches/{id}/cancel');

  expect(shown.toSorted(), 'Describe the route in OPERATIONS of src/http/public/operations.ts').toEqual(
    [...served, 'GET /', 'GET /healthz', 'GET /openapi.json'].toSorted(),
  );
});

test('every operation has a topic, a sentence, and an example that names it', () => {
  const topics = api.tags.map(({ name }: { name: string }) => name);
  for (const [path, methods] of Object.entries<Json>(api.paths))
    for (const [method, operation] of Object.entries<Json>(methods)) {
      const [sentence] = operation.description.split('\n\n');
      expect([method, path, topics]).toEqual([method, path, expect.arrayContaining(operation.tags)]);
      expect(sentence).toMatch(/^[A-Z].*\.$/s);
      expect(operation['x-codeSamples'][0].source).toContain(path);
    }
});

describe.each(['/openai/v1', '/v1'])('answers under %s are as documented', (root) => {
  test('of files and batches', async () => {
    const faults: string[] = [];
    const call = async (method: string, path: string, url: string, init: RequestInit = {}): Promise<Json> => {
      const { status, body } = await service.json(root + url, { method: method.toUpperCase(), ...init });
      faults.push(
        ...validatorOf(path, method, status)(body).map((fault) => `${method} ${url} ${status}: ${fault}`),
      );
      return body;
    };
    const json = (body: unknown): RequestInit => ({
      headers: { 'content-type': 'application/json' },
      body: JSON.stringify(body),
    });

    const file = await call('post', '/files', '/files', { body: form(lines(2)) });
    await call('get', '/files/{id}', `/files/${file.id}`);
    const batch = await call(
      'post',
      '/batches',
      '/batches',
      json({
        input_file_id: file.id,
        endpoint: '/chat/completions',
        completion_window: '24h',
        metadata: { a: 'b' },
      }),
    );
    await service.waitFor(batch.id, 'completed');
    await call('get', '/batches/{id}', `/batches/${batch.id}`);
    await call('get', '/batches', '/batches');
    await call('get', '/files', '/files');
    await call('post', '/batches/{id}/cancel', `/batches/${batch.id}/cancel`);
    await call('get', '/batches/{id}', '/batches/none');
    await call('post', '/batches', '/batches', json({}));
    await call('post', '/files/import', '/files/import', json({ purpose: 'batch' }));
    await call('delete', '/files/{id}', `/files/${file.id}`);

    expect(faults).toEqual([]);
  });

  test('of deployments, quotas and models', async () => {
    const faults: string[] = [];
    const call = async (path: string, url = path): Promise<Json> => {
      const { status, body } = await service.json(root + url);
      faults.push(...validatorOf(path, 'get', status)(body).map((fault) => `${url} ${status}: ${fault}`));
      return body;
    };

    const { data } = await call('/deployments');
    await call('/deployments/{deployment}', `/deployments/${data[0].id}`);
    await call('/deployments/{deployment}', '/deployments/none');
    await call('/usages');
    const models = await call('/models');
    await call('/models/{id}', `/models/${models.data[0].id}`);
    await call('/models/{id}', '/models/none');

    expect(faults).toEqual([]);
  });
});

test('the audit log is as documented, and at the root of the address', async () => {
  const { servers } = api.paths['/audit'].get;
  const { status, body } = await service.json('/audit', { headers: { 'api-key': ADMIN_KEY } });

  expect(servers).toMatchObject([{ url: '/' }]);
  expect(body.data.length).toBeGreaterThan(0);
  expect(validatorOf('/audit', 'get', status)(body)).toEqual([]);
});
