/** Tokens, roles and addresses as callers meet them on the wire. */
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import type { RoleAssignment } from '../../src/identity/port.ts';
import { startEntra, type Entra } from '../support/entra.ts';
import {
  ADMIN_KEY,
  batchOn,
  DEPLOYMENT,
  form,
  GROUP,
  KEY_A,
  KEY_A2,
  KEY_B,
  lines,
  RESOURCE_A,
  RESOURCE_B,
  startService,
  SUBSCRIPTION,
  type Service,
} from './harness.ts';
import { statusOf } from './raw.ts';

const READER = 'aaaaaaaa-0000-4000-8000-000000000001';
const WRITER = 'aaaaaaaa-0000-4000-8000-000000000002';
const STRANGER = 'aaaaaaaa-0000-4000-8000-000000000003';
const roleAssignments: RoleAssignment[] = [
  { role: 'Cognitive Services OpenAI User', resource: RESOURCE_A, oid: READER },
  { role: 'Cognitive Services OpenAI Contributor', resource: RESOURCE_A, oid: WRITER },
  { role: 'Cognitive Services OpenAI Contributor', resource: RESOURCE_B, group: 'team-b' },
  { role: 'Cognitive Services Contributor', resource: '*', appRole: 'Offpeak.Operator' },
];

let service: Service;
let entra: Entra;
beforeAll(async () => {
  entra = await startEntra();
  service = await startService({ identity: { tokens: entra.config, roleAssignments } });
});
afterAll(async () => {
  await service.close();
  await entra.close();
});

const bearer = async (claims: Record<string, unknown>, more: Record<string, string> = {}) => ({
  headers: { authorization: `Bearer ${await entra.token(claims)}`, ...more },
});
const json = { 'content-type': 'application/json' };
const accountUrl = (resource: string, rest = '', query = '?api-version=2025-09-01'): string =>
  `/subscriptions/${SUBSCRIPTION}/resourceGroups/${GROUP}/providers/Microsoft.CognitiveServices/accounts/${resource}${rest}${query}`;

describe('a role on the data plane', () => {
  test('of an OpenAI User reads and no more, and the refusal names the principal, the action and the operation', async () => {
    expect((await service.json('/openai/v1/files', await bearer({ oid: READER }))).status).toBe(200);

    const refused = await service.post(
      '/openai/v1/batches',
      batchOn('file-none'),
      (await bearer({ oid: READER })).headers,
    );

    expect([refused.status, refused.body]).toEqual([
      401,
      {
        error: {
          code: 'PermissionDenied',
          message: `The principal \`${READER}\` lacks the required data action \`Microsoft.CognitiveServices/accounts/OpenAI/batch-jobs/write\` to perform \`POST /openai/batches\` operation.`,
        },
      },
    ]);
  });

  test.each([
    ['POST', '/batches/batch_1/cancel', 'POST /openai/batches/{batch-id}/cancel'],
    ['DELETE', '/files/file-1', 'DELETE /openai/files/{file-id}'],
  ])('%s %s is named with its parameters', async (method, path, operation) => {
    const { body } = await service.json(`/openai${path}?api-version=2024-10-21`, {
      method,
      ...(await bearer({ oid: STRANGER })),
    });

    expect(body.error.message).toContain(`to perform \`${operation}\` operation`);
  });

  test('is refused in the words of OpenAI on its own surface', async () => {
    const { status, body } = await service.json('/v1/files/f', {
      method: 'DELETE',
      ...(await bearer({ oid: READER })),
    });

    expect(status).toBe(401);
    expect(body.error).toMatchObject({
      type: 'invalid_request_error',
      code: 'insufficient_permissions',
      param: null,
    });
    expect(body.error.message).toContain(`The principal '${READER}' lacks`);
  });

  test('of an OpenAI Contributor uploads and creates a batch, which completes', async () => {
    const uploaded = await service.post(
      '/openai/v1/files',
      form(lines(1)),
      (await bearer({ oid: WRITER })).headers,
    );
    const created = await service.post(
      '/openai/v1/batches',
      batchOn(uploaded.body.id),
      (await bearer({ oid: WRITER })).headers,
    );

    expect([uploaded.status, created.status]).toEqual([201, 201]);
    expect((await service.waitFor(created.body.id, 'completed')).request_counts.completed).toBe(1);
    expect(service.logged.join('\n')).toContain(`"resource":"${RESOURCE_A}","actor":"${WRITER}"`);
  });

  test('can come from a group in the token', async () => {
    const { status } = await service.json(
      '/beta/openai/v1/files',
      await bearer({ oid: 'x', groups: ['team-b'] }),
    );

    expect(status).toBe(200);
  });

  test('a token where a key belongs is a wrong key', async () => {
    const token = await entra.token({ oid: READER });

    const { status, body } = await service.json('/openai/v1/files', { headers: { 'api-key': token } });

    expect([status, body.error.code]).toEqual([401, '401']);
  });
});

describe('the control plane', () => {
  test('opens to operators, by a role of their application', async () => {
    const { status, body } = await service.json(
      accountUrl(RESOURCE_A),
      await bearer({ oid: 'operator', roles: ['Offpeak.Operator'] }),
    );

    expect([status, body.name]).toEqual([200, RESOURCE_A]);
  });

  test('refuses in the words of Resource Manager', async () => {
    const { status, body } = await service.json(accountUrl(RESOURCE_A, '/listKeys'), {
      method: 'POST',
      ...(await bearer({ oid: WRITER })),
    });

    expect([status, body]).toEqual([
      403,
      {
        error: {
          code: 'AuthorizationFailed',
          message: `The client '${WRITER}' with object id '${WRITER}' does not have authorization to perform action 'Microsoft.CognitiveServices/accounts/listKeys/action' over scope '${accountUrl(RESOURCE_A, '/listKeys', '')}' or the scope is invalid. If access was recently granted, please refresh your credentials.`,
        },
      },
    ]);
  });

  test.each([
    ['nothing', { authorization: '' }, 'AuthenticationFailed'],
    ["a resource's key", { 'api-key': KEY_A }, 'InvalidAuthenticationToken'],
    ["a resource's key as a bearer", { authorization: `Bearer ${KEY_A}` }, 'InvalidAuthenticationToken'],
    ['a wrong token', { authorization: 'Bearer eyJ.eyJ.eyJ' }, 'InvalidAuthenticationToken'],
  ])('answers 401 to %s', async (_name, headers, code) => {
    const { status, body } = await service.json(accountUrl(RESOURCE_A), { headers });

    expect([status, body.error.code]).toEqual([401, code]);
  });

  test('asks for an api-version, but tells only those it knows', async () => {
    const url = accountUrl(RESOURCE_A, '', '');
    const known = await service.json(url, { headers: { 'api-key': ADMIN_KEY } });
    const unknown = await service.json(url, { headers: { 'api-key': KEY_A } });

    expect([known.status, known.body.error.code]).toEqual([400, 'MissingApiVersionParameter']);
    expect(unknown.status).toBe(401);
  });

  test('has no other paths', async () => {
    const admin = { headers: { 'api-key': ADMIN_KEY } };

    expect((await service.json(`/subscriptions?api-version=2025-09-01`, admin)).status).toBe(404);
    expect((await service.json(`/subscriptions?api-version=2025-09-01`)).status).toBe(401);
    expect((await service.json('/control/audit', admin)).status).toBe(404);
    expect((await service.json(accountUrl(RESOURCE_A), { method: 'POST', ...admin })).status).toBe(405);
  });
});

describe('an address', () => {
  const get = (path: string, host: string, key: string): Promise<string> =>
    service.raw(`GET ${path} HTTP/1.1\r\nHost: ${host}\r\napi-key: ${key}\r\nConnection: close\r\n\r\n`);

  test.each([
    ['/openai/v1/files', 'localhost', KEY_A, 200],
    ['/openai/v1/files', 'beta.localhost:8080', KEY_B, 200],
    ['/openai/v1/files', 'BETA.OPENAI.AZURE.COM', KEY_B, 200],
    ['/beta/openai/v1/files', 'beta.localhost', KEY_B, 200],
    ['/Beta/v1/files', 'localhost', KEY_B, 200],
    ['/default/openai/v1/files', 'localhost', KEY_A, 200],
    ['/openai/v1/files', 'beta.localhost', KEY_A, 401],
    ['/beta/v1/files', 'localhost', KEY_A, 401],
    ['/openai/v1/files', 'localhost', KEY_B, 401],
    ['/openai/v1/files', 'nobodys.localhost', KEY_A, 401],
    ['/openai/v1/files', 'a.beta.localhost', KEY_B, 401],
    ['/beta/openai/v1/files', 'default.localhost', KEY_A, 400],
    ['/healthz', 'beta.localhost', '', 200],
  ])('%s at %s with the key %s answers %i', async (path, host, key, status) => {
    expect(statusOf(await get(path, host, key))).toBe(status);
  });

  test('that names two resources is refused before the key is checked', async () => {
    const answer = await get('/beta/openai/v1/files', 'default.localhost', '');

    expect(statusOf(answer)).toBe(400);
    expect(answer).toContain('"code":"BadRequest"');
    expect(answer).toContain("'default', and the path 'beta'");
  });

  test.each(['/beta/openai/v1', '/beta/v1', '/beta/openai'])('under %s is kept by Location', async (root) => {
    const query = root === '/beta/openai' ? '?api-version=2024-10-21' : '';
    const headers = { 'api-key': KEY_B };
    const uploaded = await service.post(`${root}/files${query}`, form(lines(1)), headers);
    const created = await service.post(`${root}/batches${query}`, batchOn(uploaded.body.id), headers);

    const places = [uploaded, created].map(({ headers: answered }) => answered.get('location') ?? '');
    expect(places).toEqual([
      `${root}/files/${uploaded.body.id}${query}`,
      `${root}/batches/${created.body.id}${query}`,
    ]);
    for (const place of places) expect((await service.json(place, { headers })).status).toBe(200);
    expect(created.headers.get('x-ms-region')).toBe(root === '/beta/v1' ? null : 'westus');
  });

  test('of a resource that does not exist is refused as a wrong key is', async () => {
    const absent = await service.json('/nobodys/openai/v1/files');
    const wrong = await service.json('/openai/v1/files', { headers: { 'api-key': 'wrong' } });

    expect([absent.status, absent.body]).toEqual([wrong.status, wrong.body]);
    expect([...absent.headers.keys()]).toEqual([...wrong.headers.keys()]);
  });
});

describe('a key', () => {
  test('that is regenerated stops working at once, and the new one works', async () => {
    const headers = { 'api-key': KEY_A2 };
    expect((await service.json('/openai/v1/files', { headers })).status).toBe(200);

    const { body } = await service.post(
      accountUrl(RESOURCE_A, '/regenerateKey'),
      { keyName: 'Key2' },
      { 'api-key': ADMIN_KEY },
    );

    expect((await service.json('/openai/v1/files', { headers })).status).toBe(401);
    expect((await service.json('/openai/v1/files', { headers: { 'api-key': body.key2 } })).status).toBe(200);
    expect((await service.json('/openai/v1/files')).status).toBe(200);
  });

  test('of a resource that takes tokens alone is refused, and a right one is told why', async () => {
    const setDisabled = (disableLocalAuth: boolean) =>
      service.json(accountUrl(RESOURCE_B), {
        method: 'PATCH',
        headers: { 'api-key': ADMIN_KEY, ...json },
        body: JSON.stringify({ properties: { disableLocalAuth } }),
      });
    expect((await setDisabled(true)).status).toBe(200);

    const right = await service.json('/beta/openai/v1/files', { headers: { 'api-key': KEY_B } });
    const wrong = await service.json('/beta/openai/v1/files', { headers: { 'api-key': 'wrong' } });
    const token = await service.json('/beta/openai/v1/files', await bearer({ groups: ['team-b'] }));
    await setDisabled(false);

    expect([right.status, right.body]).toEqual([
      403,
      {
        error: {
          code: 'AuthenticationTypeDisabled',
          message: 'Key based authentication is disabled for this resource.',
        },
      },
    ]);
    expect([wrong.status, token.status]).toEqual([401, 200]);
    expect((await service.json('/beta/openai/v1/files', { headers: { 'api-key': KEY_B } })).status).toBe(200);
  });
});

describe('tokens', () => {
  test('that are wrong count against their address, on both planes together', async () => {
    await using limited = await startService({
      identity: { tokens: entra.config, roleAssignments },
      http: { authFailuresPerMinuteMax: 2 },
    });
    const { headers } = await bearer({ exp: 1 });
    const statuses = [];
    for (const path of ['/v1/files', accountUrl(RESOURCE_A), '/v1/files', accountUrl(RESOURCE_A)])
      statuses.push((await limited.json(path, { headers })).status);

    expect(statuses).toEqual([401, 401, 429, 429]);
    expect((await limited.json('/v1/files', await bearer({ oid: READER }))).status).toBe(200);
    // A caller that is known and may not do something does not guess keys.
    expect((await limited.json('/v1/files', await bearer({ oid: STRANGER }))).status).toBe(401);
  });

  test('are answered 503 with Retry-After while the issuer was never reached', async () => {
    const down = await startEntra();
    down.answer((request) => request.socket.destroy());
    const waiting = await startService({ identity: { tokens: down.config, roleAssignments } });
    try {
      const headers = { authorization: `Bearer ${await down.token({ oid: READER })}` };
      const data = await waiting.json('/openai/v1/files', { headers });
      const controlPlane = await waiting.json(accountUrl(RESOURCE_A), { headers });

      expect([data.status, controlPlane.status]).toEqual([503, 503]);
      expect(Number(data.headers.get('retry-after'))).toBeGreaterThan(0);
      expect((await waiting.json('/openai/v1/files')).status).toBe(200);
    } finally {
      await waiting.close();
      await down.close();
    }
  });

  test('are refused where no issuer is configured', async () => {
    await using without = await startService();
    expect((await without.json('/openai/v1/files', await bearer({ oid: READER }))).status).toBe(401);
  });

  test('follow the new configuration after a reload, and keys of an issuer that stays are not fetched again', async () => {
    const asked = entra.asked();
    const headers = (await bearer({ oid: STRANGER })).headers;
    expect((await service.json('/openai/v1/files', { headers })).status).toBe(401);

    const given: RoleAssignment = {
      role: 'Cognitive Services OpenAI User',
      resource: RESOURCE_A,
      oid: STRANGER,
    };
    service.identity.replace({ tokens: { ...entra.config }, roleAssignments: [...roleAssignments, given] });
    const after = await service.json('/openai/v1/files', { headers });
    expect([after.status, entra.asked()]).toEqual([200, asked]);

    service.identity.replace({ tokens: null, roleAssignments: [...roleAssignments, given] });
    expect((await service.json('/openai/v1/files', { headers })).status).toBe(401);
    service.identity.replace({ tokens: entra.config, roleAssignments });
  });
});

test('a chat asks for the action of inference, with a token as with a key', async () => {
  const chat = (init: { headers: Record<string, string> }) =>
    service.post(
      `/openai/deployments/${DEPLOYMENT}/chat/completions?api-version=2024-10-21`,
      {},
      init.headers,
    );

  expect((await chat(await bearer({ oid: STRANGER }))).body.error.message).toContain(
    'lacks the required data action `Microsoft.CognitiveServices/accounts/OpenAI/deployments/chat/completions/action` to perform `POST /openai/deployments/{deployment-id}/chat/completions` operation',
  );
  expect((await chat(await bearer({ oid: READER }))).body.error.code).toBe('OperationNotSupported');
  expect((await chat({ headers: { 'api-key': KEY_A } })).body.error.code).toBe('OperationNotSupported');
});
