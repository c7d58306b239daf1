import { readdir } from 'node:fs/promises';
import { createServer, type RequestListener } from 'node:http';
import { createServer as createTlsServer } from 'node:https';
import { expect, test } from 'vitest';
import { OwnDirectory } from '../../../test/support/own-directory.ts';
import { openLocalCa } from '../../tls/local-ca.ts';
import { targetAt } from '../local-files/target.ts';
import { Client } from './batch-client.ts';
import { resolveEndpoint } from './endpoint.ts';

const place = new OwnDirectory();
const clientOf = (endpoint: string) => new Client(resolveEndpoint({ endpoint, apiKey: 'canary' }, {}));

test('a redirect is an error, and the key is not sent on', async () => {
  let asked = 0;
  const elsewhere = await place.listen((_, response) => {
    asked += 1;
    response.end('{}');
  });
  const url = await place.listen((_, response) => response.writeHead(307, { location: elsewhere }).end());

  await expect(clientOf(url).batch('b')).rejects.toMatchObject({ exitCode: 3 });
  expect(asked).toBe(0);
});

test('an upload has the file with its name, a content type, and the purpose', async () => {
  let body = '';
  const url = await place.listen((request, response) => {
    request.setEncoding('utf8').on('data', (text: string) => (body += text));
    request.on('end', () => response.writeHead(201).end('{"id":"file-1"}'));
  });
  await place.write('in.jsonl', '{"custom_id":"a"}\n');

  const file = await clientOf(url).upload(
    { path: place.path('in.jsonl'), name: 'in.jsonl', filename: 'in.jsonl' },
    { purpose: 'batch' },
  );

  expect(file.id).toBe('file-1');
  expect(body).toMatch(/name="purpose"\r\n\r\nbatch\r\n/);
  expect(body).toMatch(
    /name="file"; filename="in\.jsonl"\r\nContent-Type: application\/octet-stream\r\n\r\n\{"custom_id":"a"\}\n\r\n/,
  );
});

test('a refusal is printed in the words of the service, without escape sequences and without the key', async () => {
  const url = await place.listen((_, response) =>
    response
      .writeHead(401)
      .end(JSON.stringify({ error: { code: '401', message: 'Access \u001B[31mdenied\u0007' } })),
  );

  const refusal = await clientOf(url)
    .batch('b')
    .catch((error: unknown) => error);

  expect(refusal).toMatchObject({
    exitCode: 1,
    message: `${url}/openai answered 401: Access denied (401) Check the key: --api-key.`,
  });
});

test('an answer without JSON says so', async () => {
  const url = await place.listen((_, response) => response.end('<html>'));

  await expect(clientOf(url).batch('b')).rejects.toThrow(/answered 200 without JSON/);
});

test("a batch of the original's early versions, and of OpenAI, is understood", async () => {
  const url = await place.listen((_, response) =>
    response.end('{"id":"b","status":"Validating","request_counts":{"total":null},"output_file_id":""}'),
  );

  expect(await clientOf(url).batch('b')).toMatchObject({ status: 'validating' });
});

test('a download that is interrupted leaves nothing behind', async () => {
  const url = await place.listen((_, response) => {
    response.writeHead(200, { 'content-length': '1000' });
    response.write('half', () => response.destroy());
  });

  await expect(clientOf(url).download('f', await targetAt(place.path('out.jsonl')))).rejects.toMatchObject({
    exitCode: 3,
  });
  expect(await readdir(place.dir)).toEqual([]);
});

test('a download appears whole, also when it is empty', async () => {
  const url = await place.listen((request, response) =>
    response.end(request.url?.includes('full') ? 'line\n' : ''),
  );

  await clientOf(url).download('full', await targetAt(place.path('full.jsonl')));
  await clientOf(url).download('none', await targetAt(place.path('none.jsonl')));

  expect(await place.read('full.jsonl')).toBe('line\n');
  expect(await place.read('none.jsonl')).toBe('');
});

test('an id cannot name another path', async () => {
  let path = '';
  const url = await place.listen((request, response) => {
    path = request.url ?? '';
    response.end('{"id":"b","status":"completed"}');
  });

  await clientOf(url).batch('../files?x=');

  expect(path).toBe('/openai/batches/..%2Ffiles%3Fx%3D?api-version=2024-10-21');
});

test('--queue is sent as a header, which is absent without the flag', async () => {
  const said: unknown[] = [];
  const url = await place.listen((request, response) => {
    said.push(request.headers['offpeak-queue']);
    response.end('{"id":"b","status":"validating"}');
  });

  await clientOf(url).createBatch({}, { queue: 'wait' });
  await clientOf(url).createBatch({});

  expect(said).toEqual(['wait', undefined]);
});

test('an answer of another shape is an error for the user, without a stack', async () => {
  const url = await place.listen((_, response) => response.end('[]'));

  await expect(clientOf(url).batch('b')).rejects.toMatchObject({
    exitCode: 1,
    message: `${url}/openai answered 200 with something else. Is it the right service?`,
  });
});

test("Azure's answer to a bad token is printed in its words", async () => {
  const url = await place.listen((_, response) =>
    response.writeHead(401).end('{"statusCode":401,"message":"Unauthorized."}'),
  );

  await expect(clientOf(url).batch('b')).rejects.toThrow(/answered 401: Unauthorized\. Check the key/);
});

test('a certificate that is not trusted is an error that says what to do', async () => {
  const ca = await openLocalCa(place.dir, { nowMs: Date.now() });
  const server = createTlsServer(await ca.issue(['127.0.0.1']), (_, response) => response.end('{}'));
  const port = await place.listenWith(server);

  const refused = clientOf(`https://127.0.0.1:${port}`).batch('b');

  await expect(refused).rejects.toMatchObject({ exitCode: 3 });
  await expect(refused).rejects.toThrow(/not trusted here.*NODE_EXTRA_CA_CERTS=/);
});

test('if the host of a resource is not known here, the error says how to address it by path', async () => {
  await expect(clientOf('http://team-a.localhost:9').batch('b')).rejects.toThrow(
    'http://localhost:9 with --resource team-a',
  );
});

test.each(['http', 'https'] as const)(
  '%s at a port that speaks the other protocol is an error that says which to use',
  async (scheme) => {
    const ca = await openLocalCa(place.dir, { nowMs: Date.now() });
    const answer: RequestListener = (_, response) => response.end('{}');
    const server =
      scheme === 'https' ? createServer(answer) : createTlsServer(await ca.issue(['127.0.0.1']), answer);
    const port = await place.listenWith(server);

    const refused = clientOf(`${scheme}://127.0.0.1:${port}`).batch('b');

    await expect(refused).rejects.toMatchObject({ exitCode: 3 });
    await expect(refused).rejects.toThrow(
      scheme === 'https'
        ? 'it does not speak TLS; use http:// instead of https://'
        : `it speaks TLS; use https://127.0.0.1:${port}/openai`,
    );
  },
);
