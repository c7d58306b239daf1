import { execFileSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { createServer } from 'node:https';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, expect, test } from 'vitest';
import { never, OddServers, requestFor } from '../../test/support/odd-server.ts';
import { startProxy, type ProxyServer } from '../../test/support/proxy-server.ts';

const servers = new OddServers();
const endings: (() => Promise<unknown>)[] = [];
afterEach(async () => {
  await servers.close();
  for (const end of endings.splice(0).toReversed()) await end();
});

const CHAT = '{"choices":[{"message":{"role":"assistant","content":"hi"}}]}';

async function proxyTo(target: string, credentials?: string): Promise<ProxyServer> {
  const proxy = await startProxy({ target, ...(credentials !== undefined && { credentials }) });
  endings.push(() => proxy.close());
  return proxy;
}

const proxyUrl = ({ port }: ProxyServer, user = ''): URL => new URL(`http://${user}127.0.0.1:${port}`);

function certificateFor(name: string): { readonly key: string; readonly cert: string } {
  const dir = mkdtempSync(join(tmpdir(), 'offpeak-tunnel-'));
  const [key, cert] = [join(dir, 'key.pem'), join(dir, 'cert.pem')];
  const kind = ['-x509', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes', '-days', '2'];
  const subject = ['-subj', `/CN=${name}`, '-addext', `subjectAltName=DNS:${name}`];
  execFileSync('openssl', ['req', ...kind, ...subject, '-keyout', key, '-out', cert], { stdio: 'ignore' });
  const pair = { key: readFileSync(key, 'utf8'), cert: readFileSync(cert, 'utf8') };
  rmSync(dir, { recursive: true });
  return pair;
}

test('an http server is asked through the proxy by its whole address, with its own host and key', async () => {
  const { origin, seen } = await servers.serve((response) => response.end(CHAT));
  const proxy = await proxyTo(origin, 'user:p@ss');
  const upstream = servers.upstream({
    baseUrl: 'http://model.internal/v1',
    proxy: proxyUrl(proxy, 'user:p%40ss@'),
  });

  const reply = await upstream.call(requestFor(), never);
  await upstream.probe(never);

  expect(reply).toMatchObject({ kind: 'answer', status: 200, fault: null });
  expect(proxy.asked).toEqual([
    'POST http://model.internal/v1/chat/completions',
    'GET http://model.internal/v1/models',
  ]);
  expect(seen[0]!.headers.host).toBe('model.internal');
  expect(seen[0]!.headers.authorization).toMatch(/^Bearer /);
});

test('an https server is asked through a tunnel, and the proxy sees neither key nor path', async () => {
  const pair = certificateFor('model.internal');
  const server = createServer(pair, (_, response) => response.end(CHAT));
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  endings.push(async () => {
    server.closeAllConnections();
    await new Promise((resolve) => server.close(resolve));
  });
  const proxy = await proxyTo(`http://127.0.0.1:${(server.address() as AddressInfo).port}`, 'user:pass');
  const baseUrl = 'https://model.internal/v1';
  const trusted = servers.upstream({
    baseUrl,
    proxy: proxyUrl(proxy, 'user:pass@'),
    tls: { ca: pair.cert },
  });
  const untrusted = servers.upstream({ baseUrl, proxy: proxyUrl(proxy, 'user:pass@') });

  const replies = [
    await trusted.call(requestFor(), never),
    await trusted.call(requestFor(), never),
    await untrusted.call(requestFor(), never),
  ];

  expect(replies).toMatchObject([
    { kind: 'answer', status: 200 },
    { kind: 'answer', status: 200 },
    { reason: 'unreachable', message: expect.stringContaining('its certificate is not trusted') },
  ]);
  expect(proxy.asked).toEqual(['CONNECT model.internal:443', 'CONNECT model.internal:443']);
});

test.each(['http://model.internal/v1', 'https://model.internal/v1'])(
  'a proxy that does not know us, or is not there, is told as such, without its password: %s',
  async (baseUrl) => {
    const { origin } = await servers.serve((response) => response.end(CHAT));
    const proxy = await proxyTo(origin, 'user:right');
    const url = proxyUrl(proxy, 'user:s3cret@');
    const refused = await servers.upstream({ baseUrl, proxy: url }).call(requestFor(), never);
    await endings.pop()?.();
    const gone = await servers.upstream({ baseUrl, proxy: url }).call(requestFor(), never);

    expect([refused, gone]).toEqual([
      {
        kind: 'failure',
        reason: 'unreachable',
        message: `the proxy http://127.0.0.1:${proxy.port} wants another user or password (407)`,
        status: expect.toBeOneOf([407, null]),
      },
      {
        kind: 'failure',
        reason: 'unreachable',
        message: `the proxy http://127.0.0.1:${proxy.port} cannot be reached: nothing listens there (connection refused)`,
        status: null,
      },
    ]);
  },
);
