import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { DEPLOYMENT, form, KEY_A, KEY_A2, KEY_B, lines, startService, type Service } from './harness.ts';

let service: Service;
let operations: { method: string; path: string }[];
/** Ids of resource A. */
let owned: { batch: string; running: string; file: string; output: string; reserved: string; upload: string };

beforeAll(async () => {
  service = await startService();
  const done = await service.createBatch(lines(2));
  const completed = await service.waitFor(done.id, 'completed');
  service.gate.close();
  const running = await service.createBatch(lines(2));
  const started = await service.post('/openai/v1/uploads', {
    purpose: 'batch',
    filename: 'a.jsonl',
    bytes: 1,
    mime_type: 'text/plain',
  });
  owned = {
    upload: started.body.id,
    batch: completed.id,
    running: running.id,
    file: completed.input_file_id,
    output: completed.output_file_id,
    reserved: running.offpeak.output_file_id,
  };
  const { paths } = (await service.json('/openapi.json')).body;
  operations = [
    // The control plane has a matrix of its own.
    ...Object.entries<object>(paths)
      .filter(isData)
      .flatMap(([path, methods]) =>
        Object.keys(methods).map((method) => ({ method: method.toUpperCase(), path })),
      ),
    { method: 'POST', path: '/chat/completions' },
    { method: 'GET', path: '/batches/{id}/cancel' },
    { method: 'GET', path: '/nothing' },
    { method: 'PUT', path: '/batches' },
  ];
});
afterAll(() => service.close());

const isData = ([path, methods]: [string, object]): boolean =>
  path.includes('{id}') || !('servers' in (Object.values(methods)[0] ?? {}));

const SURFACES = ['/openai/v1', '/v1', '/openai', `/openai/deployments/${DEPLOYMENT}`];
const urlOf = (surface: string, path: string, id: string): string =>
  surface + path.replace('{id}', id) + (/\/openai(?:$|\/d)/.test(surface) ? '?api-version=2024-10-21' : '');

const initOf = (method: string, path: string, headers: Record<string, string>): RequestInit => {
  if (method !== 'POST') return { method, headers };
  if (path === '/files') return { method, headers, body: form(lines(1)) };
  if (path.endsWith('/parts')) {
    const part = new FormData();
    part.append('data', new Blob(['x']), 'x');
    return { method, headers, body: part };
  }
  const body = JSON.stringify({
    model: DEPLOYMENT,
    input_file_id: owned.file,
    endpoint: '/chat/completions',
    completion_window: '24h',
    part_ids: [],
  });
  return { method, headers: { ...headers, 'content-type': 'application/json' }, body };
};

const BAD_CREDENTIALS: [string, Record<string, string>][] = [
  ['no key', { authorization: '' }],
  ['an empty key', { 'api-key': '' }],
  ['a wrong key', { 'api-key': `${KEY_A}x` }],
  ['a wrong bearer token', { authorization: `Bearer ${KEY_A}x` }],
  ['another scheme', { authorization: `Basic ${btoa(`user:${KEY_A}`)}` }],
  ['the key in another case', { 'api-key': KEY_A.toUpperCase() }],
];

test('the OpenAPI document has the routes that these tests call', () => {
  expect(operations.length).toBeGreaterThanOrEqual(13);
});

describe.each(SURFACES)('%s', (surface) => {
  test.each(BAD_CREDENTIALS)('every route answers 401 to %s, and changes nothing', async (_name, headers) => {
    for (const { method, path } of operations) {
      const url = urlOf(surface, path, path.startsWith('/files') ? owned.file : owned.running);

      const { status } = await service.json(url, initOf(method, path, headers));

      expect([method, url, status]).toEqual([method, url, 401]);
    }
    expect((await service.json(`/openai/v1/batches/${owned.running}`)).body.status).toBe('in_progress');
    expect((await service.json(`/openai/v1/files/${owned.file}`)).status).toBe(200);
  });

  test('every route answers at another resource as if the id did not exist', async () => {
    const headers = { 'api-key': KEY_B };
    const foreign = [owned.file, owned.output, owned.reserved, owned.batch, owned.running, owned.upload];
    for (const { method, path } of operations.filter((operation) => operation.path.includes('{id}'))) {
      for (const id of foreign) {
        const absent =
          { files: `file-${'0'.repeat(32)}`, uploads: 'upload_none' }[path.split('/')[1] ?? ''] ??
          'batch_none';

        const theirs = await service.json(urlOf(`/beta${surface}`, path, id), initOf(method, path, headers));
        const nothing = await service.json(
          urlOf(`/beta${surface}`, path, absent),
          initOf(method, path, headers),
        );

        expect([method, path, theirs.status]).toEqual([method, path, 404]);
        expect(JSON.stringify(theirs.body).replaceAll(id, 'ID')).toBe(
          JSON.stringify(nothing.body).replaceAll(absent, 'ID'),
        );
      }
    }
  });
});

describe('another resource', () => {
  const headers = { 'api-key': KEY_B };

  test('lists nothing', async () => {
    const batches = await service.json('/beta/openai/v1/batches', { headers });
    const files = await service.json('/beta/openai/v1/files', { headers });

    expect([batches.body.data, files.body.data]).toEqual([[], []]);
  });

  test('cannot go on from a foreign id', async () => {
    const batches = await service.json(`/beta/openai/v1/batches?after=${owned.batch}`, { headers });
    const files = await service.json(`/beta/openai/v1/files?after=${owned.file}`, { headers });

    expect([batches.status, files.status]).toEqual([400, 400]);
  });

  test('cannot use a foreign file as input', async () => {
    const foreign = await service.json('/beta/openai/v1/batches', initOf('POST', '/batches', headers));

    expect(foreign.status).toBe(400);
    expect(foreign.body.error.message).toContain('does not exist in this resource');
  });

  test('has its own region', async () => {
    const { headers: answered } = await service.json('/beta/openai/v1/batches', { headers });

    expect(answered.get('x-ms-region')).toBe('westus');
  });
});

describe('a key', () => {
  test('both keys of a resource open it', async () => {
    const first = await service.json(`/openai/v1/files/${owned.file}`);
    const second = await service.json(`/openai/v1/files/${owned.file}`, { headers: { 'api-key': KEY_A2 } });

    expect(second.body).toEqual(first.body);
  });

  test('that is missing or wrong is refused in the words of each dialect', async () => {
    const bodies = async (path: string, headers: Record<string, string>) =>
      (await service.json(path, { headers })).body;
    const wrongKey = {
      error: {
        code: '401',
        message:
          'Access denied due to invalid subscription key or wrong API endpoint. Make sure to provide a valid key for an active subscription and use a correct regional API endpoint for your resource.',
      },
    };

    expect(await bodies('/openai/v1/batches', { 'api-key': 'x' })).toEqual(wrongKey);
    expect(await bodies('/openai/files?api-version=2024-10-21', { 'api-key': '' })).toEqual(wrongKey);
    expect(await bodies('/openai/v1/batches', { authorization: 'Bearer x' })).toEqual({
      statusCode: 401,
      message:
        'Unauthorized. Access token is missing, invalid, audience is incorrect (https://cognitiveservices.azure.com), or have expired.',
    });
    expect((await bodies('/v1/batches', { authorization: 'Bearer x' })).error).toMatchObject({
      type: 'authentication_error',
      code: 'invalid_api_key',
      param: null,
    });
  });

  test('is never in the log, right or wrong', async () => {
    await service.json('/openai/v1/batches', { headers: { 'api-key': 'canary-wrong-key' } });
    await service.json('/openai/v1/batches?api-key=canary-query-key');

    const log = service.logged.join('\n');

    expect(log).toContain('"route":"/openai/v1/batches","status":200');
    expect(log).toContain('"actor":"key:1"');
    for (const secret of [KEY_A, KEY_A2, KEY_B, 'canary']) expect(log).not.toContain(secret);
  });

  test('in the query is ignored', async () => {
    const { status } = await service.json(`/openai/v1/batches?api-key=${KEY_A}`, {
      headers: { authorization: '' },
    });

    expect(status).toBe(401);
  });
});

describe('many wrong keys from one address', () => {
  test('are answered 429 with Retry-After, and good keys still work', async () => {
    await using limited = await startService({ http: { authFailuresPerMinuteMax: 3 } });
    const attempt = () => limited.json('/v1/batches', { headers: { 'api-key': 'wrong' } });
    const statuses = [];
    for (let count = 0; count < 4; count++) statuses.push((await attempt()).status);
    const refused = await attempt();

    expect(statuses).toEqual([401, 401, 401, 429]);
    expect(refused.body.error).toMatchObject({ type: 'rate_limit_error', code: 'rate_limit_exceeded' });
    expect(Number(refused.headers.get('retry-after'))).toBeGreaterThan(50);
    expect((await limited.json('/v1/batches')).status).toBe(200);
  });
});

describe('without a key', () => {
  test('health, the OpenAPI document and its page are open', async () => {
    const open = (path: string) => fetch(service.url + path);

    expect(await (await open('/healthz')).json()).toEqual({ status: 'ready' });
    expect((await open('/openapi.json')).status).toBe(200);
    const page = await open('/docs');
    expect(page.headers.get('content-type')).toBe('text/html; charset=utf-8');
    expect(page.headers.get('content-security-policy')).toContain("script-src 'self'");
    const html = await page.text();
    expect(html).not.toMatch(/https?:\/\/|<script(?![^>]*src=)|style=/);
    for (const [, asset] of html.matchAll(/(?:src|href)="(\/docs\/[^"]+)"/g))
      expect((await open(asset ?? '')).status).toBe(200);
  });

  test('a service that is starting says so', async () => {
    await using starting = await startService({ ready: () => false });
    const answer = await fetch(`${starting.url}/healthz`);

    expect([answer.status, await answer.json()]).toEqual([503, { status: 'starting' }]);
  });

  test('paths outside of the API are not found', async () => {
    expect((await fetch(`${service.url}/favicon.ico`)).status).toBe(404);
    expect((await fetch(`${service.url}/wire/batches`)).status).toBe(404);
    expect((await fetch(`${service.url}/docs/../package.json`)).status).toBe(404);
    expect((await fetch(`${service.url}/docs/%2e%2e%2fserver.ts`)).status).toBe(404);
  });
});
