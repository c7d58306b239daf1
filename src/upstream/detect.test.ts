import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { afterEach, expect, test } from 'vitest';
import { detectLocalServers } from './detect.ts';

const endings: (() => Promise<unknown>)[] = [];
afterEach(async () => {
  for (const end of endings.splice(0)) await end();
});

type Pages = Readonly<Record<string, unknown>>;

/** Answers the paths as JSON, and a string as it is. It never answers `null`. */
async function serve(pages: Pages): Promise<number> {
  const server = createServer((request, response) => {
    const page = pages[request.url ?? ''];
    if (page === null) return;
    response.statusCode = page === undefined ? 404 : 200;
    response.end(typeof page === 'string' ? page : JSON.stringify(page ?? { error: 'no such page' }));
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  endings.push(async () => {
    server.closeAllConnections();
    await new Promise((resolve) => server.close(resolve));
  });
  return (server.address() as AddressInfo).port;
}

const models = (...ids: unknown[]) => ({ object: 'list', data: ids.map((id) => ({ id })) });

test('running model servers are named with their base URL and models', async () => {
  const ollama = await serve({
    '/api/version': { version: '0.9' },
    '/v1/models': models('llama3.2', 'qwen3'),
  });
  const vllm = await serve({
    '/v1/models': { data: [{ id: 'meta-llama/Llama-3.3-70B', owned_by: 'vllm' }] },
  });
  const other = await serve({ '/v1/models': models('x') });

  const found = await detectLocalServers({
    candidates: [
      { port: ollama, own: { name: 'Ollama', path: '/api/version' } },
      { port: vllm },
      { port: other },
    ],
  });

  expect(found).toEqual([
    { name: 'Ollama', baseUrl: `http://127.0.0.1:${ollama}/v1`, models: ['llama3.2', 'qwen3'] },
    { name: 'vLLM', baseUrl: `http://127.0.0.1:${vllm}/v1`, models: ['meta-llama/Llama-3.3-70B'] },
    { name: 'A model server', baseUrl: `http://127.0.0.1:${other}/v1`, models: ['x'] },
  ]);
});

test('servers that are no model servers are not named', async () => {
  const pages: Pages[] = [
    { '/v1/models': '<html>' },
    { '/v1/models': { hello: 'world' } },
    {},
    { '/v1/models': `{"data":["${'x'.repeat(2_000_000)}"]}` },
  ];
  const ports = await Promise.all(pages.map(serve));
  const notOllama = await serve({ '/v1/models': models('x') });

  const found = await detectLocalServers({
    candidates: [
      ...ports.map((port) => ({ port })),
      { port: notOllama, own: { name: 'Ollama', path: '/api/version' } },
    ],
  });

  expect(found).toEqual([]);
});

test('a silent port costs no more than the timeout, and a closed one nothing', async () => {
  const silent = await serve({ '/v1/models': null });
  const vllm = await serve({ '/v1/models': models('x') });

  const started = performance.now();
  const found = await detectLocalServers({
    timeoutMs: 200,
    candidates: [{ port: silent }, { port: 1 }, { port: vllm }],
  });

  expect(found.map(({ name }) => name)).toEqual(['A model server']);
  expect(performance.now() - started).toBeLessThan(5_000);
});

test('our own port is not asked', async () => {
  const own = await serve({ '/v1/models': models('gpt-4o') });

  expect(await detectLocalServers({ skipPort: own, candidates: [{ port: own }] })).toEqual([]);
});

test('names that would disturb a terminal are left out', async () => {
  const port = await serve({ '/v1/models': models('good', '\u001b[2Jbad', 7, null, 'x'.repeat(300)) });

  const [found] = await detectLocalServers({ candidates: [{ port }] });

  expect(found?.models).toEqual(['good']);
});
