import { createServer } from 'node:http';
import type { IncomingHttpHeaders, ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { afterEach, expect, test } from 'vitest';
import { createHttpUpstream } from './openai-http.ts';
import type { HttpUpstreamOptions } from './openai-http.ts';
import type { UpstreamRequest } from './port.ts';

const endings: (() => Promise<unknown>)[] = [];
afterEach(async () => {
  for (const end of endings.splice(0).toReversed()) await end();
});

async function serve(respond: (response: ServerResponse) => void) {
  const seen: { readonly method: string; readonly url: string; readonly headers: IncomingHttpHeaders }[] = [];
  const server = createServer(({ method = '', url = '', headers }, response) => {
    seen.push({ method, url, headers });
    respond(response);
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  endings.push(async () => {
    server.closeAllConnections();
    await new Promise((resolve) => server.close(resolve));
  });
  return { origin: `http://127.0.0.1:${(server.address() as AddressInfo).port}`, seen };
}

function upstream(options: Partial<HttpUpstreamOptions> & { baseUrl: string }) {
  const created = createHttpUpstream({ name: 'vllm', apiKey: 'secret-key-0123', ...options });
  endings.push(() => created.close());
  return created;
}

const json =
  (body: unknown, status = 200) =>
  (response: ServerResponse) =>
    response.writeHead(status, { 'content-type': 'application/json' }).end(JSON.stringify(body));
const never = new AbortController().signal;

test('a probe asks for the list of models with the key, and tells their ids', async () => {
  const { origin, seen } = await serve(json({ object: 'list', data: [{ id: 'a' }, { id: 'b' }, {}, null] }));

  const probe = await upstream({ baseUrl: `${origin}/v1/` }).probe(never);

  expect(probe).toEqual({ kind: 'models', ids: ['a', 'b'] });
  expect(seen).toMatchObject([{ method: 'GET', url: '/v1/models' }]);
  expect(seen[0]!.headers.authorization).toBe('Bearer secret-key-0123');
});

test('Azure’s classic list is at the resource, with its api-version', async () => {
  const { origin, seen } = await serve(json({ data: [] }));

  const probe = await upstream({ baseUrl: origin, azureApiVersion: '2024-10-21' }).probe(never);

  expect(probe).toEqual({ kind: 'models', ids: [] });
  expect(seen[0]!.url).toBe('/openai/models?api-version=2024-10-21');
});

test.each([
  ['an error', json({ error: { message: 'boom' } }, 500), 500, /^answers 500 to its list of models: .*boom/],
  ['an object that is no list', json({ ok: true }), 200, /^answers 200 to its list of models/],
  ['a page', (response: ServerResponse) => response.end('<html>'), 200, /HTML/],
  ['nothing', (response: ServerResponse) => response.end(), 200, /empty/],
  [
    'a redirect',
    (response: ServerResponse) => response.writeHead(307, { location: '/login' }).end(),
    307,
    /redirects/,
  ],
])('%s is an answer, though no list', async (_what, respond, status, message) => {
  const { origin } = await serve(respond);

  const probe = await upstream({ baseUrl: `${origin}/v1` }).probe(never);

  expect(probe).toMatchObject({ kind: 'answer', status, message: expect.stringMatching(message) });
});

test('a server that is not there fails the probe', async () => {
  const { origin } = await serve(json({}));
  await endings.pop()!();

  expect(await upstream({ baseUrl: `${origin}/v1` }).probe(never)).toEqual({
    kind: 'failure',
    reason: 'unreachable',
    message: 'nothing listens there (connection refused)',
  });
});

test('a probe ends when its caller gives up, and with the deadline of the upstream', async () => {
  const { origin } = await serve(() => {});
  const abort = new AbortController();
  const hanging = upstream({ baseUrl: origin }).probe(abort.signal);

  abort.abort();

  expect(await hanging).toMatchObject({ kind: 'failure', reason: 'aborted' });
  expect(await upstream({ baseUrl: origin, timeoutMs: 20 }).probe(never)).toMatchObject({
    kind: 'failure',
    reason: 'timeout',
  });
});

test.each([404, 405])('a %d tells where was asked, and that the base URL has no /v1', async (status) => {
  const { origin } = await serve(json({ detail: 'Not Found' }, status));
  const body = Buffer.from('{"model":"d"}');
  const request: UpstreamRequest = {
    endpoint: '/chat/completions',
    body,
    model: { start: 9, end: 12 },
    idempotencyKey: 'k',
  };

  const without = await upstream({ baseUrl: origin }).call(request, never);
  const withV1 = await upstream({ baseUrl: `${origin}/v1` }).call(request, never);

  expect(without).toMatchObject({
    status,
    asked: `POST ${origin}/chat/completions (the base URL has no /v1: ${origin}/v1 ?)`,
  });
  expect(withV1).toMatchObject({ status, asked: `POST ${origin}/v1/chat/completions` });
});
