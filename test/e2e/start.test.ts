import { expect, test } from 'vitest';
import { Place, type Running, words } from './offpeak.ts';

const place = new Place();

/** Starts a model server that lists these models; null: it never answers. */
async function modelServer(list: readonly string[] | null, status = 200): Promise<string> {
  const origin = await place.listen((_request, response) => {
    if (list === null) return;
    response.writeHead(status, { 'content-type': 'application/json' });
    response.end(JSON.stringify({ object: 'list', data: list.map((id) => ({ id })) }));
  });
  return `${origin}/v1`;
}

const startedJson = async (server: Running): Promise<{ upstreams: unknown }> =>
  JSON.parse(/^\{"url".*\}$/m.exec(await server.until(/^\{"url".*\}$/m))?.[0] ?? '') as {
    upstreams: unknown;
  };

test('a start says what each upstream can serve, and waits for none of them', async () => {
  const file = `upstreams:
  - { name: good, url: ${await modelServer(['llama', 'qwen'])} }
  - { name: other, url: ${await modelServer(['mistral'])} }
  - { name: locked, url: ${await modelServer([], 401)} }
  - { name: closed, url: ${await place.nobody()}/v1 }
  - { name: hanging, url: ${await modelServer(null)} }
  - { name: invented, url: simulator }
deployments: [llama]
`;
  await place.write('offpeak.yaml', file);

  const server = await place.serve();

  expect((await fetch(`${server.url}/healthz`)).status).toBe(200);
  expect((await startedJson(server)).upstreams).toEqual([
    { name: 'good', state: 'ready', reason: 'answers and lists 2 models' },
    {
      name: 'other',
      state: 'unready',
      reason: "answers and lists 1 model, but not 'llama'; it has 'mistral'",
    },
    { name: 'locked', state: 'unready', reason: expect.stringMatching(/^wants another key: it answers 401/) },
    { name: 'closed', state: 'unready', reason: 'nothing listens there (connection refused)' },
    { name: 'hanging', state: 'unknown', reason: 'has not answered within 2 s' },
    { name: expect.any(String), state: 'simulated', reason: 'answers are simulated' },
  ]);
  const log = await server.until(/upstream\.simulated/);
  expect(log).toMatch(/"level":"info",.*"event":"upstream.ready","upstream":"good"/);
  expect(log).toMatch(
    /"level":"warn",.*"event":"upstream.unready","upstream":"closed","reason":"nothing listens/,
  );
  expect(log).toMatch(/"level":"warn",.*"event":"upstream.unknown","upstream":"hanging"/);
  expect(log).toMatch(/"level":"warn",.*"event":"upstream.simulated","upstream":".*answers are simulated/);
});

test('the banner names an upstream that cannot serve', async () => {
  const nobody = await place.nobody();
  const service = place.start(words`serve --port 0 --ballast 0 --upstream ${nobody}/v1 --deployment llama`);

  const text = await service.until(/watch/);

  expect(text).toMatch(/upstreams +127\.0\.0\.1:\d+ cannot serve as it is: nothing listens there/);
  expect(text).toContain('Send it a batch, a file whose lines have "model": "llama"');
});

test('a reload checks an upstream that it adds, and not again one that stays', async () => {
  const good = await modelServer(['llama']);
  const configure = (more: string) =>
    place.write(
      'offpeak.yaml',
      `upstreams:\n  - { name: good, url: ${good} }\n${more}deployments: [llama]\n`,
    );
  await configure('');
  const server = await place.serve();
  await configure(`  - { name: new, url: ${await modelServer(['llama'])} }\n`);

  server.child.kill('SIGHUP');
  const log = await server.until(/"event":"upstream.ready","upstream":"new"/);

  expect(log.match(/"event":"upstream.ready","upstream":"good"/g)).toHaveLength(1);
});

test('servers without names behind one host are named by their paths', async () => {
  const gateway = new URL(await modelServer(['qwen']));
  const file = `deployments:
  - { name: one, model: qwen, upstreams: [{ url: '${gateway.origin}/one/v1' }] }
  - { name: two, model: qwen, upstreams: [{ url: '${gateway.origin}/v1/' }] }
`;
  await place.write('offpeak.yaml', file);

  const { upstreams } = await startedJson(await place.serve());

  const names = (upstreams as { name: string }[]).map(({ name }) => name);
  expect(names).toEqual(expect.arrayContaining([`${gateway.host}/one/v1`, gateway.host]));
});
