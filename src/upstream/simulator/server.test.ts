import type { AddressInfo } from 'node:net';
import { afterEach, expect, test } from 'vitest';
import { createHttpUpstream } from '../openai-http.ts';
import { createSimulatorServer } from './server.ts';
import type { SimulatorOptions } from './simulator.ts';

const endings: (() => Promise<unknown>)[] = [];
afterEach(async () => {
  for (const end of endings.splice(0).toReversed()) await end();
});

async function start(options: SimulatorOptions = {}): Promise<string> {
  const server = createSimulatorServer(options);
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  endings.push(async () => {
    server.closeAllConnections();
    await new Promise((resolve) => server.close(resolve));
  });
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
}

const post = (url: string, body: object | string): Promise<Response> =>
  fetch(url, { method: 'POST', body: typeof body === 'string' ? body : JSON.stringify(body) });

const CHAT = { model: 'gpt-4o', messages: [{ role: 'user', content: 'Hi' }] };

test.each([
  ['/v1/chat/completions', CHAT, 'chat.completion'],
  ['/chat/completions', CHAT, 'chat.completion'],
  ['/openai/v1/chat/completions', CHAT, 'chat.completion'],
  ['/openai/deployments/my%20gpt/chat/completions?api-version=2024-10-21', CHAT, 'chat.completion'],
  ['/v1/completions', { model: 'x', prompt: 'Hi' }, 'text_completion'],
  ['/v1/embeddings', { model: 'x', input: 'Hi' }, 'list'],
  ['/openai/responses?api-version=2025-04-01-preview', { model: 'x', input: 'Hi' }, 'response'],
])('%s is answered', async (path, body, object) => {
  const response = await post((await start()) + path, body);

  expect(response.status).toBe(200);
  expect(response.headers.get('content-type')).toBe('application/json');
  expect(response.headers.get('x-offpeak-simulated')).toBe('true');
  expect(response.headers.get('x-request-id')).toBe(response.headers.get('apim-request-id'));
  expect(await response.json()).toMatchObject({ object, simulated: true });
});

test('a body without a model answers as the deployment in Azure’s path', async () => {
  const response = await post(`${await start()}/openai/deployments/gpt-4o-mini-1/chat/completions`, {
    messages: CHAT.messages,
  });

  expect(await response.json()).toMatchObject({ model: 'gpt-4o-mini-2024-07-18' });
});

test('the models are listed', async () => {
  const origin = await start();

  for (const path of ['/v1/models', '/openai/v1/models', '/openai/models?api-version=x']) {
    const list = (await (await fetch(origin + path)).json()) as { data: { id: string }[] };
    expect(list.data.map(({ id }) => id)).toContain('gpt-4o');
  }
});

test.each([
  ['GET', '/'],
  ['GET', '/v1/chat/completions'],
  ['POST', '/v1/models'],
  ['POST', '/v1/images'],
  ['POST', '/v1/chat/completions/x'],
])('%s %s is not there', async (method, path) => {
  const response = await fetch((await start()) + path, { method });

  expect(response.status).toBe(404);
  expect(await response.json()).toEqual({ error: { code: '404', message: 'Resource not found' } });
});

test('bad bodies are refused in the error’s shape, and the server goes on', async () => {
  const origin = await start();

  const broken = await post(`${origin}/v1/chat/completions`, '{"model"');
  const tooLong = await post(`${origin}/v1/chat/completions`, ' '.repeat(33 * 1024 * 1024));
  const good = await post(`${origin}/v1/chat/completions`, CHAT);

  expect([broken.status, tooLong.status, good.status]).toEqual([400, 413, 200]);
  expect(await broken.json()).toMatchObject({ error: { type: 'invalid_request_error' } });
});

test('a 429 carries retry-after in seconds and milliseconds', async () => {
  const origin = await start({ requestsPerMinute: 1 });
  await post(`${origin}/v1/chat/completions`, CHAT);

  const response = await post(`${origin}/v1/chat/completions`, CHAT);

  const waitMs = Number(response.headers.get('retry-after-ms'));
  expect(response.status).toBe(429);
  expect(waitMs).toBeGreaterThan(50_000);
  expect(response.headers.get('retry-after')).toBe(String(Math.ceil(waitMs / 1000)));
});

test('a hanging request is let go when its client is gone', async () => {
  const origin = await start({ hangRate: 1 });

  await expect(
    fetch(`${origin}/v1/chat/completions`, { method: 'POST', body: '{}', signal: AbortSignal.timeout(100) }),
  ).rejects.toThrow(/timeout/);
});

test('the HTTP upstream gets from it the answer that the simulator in process gives', async () => {
  const upstream = createHttpUpstream({
    name: 'simulator',
    baseUrl: `${await start({ model: 'gpt-4o' })}/v1`,
    timeoutMs: 60_000,
  });
  endings.push(() => upstream.close());
  const body = Buffer.from(JSON.stringify(CHAT));

  const reply = await upstream.call(
    { endpoint: '/chat/completions', body, model: { start: 9, end: 17 }, idempotencyKey: 'k' },
    new AbortController().signal,
  );

  expect(reply).toMatchObject({ kind: 'answer', status: 200, usage: { inputTokens: 8 } });
});
