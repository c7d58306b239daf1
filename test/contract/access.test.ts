/** Who may do what: every registered route × every kind of caller × own, foreign and absent resources (P22). */
import { createHash } from 'node:crypto';
import { readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { ACTIONS, ROLES, type Action, type Role } from '../../src/contract/control.ts';
import { RESERVED_NAMES } from '../../src/contract/names.ts';
import { assert } from '../../src/core/assert.ts';
import { resolveTarget } from '../../src/http/address/target.ts';
import type { RoleAssignment } from '../../src/identity/port.ts';
import { isDataAction, ROLE_ACTIONS } from '../../src/identity/roles.ts';
import { startEntra, type Entra } from '../support/entra.ts';
import {
  ADMIN_KEY,
  digest,
  GROUP,
  KEY_A,
  KEY_A2,
  KEY_B,
  lines,
  RESOURCE_A,
  RESOURCE_B,
  startService,
  SUBSCRIPTION,
  type Route,
  type Service,
} from './harness.ts';

/**
 * What every route asks for. A new one fails here until it is added: whoever adds it says who may use it.
 * `/wire` is the data plane, under all of its surfaces.
 */
const ACTION_OF: Readonly<Record<string, Action>> = {
  'POST /wire/files': 'accounts/OpenAI/files/write',
  'POST /wire/files/import': 'accounts/OpenAI/files/write',
  'POST /wire/uploads': 'accounts/OpenAI/files/write',
  'POST /wire/uploads/:id/parts': 'accounts/OpenAI/files/write',
  'POST /wire/uploads/:id/complete': 'accounts/OpenAI/files/write',
  'POST /wire/uploads/:id/cancel': 'accounts/OpenAI/files/write',
  'GET /wire/files': 'accounts/OpenAI/files/read',
  'GET /wire/files/:id': 'accounts/OpenAI/files/read',
  'GET /wire/files/:id/content': 'accounts/OpenAI/files/read',
  'DELETE /wire/files/:id': 'accounts/OpenAI/files/delete',
  'POST /wire/batches': 'accounts/OpenAI/batch-jobs/write',
  'GET /wire/batches': 'accounts/OpenAI/batches/read',
  'GET /wire/batches/:id': 'accounts/OpenAI/batches/read',
  'GET /wire/batches/:id/output': 'accounts/OpenAI/files/read',
  'GET /wire/batches/:id/errors': 'accounts/OpenAI/files/read',
  'POST /wire/batches/:id/cancel': 'accounts/OpenAI/batches/cancel/action',
  'GET /wire/batches/:id/cancel': 'accounts/OpenAI/batches/cancel/action',
  'GET /wire/deployments': 'accounts/OpenAI/deployments/read',
  'GET /wire/deployments/:deployment': 'accounts/OpenAI/deployments/read',
  'GET /wire/usages': 'accounts/OpenAI/usages/read',
  'GET /wire/models': 'accounts/OpenAI/models/read',
  'GET /wire/models/:id': 'accounts/OpenAI/models/read',
  ...Object.fromEntries(
    ['/chat/completions', '/completions', '/embeddings', '/responses'].flatMap((path) =>
      ['', '/deployments/:deployment'].map((parent) => [
        `POST /wire${parent}${path}`,
        'accounts/OpenAI/deployments/chat/completions/action' as const,
      ]),
    ),
  ),
  ...under('/control/subscriptions/:subscription', {
    'GET /accounts': 'accounts/read',
    'GET /locations/:location/usages': 'locations/usages/read',
    'GET /locations/:location/models': 'locations/models/read',
    'GET /locations/:location/modelCapacities': 'locations/models/read',
    'GET /modelCapacities': 'locations/models/read',
    'GET /resourceGroups/:group/accounts': 'accounts/read',
  }),
  ...under('/control/subscriptions/:subscription/resourceGroups/:group/accounts/:account', {
    'GET ': 'accounts/read',
    'PUT ': 'accounts/write',
    'PATCH ': 'accounts/write',
    'DELETE ': 'accounts/delete',
    'POST /listKeys': 'accounts/listKeys/action',
    'POST /regenerateKey': 'accounts/regenerateKey/action',
    'GET /skus': 'accounts/read',
    'GET /usages': 'accounts/usages/read',
    'GET /models': 'accounts/models/read',
    'GET /deployments': 'accounts/deployments/read',
    'GET /deployments/:deployment': 'accounts/deployments/read',
    'PUT /deployments/:deployment': 'accounts/deployments/write',
    'PATCH /deployments/:deployment': 'accounts/deployments/write',
    'DELETE /deployments/:deployment': 'accounts/deployments/delete',
    'GET /deployments/:deployment/skus': 'accounts/deployments/read',
  }),
  'GET /control/audit': 'audit/read',
};

function under(parent: string, routes: Readonly<Record<string, Action>>): Record<string, Action> {
  return Object.fromEntries(
    Object.entries(routes).map(([route, action]) => [route.replace(' ', ` ${parent}`), action]),
  );
}

/** These routes name no resource, and show each caller what it may see. */
const FILTERED = new Set([
  'GET /control/subscriptions/:subscription/accounts',
  'GET /control/subscriptions/:subscription/resourceGroups/:group/accounts',
  'GET /control/subscriptions/:subscription/locations/:location/models',
  'GET /control/subscriptions/:subscription/locations/:location/modelCapacities',
  'GET /control/subscriptions/:subscription/modelCapacities',
]);

const LOCKED = 'locked';
const ABSENT = 'nobodys';
const OTHER_SUBSCRIPTION = '99999999-9999-9999-9999-999999999999';
const KEY_LOCKED = 'key-of-the-locked-resource-0123';
const KEY_REVOKED = KEY_A2;

interface Actor {
  readonly name: string;
  readonly headers: Readonly<Record<string, string>>;
  /** It is undefined when that plane does not know the caller. A null resource means the service as a whole. */
  readonly may: (
    plane: 'data' | 'control',
    resource: string | null,
    action: Action,
  ) => boolean | 'locked' | undefined;
  /** It may see all resources, and so learns that one does not exist. */
  readonly everywhere?: boolean;
}

let service: Service;
let entra: Entra;
let actors: Actor[];
let routes: Route[];
const secrets = new Set([ADMIN_KEY, KEY_A, KEY_A2, KEY_B, KEY_LOCKED]);

const SCOPES = [RESOURCE_A, RESOURCE_B, '*'];
const oidOf = (role: Role, resource: string): string =>
  createHash('sha256').update(`${role} on ${resource}`).digest('hex').slice(0, 32);
const roleAssignments: RoleAssignment[] = ROLES.flatMap((role) =>
  SCOPES.map((resource) => ({ role, resource, oid: oidOf(role, resource) })),
);

beforeAll(async () => {
  entra = await startEntra();
  service = await startService({
    identity: { tokens: entra.config, roleAssignments },
    http: { authFailuresPerMinuteMax: 1_000_000 },
  });
  routes = service.routes.filter(({ url }) => /^\/(?:wire|control)\//.test(url));
  await lock();
  // Live batches keep their resources from being deleted while the matrix runs.
  service.gate.close();
  await service.createBatch(lines(1), KEY_A);
  await service.createBatch(lines(1), KEY_B);
  const regenerated = await service.post(
    account(RESOURCE_A, '/regenerateKey'),
    { keyName: 'Key2' },
    { 'api-key': ADMIN_KEY },
  );
  secrets.add(regenerated.body.key2);
  actors = await everyActor(regenerated.body.key2);
});
afterAll(async () => {
  await service.close();
  await entra.close();
});

/** A resource that only tokens open. Nothing lives in it, so the matrix may delete it. */
async function lock(): Promise<void> {
  const { resources } = service.deps.state;
  const model = await resources.get(RESOURCE_A);
  assert(model, 'resource A is there');
  const change = { actor: 'test', atS: 0 };
  await resources.put({ ...model, id: LOCKED, keyAuthDisabled: true }, change);
  await resources.putKey(LOCKED, { slot: 1, digest: digest(KEY_LOCKED), hint: '0123' }, change);
}

async function everyActor(newKey: string): Promise<Actor[]> {
  const bearer = async (claims: Record<string, unknown>): Promise<Record<string, string>> => {
    const token = await entra.token(claims);
    secrets.add(token);
    return { authorization: `Bearer ${token}` };
  };
  const nobody = { may: () => undefined };
  const keyOf =
    (own: string): Actor['may'] =>
    (plane, resource) =>
      plane === 'data' && resource === own ? (own === LOCKED ? 'locked' : true) : undefined;
  const withRoles = await Promise.all(
    ROLES.flatMap((role) =>
      SCOPES.map(async (scope): Promise<Actor> => ({
        name: `${role} on ${scope}`,
        headers: await bearer({ oid: oidOf(role, scope) }),
        may: (_plane, resource, action) =>
          (scope === '*' || scope === resource) && ROLE_ACTIONS[role].has(action),
        everywhere: scope === '*',
      })),
    ),
  );
  return [
    { name: 'nobody', headers: { authorization: '' }, ...nobody },
    { name: 'a wrong key', headers: { 'api-key': `${KEY_A}x` }, ...nobody },
    { name: 'a revoked key', headers: { 'api-key': KEY_REVOKED }, ...nobody },
    { name: 'key 1 of A', headers: { 'api-key': KEY_A }, may: keyOf(RESOURCE_A) },
    {
      name: 'key 2 of A, as a bearer',
      headers: { authorization: `Bearer ${newKey}` },
      may: keyOf(RESOURCE_A),
    },
    { name: 'key 1 of B', headers: { 'api-key': KEY_B }, may: keyOf(RESOURCE_B) },
    { name: 'a disabled key', headers: { 'api-key': KEY_LOCKED }, may: keyOf(LOCKED) },
    {
      name: 'the admin key',
      headers: { 'api-key': ADMIN_KEY },
      may: (plane) => (plane === 'control' ? true : undefined),
      everywhere: true,
    },
    { name: 'a token without a role', headers: await bearer({ oid: 'no-role' }), may: () => false },
    { name: 'an expired token', headers: await bearer({ exp: 1 }), ...nobody },
    {
      name: 'a token of another tenant',
      headers: await bearer({ tid: OTHER_SUBSCRIPTION, oid: oidOf('Reader', '*') }),
      ...nobody,
    },
    ...withRoles,
  ];
}

const account = (resource: string, rest = '', subscription = SUBSCRIPTION): string =>
  `/subscriptions/${subscription}/resourceGroups/${GROUP}/providers/Microsoft.CognitiveServices/accounts/${resource}${rest}?api-version=2025-09-01`;

/** The URL of a route, as callers write it. Nothing in it exists but the resource. */
function urlOf({ url }: Pick<Route, 'url'>, resource: string, subscription = SUBSCRIPTION): string {
  const filled = url
    .replace(':subscription', subscription)
    .replace(':group', GROUP)
    .replace(':account', resource)
    .replace(':location', 'koreacentral')
    .replace(/:(?:id|deployment)/, 'none');
  if (url === '/control/audit') return '/audit';
  if (!url.startsWith('/control')) return filled.replace('/wire', `/${resource}/openai/v1`);
  const provider = 'providers/Microsoft.CognitiveServices/';
  const path = filled
    .replace('/control', '')
    .replace(/\/(accounts|locations|modelCapacities)(?=\/|$)/, `/${provider}$1`);
  return `${path}?api-version=2025-09-01`;
}

const names = (route: Pick<Route, 'method' | 'url'>): string => `${route.method} ${route.url}`;
const planeOf = ({ url }: Pick<Route, 'url'>): 'data' | 'control' =>
  url.startsWith('/wire') ? 'data' : 'control';

async function ask(route: Route, resource: string, { headers }: Actor, subscription?: string) {
  const answer = await service.json(urlOf(route, resource, subscription), {
    method: route.method,
    headers: { ...headers },
  });
  return { ...answer, refused: answer.status === 401 || answer.status === 403 };
}

test('every route asks for the action that this table names', () => {
  const open = routes.filter(({ action }) => action !== 'none');
  const said = open.filter(({ method }) => method !== 'HEAD').map((route) => [names(route), route.action]);

  expect(Object.fromEntries(said), 'Say in ACTION_OF who may use the route').toEqual(ACTION_OF);
  // HEAD is a GET without its body.
  for (const { url, action } of open.filter(({ method }) => method === 'HEAD'))
    expect([url, action]).toEqual([url, ACTION_OF[`GET ${url}`]]);
  for (const action of Object.values(ACTION_OF)) expect(ACTIONS).toContain(action);
  for (const [route, action] of Object.entries(ACTION_OF))
    expect([route, isDataAction(action)]).toEqual([route, route.includes(' /wire')]);
});

test('the first word of every path leads to a route, and no resource may have it', () => {
  const words = service.routes.flatMap(({ url }) => {
    const [, word = '', next = ''] = url.split('/');
    return word === 'control' ? [word, next] : [word];
  });
  const roots = [...new Set(words)].filter((word) => word !== '');
  const leadsNowhere = (root: string): boolean =>
    resolveTarget(`/${root}`, undefined, { resourceDomains: [] }).url === '/nowhere';

  expect(
    roots.filter((root) => !RESERVED_NAMES.includes(root)),
    'Add it to RESERVED_NAMES in src/contract/names.ts',
  ).toEqual([]);
  expect(
    roots.filter((root) => !['wire', 'control', 'subscriptions'].includes(root) && leadsNowhere(root)),
    'Let onControlPlane in src/http/address/target.ts find it, or add it to PUBLIC_ROOTS in router-paths.ts',
  ).toEqual([]);
});

test('a route that asks for nothing refuses everybody', async () => {
  const admin = actors.find(({ name }) => name === 'the admin key')!;
  const key = actors.find(({ name }) => name === 'key 1 of A')!;

  for (const route of routes.filter(({ action, method }) => action === 'none' && method !== 'HEAD')) {
    const { status } = await ask(route, RESOURCE_A, planeOf(route) === 'data' ? key : admin);

    expect([names(route), status]).toEqual([names(route), 405]);
  }
});

test('the service does not start with a route that names no action', async () => {
  const { createHttpServer } = await import('../../src/http/server.ts');
  const app = createHttpServer(service.deps);

  for (const url of ['/wire/secrets', '/control/secrets'])
    expect(() => app.get(url, async () => 'secret')).toThrow('config.action');
  await app.close();
});

describe('every route', () => {
  const RESOURCES = [RESOURCE_A, RESOURCE_B, LOCKED, ABSENT];

  test.each(Object.keys(ACTION_OF))(
    '%s serves callers that have its action, and refuses all others',
    async (name) => {
      await lock();
      const route = routes.find((candidate) => names(candidate) === name)!;
      const action = ACTION_OF[name]!;
      const plane = planeOf(route);
      const namesResource = plane === 'data' || name.includes(':account');
      const wrong: unknown[] = [];
      for (const actor of actors) {
        for (const resource of namesResource ? RESOURCES : [RESOURCE_A]) {
          const { status, body, refused } = await ask(route, resource, actor);
          const may = namesResource
            ? actor.may(plane, resource, action)
            : mayWithoutResource(actor, name, action);
          const expected = {
            unknown: status === 401 && body.error?.code !== 'PermissionDenied',
            locked: status === 403 && body.error?.code === 'AuthenticationTypeDisabled',
            denied:
              plane === 'data'
                ? status === 401 && body.error?.code === 'PermissionDenied'
                : status === 403 && body.error?.code === 'AuthorizationFailed',
            // The caller was let in. Nothing of this name exists, or the body is not valid.
            allowed: !refused && status < 500,
          }[verdictOf(may)];
          if (!expected) wrong.push({ actor: actor.name, resource, may: verdictOf(may), status, body });
        }
      }

      expect(wrong).toEqual([]);
    },
  );

  /** `some` is enough where the route shows each caller its own. */
  function mayWithoutResource(actor: Actor, name: string, action: Action): boolean | undefined {
    const all = actor.may('control', null, action);
    if (all === undefined || typeof all === 'string') return undefined;
    return (
      all || (FILTERED.has(name) && SCOPES.some((scope) => actor.may('control', scope, action) === true))
    );
  }

  const verdictOf = (may: ReturnType<Actor['may']>) =>
    may === undefined ? 'unknown' : may === 'locked' ? 'locked' : may ? 'allowed' : 'denied';
});

describe('a resource that does not exist', () => {
  test('is refused in the same words as a foreign one', async () => {
    for (const route of routes.filter(({ action }) => action !== 'none')) {
      const namesResource = planeOf(route) === 'data' || route.url.includes(':account');
      for (const actor of namesResource && route.method !== 'HEAD' ? actors : []) {
        const foreign = await ask(route, RESOURCE_B, actor);
        if (!foreign.refused || actor.everywhere === true) continue;

        const absent = await ask(route, ABSENT, actor);

        expect(absent.status).toBe(foreign.status);
        expect(JSON.stringify(absent.body).replaceAll(ABSENT, 'R')).toBe(
          JSON.stringify(foreign.body)
            .replaceAll(`/${RESOURCE_B}/`, '/R/')
            .replaceAll(`/${RESOURCE_B}'`, "/R'"),
        );
        expect([...absent.headers.keys()]).toEqual([...foreign.headers.keys()]);
        expect(foreign.headers.get('x-ms-region')).toBeNull();
      }
    }
  });

  test('is reported as absent to callers that may see every resource', async () => {
    const everywhere = actors.find(({ name }) => name === 'Cognitive Services OpenAI User on *')!;
    const route = routes.find((candidate) => names(candidate) === 'GET /wire/files')!;

    const { status, body } = await ask(route, ABSENT, everywhere);

    expect([status, body.error.code]).toEqual([404, 'ResourceNotFound']);
    expect(body.error.message).toContain(`'${ABSENT}'`);
  });
});

test('an account is not found in another subscription, not even by operators', async () => {
  const admin = actors.find(({ name }) => name === 'the admin key')!;
  for (const route of routes.filter(({ action, url }) => action !== 'none' && url.includes(':account'))) {
    if (route.method === 'PUT') continue;
    const { status } = await ask(route, RESOURCE_A, admin, OTHER_SUBSCRIPTION);

    // A DELETE of nothing succeeds, and some bodies are checked first.
    expect([204, 400, 404]).toContain(status);
  }
  expect(await service.deps.state.resources.get(RESOURCE_A)).toBeDefined();
});

test('a list of accounts shows those that the caller may read', async () => {
  await lock();
  const list = async (name: string) => {
    const { headers } = actors.find((actor) => actor.name === name)!;
    const path = `/subscriptions/${SUBSCRIPTION}/providers/Microsoft.CognitiveServices/accounts?api-version=2025-09-01`;
    const { body } = await service.json(path, { headers: { ...headers } });
    return body.value.map((shown: { name: string }) => shown.name);
  };

  expect(await list('the admin key')).toEqual([RESOURCE_B, RESOURCE_A, LOCKED]);
  expect(await list('Reader on *')).toEqual([RESOURCE_B, RESOURCE_A, LOCKED]);
  expect(await list(`Reader on ${RESOURCE_B}`)).toEqual([RESOURCE_B]);
});

test('the audit log of one resource asks for a role on it, and the whole log for a role on all', async () => {
  const { headers } = actors.find(({ name }) => name === `Reader on ${RESOURCE_B}`)!;
  const read = async (query: string) => service.json(`/audit${query}`, { headers: { ...headers } });

  expect((await read('')).status).toBe(403);
  expect((await read(`?resource=${RESOURCE_A}`)).status).toBe(403);
  const own = await read(`?resource=${RESOURCE_B}`);
  expect(own.status).toBe(200);
  expect(own.body.data.length).toBeGreaterThan(0);
});

test('no key and no token is in the log, or in any file of the service', async () => {
  const { headers } = actors.find(({ name }) => name === 'the admin key')!;
  const shown = await service.post(account(RESOURCE_B, '/listKeys'), undefined, headers);
  for (const key of [shown.body.key1, shown.body.key2]) if (!key.startsWith('shown-once')) secrets.add(key);
  expect(secrets.size).toBeGreaterThan(ROLES.length * SCOPES.length + 5);

  const files = await readdir(service.dir, { recursive: true, withFileTypes: true });
  const texts = await Promise.all(
    files
      .filter((file) => file.isFile())
      .map(async ({ parentPath, name }) => readFile(join(parentPath, name), 'latin1')),
  );
  const written = [...texts, service.logged.join('\n')].join('\n');

  expect(written).toContain('key:1');
  for (const secret of secrets) {
    // Neither the secret is written, nor the signature of a token alone.
    expect(written.includes(secret)).toBe(false);
    expect(written.includes(secret.split('.').at(-1)!)).toBe(false);
  }
});
