import type { ServerResponse } from 'node:http';
import { afterEach, expect, test } from 'vitest';
import { KEY, never, OddServers, requestFor } from '../../test/support/odd-server.ts';

const servers = new OddServers();
afterEach(() => servers.close());

const json =
  (body: unknown, status = 200) =>
  (response: ServerResponse) =>
    response.writeHead(status, { 'content-type': 'application/json' }).end(JSON.stringify(body));

test('a probe asks for the list of models with the key, and tells their ids', async () => {
  const { origin, seen } = await servers.serve(
    json({ object: 'list', data: [{ id: 'a' }, { id: 'b' }, {}, null] }),
  );

  const probe = await servers.upstream({ baseUrl: `${origin}/v1/` }).probe(never);

  expect(probe).toEqual({ kind: 'models', ids: ['a', 'b'] });
  expect(seen).toMatchObject([{ method: 'GET', url: '/v1/models' }]);
  expect(seen[0]!.headers.authorization).toBe(`Bearer ${KEY}`);
});

test.each([
  ['in an array', [{ id: 'a' }]],
  ['by their names', { models: [{ name: 'a' }] }],
  ['as texts', { data: ['a'] }],
])('models are also found %s', async (_what, list) => {
  const { origin } = await servers.serve(json(list));

  expect(await servers.upstream({ baseUrl: origin }).probe(never)).toEqual({ kind: 'models', ids: ['a'] });
});

test('Azure’s classic list is at the resource, with its api-version', async () => {
  const { origin, seen } = await servers.serve(json({ data: [] }));

  const probe = await servers.upstream({ baseUrl: origin, azureApiVersion: '2024-10-21' }).probe(never);

  expect(probe).toEqual({ kind: 'models', ids: [] });
  expect(seen[0]!.url).toBe('/openai/models?api-version=2024-10-21');
});

test.each([
  [
    'an error',
    json({ error: { message: 'boom' } }, 500),
    500,
    /^answers 500 to the question for its list of models: boom$/,
  ],
  ['an object that is no list', json({ ok: true }), 200, /^answers 200 to the question for its list/],
  ['a page', (response: ServerResponse) => response.end('<html>'), 200, /HTML/],
  ['nothing', (response: ServerResponse) => response.end(), 200, /empty/],
  [
    'a redirect',
    (response: ServerResponse) => response.writeHead(307, { location: '/login' }).end(),
    307,
    /redirects/,
  ],
])('%s is an answer, though no list', async (_what, respond, status, message) => {
  const { origin } = await servers.serve(respond);

  const probe = await servers.upstream({ baseUrl: `${origin}/v1` }).probe(never);

  expect(probe).toMatchObject({ kind: 'answer', status, message: expect.stringMatching(message) });
});

test('a server that is not there fails the probe', async () => {
  const { origin, stop } = await servers.serve(json({}));
  await stop();

  expect(await servers.upstream({ baseUrl: `${origin}/v1` }).probe(never)).toEqual({
    kind: 'failure',
    reason: 'unreachable',
    message: 'nothing listens there (connection refused)',
  });
});

test('a probe ends when its caller gives up, and with the deadline of the upstream', async () => {
  const { origin } = await servers.serve(() => {});
  const abort = new AbortController();
  const hanging = servers.upstream({ baseUrl: origin }).probe(abort.signal);

  abort.abort();

  expect(await hanging).toMatchObject({ kind: 'failure', reason: 'aborted' });
  expect(await servers.upstream({ baseUrl: origin, timeoutMs: 20 }).probe(never)).toMatchObject({
    kind: 'failure',
    reason: 'timeout',
  });
});

test.each([404, 405])('a %d tells where was asked, and that the base URL has no /v1', async (status) => {
  const { origin } = await servers.serve(json({ detail: 'Not Found' }, status));
  const without = await servers.upstream({ baseUrl: origin }).call(requestFor(), never);
  const withV1 = await servers.upstream({ baseUrl: `${origin}/v1` }).call(requestFor(), never);

  expect(without).toMatchObject({
    status,
    asked: `POST ${origin}/chat/completions (the base URL has no /v1: ${origin}/v1 ?)`,
  });
  expect(withV1).toMatchObject({ status, asked: `POST ${origin}/v1/chat/completions` });
});
