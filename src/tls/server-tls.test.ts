import { execFile } from 'node:child_process';
import { once } from 'node:events';
import { cp, mkdtemp, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { createServer, request, type Server } from 'node:https';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { connect } from 'node:tls';
import { promisify } from 'node:util';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { makeServerTls, readServerTls, type ServerTls } from './server-tls.ts';

const DAY_MS = 24 * 3_600_000;

let dir: string;
let server: Server | undefined;
beforeEach(async () => {
  dir = await mkdtemp(join(tmpdir(), 'offpeak-tls-'));
});
afterEach(async () => {
  server?.close();
  server = undefined;
  await rm(dir, { recursive: true });
});

const make = (nowMs = Date.now()) =>
  makeServerTls({ dir: join(dir, 'tls'), host: '127.0.0.1', resourceDomains: ['localhost'], nowMs });

async function serve(tls: ServerTls): Promise<number> {
  server = createServer(tls, (_, response) => response.end('hello')).listen(0, '127.0.0.1');
  await once(server, 'listening');
  return (server.address() as AddressInfo).port;
}

async function ask(port: number, { host, ca }: { host: string; ca: string }): Promise<string> {
  // The name is that of the address, wherever the machine's resolver sends it.
  const servername = host === '127.0.0.1' ? '' : host;
  const asked = request({ host: '127.0.0.1', servername, port, ca, agent: false });
  asked.end();
  const [response] = (await once(asked, 'response')) as [AsyncIterable<Buffer>];
  let text = '';
  for await (const chunk of response) text += String(chunk);
  return text;
}

test.each(['localhost', '127.0.0.1', 'search.localhost'])(
  'a client that trusts the written certificate and nothing else reaches %s',
  async (host) => {
    const { tls, certPath } = await make();
    const port = await serve(tls);

    expect(await ask(port, { host, ca: await readFile(certPath, 'utf8') })).toBe('hello');
  },
);

test('the strictest reading of the standard, which Python has by default, finds nothing wrong', async () => {
  const { tls, certPath } = await make();
  const leaf = join(dir, 'leaf.pem');
  await writeFile(leaf, tls.cert);

  const verified = await promisify(execFile)('openssl', [
    'verify',
    '-x509_strict',
    '-CAfile',
    certPath,
    leaf,
  ]);

  expect(verified.stdout).toContain('OK');
});

test('a host that is not ours gets no certificate for its name', async () => {
  const { tls, certPath } = await make();
  const port = await serve(tls);
  const ca = await readFile(certPath, 'utf8');

  await expect(ask(port, { host: 'example.com', ca })).rejects.toThrow(/does not match/);
});

test('TLS 1.1 is refused', async () => {
  const { tls } = await make();
  const port = await serve(tls);

  const socket = connect({
    port,
    host: '127.0.0.1',
    maxVersion: 'TLSv1.1',
    minVersion: 'TLSv1',
    rejectUnauthorized: false,
  });

  await expect(once(socket, 'secureConnect')).rejects.toThrow(/protocol version|handshake|unsupported/i);
});

test('the key is for its owner alone, and both are used again at the next start', async () => {
  const first = await make();
  const before = await readFile(first.certPath, 'utf8');
  await make();

  expect((await stat(join(dir, 'tls', 'ca.key'))).mode & 0o777).toBe(0o600);
  expect(await readFile(first.certPath, 'utf8')).toBe(before);
});

test.each([
  ['missing', () => rm(join(dir, 'tls', 'ca.key'))],
  ['not the key of', () => cp(join(dir, 'other', 'ca.key'), join(dir, 'tls', 'ca.key'))],
  ['damaged', () => writeFile(join(dir, 'tls', 'ca.pem'), 'no certificate')],
])('an authority whose key is %s is not replaced, since clients trust it', async (said, harm) => {
  const { certPath } = await make();
  await makeServerTls({
    dir: join(dir, 'other'),
    host: '127.0.0.1',
    resourceDomains: ['localhost'],
    nowMs: Date.now(),
  });
  await harm();
  const before = await readFile(certPath, 'utf8');

  await expect(make()).rejects.toThrow(said);

  expect(await readFile(certPath, 'utf8')).toBe(before);
});

test('an authority that is about to end is renewed', async () => {
  const first = await make();
  const before = await readFile(first.certPath, 'utf8');
  await make(Date.now() + 760 * DAY_MS);

  expect(await readFile(first.certPath, 'utf8')).not.toBe(before);
});

test('files of the operator are taken as they are, and faults in them are reported', async () => {
  const { tls } = await make();
  const [certPath, keyPath] = [join(dir, 'cert.pem'), join(dir, 'key.pem')];
  await writeFile(certPath, tls.cert);
  await writeFile(keyPath, tls.key);
  const paths = { certPath, keyPath, nowMs: Date.now() };

  expect(await readServerTls(paths)).toMatchObject({ cert: tls.cert, minVersion: 'TLSv1.2' });
  await expect(readServerTls({ ...paths, keyPath: certPath })).rejects.toThrow(/are not a certificate/);
  await expect(readServerTls({ ...paths, certPath: join(dir, 'none') })).rejects.toThrow(/cannot be read/);
  const later = Date.now() + 4_000 * DAY_MS;
  await expect(readServerTls({ ...paths, nowMs: later })).rejects.toThrow(/ended on/);
});
