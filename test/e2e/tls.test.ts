import { execFile } from 'node:child_process';
import { once } from 'node:events';
import { copyFile, readFile, stat } from 'node:fs/promises';
import { request } from 'node:https';
import { dirname, join } from 'node:path';
import { promisify } from 'node:util';
import { expect, test } from 'vitest';
import { EXAMPLE, Place } from './offpeak.ts';

const place = new Place();

/** The status for a client that calls this host and trusts `ca` alone. */
async function statusOf(url: string, options: { host: string; ca: string; key: string }): Promise<number> {
  const { host, ca, key } = options;
  const headers = { host: `${host}:${new URL(url).port}`, 'api-key': key };
  const asked = request(`${url}/openai/v1/models`, { servername: host, ca, headers, agent: false });
  asked.end();
  const [response] = (await once(asked, 'response')) as [{ statusCode: number; resume(): void }];
  response.resume();
  return response.statusCode;
}

test('with --tls-self-signed a client that trusts the written certificate runs a batch over HTTPS', async () => {
  const { url, env, certPath } = await place.serve(['--tls-self-signed']);
  const create = (trust: Record<string, string>) =>
    place.offpeak(['batches', 'create', '--file', EXAMPLE, '--watch'], { env: { ...env, ...trust } });

  const trusting = await create({ NODE_EXTRA_CA_CERTS: certPath });
  const strange = await create({});

  expect(url).toMatch(/^https:\/\/127\.0\.0\.1:\d+$/);
  expect(trusting).toMatchObject({ code: 0 });
  expect(strange).toMatchObject({ code: 3 });
  expect((await stat(join(dirname(certPath), 'ca.key'))).mode & 0o777).toBe(0o600);
  await expect(fetch(url.replace('https', 'http'))).rejects.toThrow('fetch failed');
});

test("each resource has its own host name, and the next start keeps the clients' trust", async () => {
  await place.write(
    'offpeak.yaml',
    'tlsSelfSigned: true\napiKey: own\nresources: [{ name: search, keys: [key-of-search] }]\n',
  );
  const first = await place.serve();
  const ca = await readFile(first.certPath, 'utf8');
  const ask = (url: string, host: string, key: string) => statusOf(url, { host, ca, key });

  const answers = [
    await ask(first.url, 'localhost', 'own'),
    await ask(first.url, 'search.localhost', 'key-of-search'),
    await ask(first.url, 'search.localhost', 'own'),
  ];
  await first.stop();
  const second = await place.serve();

  expect(answers).toEqual([200, 200, 401]);
  expect(await ask(second.url, 'search.localhost', 'key-of-search')).toBe(200);
});

test('a certificate of the operator is served as it is, and a renewed one after SIGHUP', async () => {
  const [cert, key] = [place.path('cert.pem'), place.path('key.pem')];
  const makeCertificate = async () => {
    const what = `req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=offpeak.example -addext subjectAltName=DNS:offpeak.example`;
    await promisify(execFile)('openssl', [...what.split(' '), '-keyout', key, '-out', cert]);
    return { host: 'offpeak.example', ca: await readFile(cert, 'utf8'), key: 'own' };
  };
  const first = await makeCertificate();
  const running = await place.serve(['--tls-cert', cert, '--tls-key', key, '--api-key', 'own']);

  const { url, child } = running;
  const before = await statusOf(url, first);
  const second = await makeCertificate();
  child.kill('SIGHUP');
  await running.until(/configuration\.read"/);
  const after = await statusOf(url, second);
  await copyFile(cert, key);
  child.kill('SIGHUP');
  await running.until(/are not a certificate \(PEM\) and its private key[^]*configuration\.refused"/);

  expect([before, after, await statusOf(url, second)]).toEqual([200, 200, 200]);
  await expect(statusOf(url, first)).rejects.toThrow(/self-signed certificate/);
  const start = ['serve', '--data-dir', 'other', '--tls-cert', cert, '--tls-key', key];
  const refused = await place.offpeak(start);
  expect(refused).toMatchObject({ code: 2, stdout: '' });
  expect(refused.stderr).toContain('are not a certificate (PEM) and its private key');
});

test('for a person it shows where the keys are, the certificate and how to trust it', async () => {
  const running = place.start(['serve', '--port', '0', '--ballast', '0', '--tls-self-signed']);
  const text = await running.until(/curl/);
  running.child.kill('SIGTERM');

  expect(text).toMatch(/Offpeak is ready at https:/);
  expect(text).toMatch(/admin key +in .*first-keys\.env/);
  expect(text).toMatch(/export NODE_EXTRA_CA_CERTS='.*ca\.pem'/);
  expect((await running.ended).code).toBe(0);
});
