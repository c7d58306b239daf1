import { beforeEach, expect, test } from 'vitest';
import type { LedgerUpstream } from '../support/ledger-upstream.ts';
import { type ProxyServer, startProxy } from '../support/proxy-server.ts';
import { lines, Place, requests } from './offpeak.ts';

const place = new Place();
let upstream: LedgerUpstream;
let proxy: ProxyServer;
beforeEach(async () => {
  upstream = await place.ledger();
  proxy = await startProxy({ target: upstream.url, credentials: 'user:s3cret' });
  place.atEnd(() => proxy.close());
  await place.write('in.jsonl', requests(3));
});

const run = (env: Record<string, string>, url = 'http://model.internal/v1') =>
  place.offpeak(['run', 'in.jsonl', '-o', 'out.jsonl', '--upstream', url, '--model', 'ledger'], { env });

test('HTTP_PROXY is used for a model server that only the proxy can reach, and its password is not shown', async () => {
  const { code, stdout, stderr } = await run({ HTTP_PROXY: `http://user:s3cret@127.0.0.1:${proxy.port}` });

  expect(code).toBe(0);
  expect(lines(await place.read('out.jsonl'))).toHaveLength(3);
  expect(proxy.asked.filter((one) => one === 'POST http://model.internal/v1/chat/completions')).toHaveLength(
    3,
  );
  // The first request is the one for its models.
  expect(proxy.asked[0]).toMatch(/model\.internal/);
  expect(proxy.asked).toHaveLength(4);
  expect(stdout + stderr).not.toContain('s3cret');
});

test('a server on this machine is asked directly, and so is what NO_PROXY lists', async () => {
  const through = `http://user:s3cret@127.0.0.1:${proxy.port}`;

  const own = await run({ http_proxy: through }, upstream.url);
  const listed = await run({ http_proxy: through, no_proxy: 'model.internal' });

  expect(own.code).toBe(0);
  expect(listed.stderr).toContain('model.internal');
  expect(listed.code).not.toBe(0);
  expect(proxy.asked).toEqual([]);
});

test('a variable that names no proxy ends the start with its name', async () => {
  const { code, stderr } = await run({ HTTPS_PROXY: 'socks5://user:s3cret@127.0.0.1:1' });

  expect(code).toBe(2);
  expect(stderr).toBe('offpeak: HTTPS_PROXY is no proxy. Give a URL like http://proxy.example.com:3128.\n');
});
