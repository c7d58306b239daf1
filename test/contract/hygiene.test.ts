import { connect } from 'node:net';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { KEY_A, lines, startService, type Service } from './harness.ts';
import { HOST, request, statusOf } from './raw.ts';

let service: Service;
beforeAll(async () => {
  service = await startService();
});
afterAll(() => service.close());

const KEY = `api-key: ${KEY_A}`;

const alive = async (): Promise<void> => {
  expect((await service.json('/openai/v1/files')).status).toBe(200);
};

describe('on a raw socket', () => {
  test('a plain request is answered', async () => {
    const answer = await service.raw(request('GET /openai/v1/batches HTTP/1.1', [HOST, KEY]));

    expect(statusOf(answer)).toBe(200);
  });

  test.each([
    ['two Host headers', 'GET /openai/v1/batches HTTP/1.1', [HOST, 'host: other', KEY]],
    ['no Host header', 'GET /openai/v1/batches HTTP/1.1', [KEY]],
    ['two api-keys', 'GET /openai/v1/batches HTTP/1.1', [HOST, KEY, 'API-Key: other']],
    [
      'two Authorizations',
      'GET /v1/batches HTTP/1.1',
      [HOST, `Authorization: Bearer ${KEY_A}`, 'authorization: Bearer x'],
    ],
    [
      'two content types',
      'POST /v1/batches HTTP/1.1',
      [HOST, KEY, 'Content-Type: application/json', 'Content-Type: text/plain', 'Content-Length: 0'],
    ],
    ['two lengths', 'POST /v1/batches HTTP/1.1', [HOST, KEY, 'Content-Length: 2', 'Content-Length: 3']],
    [
      'a length and chunks',
      'POST /v1/batches HTTP/1.1',
      [HOST, KEY, 'Content-Length: 2', 'Transfer-Encoding: chunked'],
    ],
    ['a negative length', 'POST /v1/batches HTTP/1.1', [HOST, KEY, 'Content-Length: -1']],
    ['two codings', 'POST /v1/batches HTTP/1.1', [HOST, KEY, 'Transfer-Encoding: identity, chunked']],
    ['another coding', 'POST /v1/batches HTTP/1.1', [HOST, KEY, 'Transfer-Encoding: gzip, chunked']],
    ['an obscured coding', 'POST /v1/batches HTTP/1.1', [HOST, KEY, 'Transfer-Encoding: xchunked']],
    [
      'a coding twice',
      'POST /v1/batches HTTP/1.1',
      [HOST, KEY, 'Transfer-Encoding: chunked', 'Transfer-Encoding: chunked'],
    ],
    ['an absolute form', `GET http://elsewhere/openai/v1/batches HTTP/1.1`, [HOST, KEY]],
    ['an asterisk', 'OPTIONS * HTTP/1.1', [HOST, KEY]],
    ['HTTP/0.9', 'GET /healthz', []],
    ['HTTP/2.0', 'GET /healthz HTTP/2.0', [HOST]],
    ['a control character in a header', 'GET /healthz HTTP/1.1', [HOST, 'x: a\u0001b']],
    ['a space before a colon', 'GET /healthz HTTP/1.1', [HOST, 'api-key : x']],
    ['a folded header', 'GET /healthz HTTP/1.1', [HOST, 'x: a', ' b']],
    ['an unknown method', 'BREW /healthz HTTP/1.1', [HOST]],
    ['TLS', '\u0016\u0003\u0001\u0002\u0000\u0001\u0000\u0001\u00fc\u0003\u0003', []],
    ['nonsense', 'hello', []],
  ])('%s is a 4xx, and the connection ends', async (_name, line, headers) => {
    const answer = await service.raw(Buffer.from(request(line, headers), 'latin1'));

    expect(statusOf(answer)).toBeGreaterThanOrEqual(400);
    expect(statusOf(answer)).toBeLessThan(500);
    expect(answer.toLowerCase()).toContain('connection: close');
    expect(answer).toContain('"error":{');
    await alive();
  });

  test('headers of 16 KiB are too large', async () => {
    const answer = await service.raw(
      request('GET /openai/v1/batches HTTP/1.1', [HOST, KEY, `x: ${'a'.repeat(16_384)}`]),
    );

    expect(statusOf(answer)).toBe(431);
    await alive();
  });

  test('HTTP/1.0 is answered', async () => {
    const answer = await service.raw(request('GET /healthz HTTP/1.0', [HOST]));

    expect(statusOf(answer)).toBe(200);
  });

  test.each(['chunked', 'CHUNKED'])('an empty body of JSON in the coding %s is no body', async (coding) => {
    const answer = await service.raw(
      request(
        'POST /openai/v1/batches/x/cancel HTTP/1.1',
        [HOST, KEY, 'Content-Type: application/json', `Transfer-Encoding: ${coding}`],
        '0\r\n\r\n',
      ),
    );

    expect(statusOf(answer)).toBe(404);
  });

  test('a request after a refused one on the same connection is not read', async () => {
    const smuggled = request('GET /openai/v1/files HTTP/1.1', [HOST, KEY]);
    const answer = await service.raw(
      request('POST /openai/v1/batches HTTP/1.1', [HOST, 'host: b', KEY, 'Content-Length: 0'], smuggled),
    );

    expect(answer.match(/HTTP\/1\.1/g)).toHaveLength(1);
  });

  test.each(['POST /openai/v1/batches', 'POST /v1/files'])(
    'a caller that goes away in the middle of %s harms nobody',
    async (line) => {
      const type = line.endsWith('files') ? 'multipart/form-data; boundary=b' : 'application/json';
      const head = request(`${line} HTTP/1.1`, [HOST, KEY, `Content-Type: ${type}`, 'Content-Length: 1000']);

      for (let count = 0; count < 20; count++) {
        const socket = connect(service.port, '127.0.0.1');
        await new Promise<void>((resolve) => {
          socket.write(
            `${head}--b\r\nContent-Disposition: form-data; name="file"; filename="a.jsonl"\r\n\r\n{`,
            () => {
              if (count % 2 === 0) socket.destroy();
              else socket.resetAndDestroy();
            },
          );
          socket.on('close', () => resolve());
        });
      }

      await alive();
      const files = await service.json('/openai/v1/files');
      expect(files.body.data).toEqual([]);
    },
  );
});

describe('a body that trickles', () => {
  test.each([
    ['/openai/v1', { code: '408', message: expect.stringContaining('too slowly') }],
    [
      '/v1',
      {
        code: 'request_timeout',
        message: expect.stringContaining('too slowly'),
        param: null,
        type: 'invalid_request_error',
      },
    ],
  ])('is cut off, with 408, in the words of %s', async (root, error) => {
    await using strict = await startService({
      http: { bodyIntervalMs: 200, bodyBytesPerIntervalMin: 1_000 },
    });
    const head = request(`POST ${root}/batches HTTP/1.1`, [
      HOST,
      KEY,
      'Content-Type: application/json',
      'Content-Length: 1000',
    ]);

    const answer = await strict.raw(`${head}{`);

    expect(statusOf(answer)).toBe(408);
    const [, announced = ''] = /content-length: (\d+)/.exec(answer) ?? [];
    const start = answer.indexOf('\r\n\r\n') + 4;
    // A client reads what is announced, and no more.
    expect(JSON.parse(answer.slice(start, start + Number(announced)))).toEqual({ error });
  });

  test('a body that keeps up is taken, however long it needs', async () => {
    await using strict = await startService({ http: { bodyIntervalMs: 100, bodyBytesPerIntervalMin: 10 } });
    const boundary = 'b';
    const file = lines(30);
    const body = [
      `--${boundary}\r\nContent-Disposition: form-data; name="purpose"\r\n\r\nbatch\r\n`,
      `--${boundary}\r\nContent-Disposition: form-data; name="file"; filename="a.jsonl"\r\n\r\n`,
      ...(file.match(/.{1,300}/gs) ?? []),
      `\r\n--${boundary}--\r\n`,
    ];
    const stream = new ReadableStream({
      async pull(controller) {
        await strict.deps.clock.sleep(15);
        const next = body.shift();
        if (next === undefined) controller.close();
        else controller.enqueue(new TextEncoder().encode(next));
      },
    });

    const { status, body: answer } = await strict.json('/openai/v1/files', {
      method: 'POST',
      headers: { 'content-type': `multipart/form-data; boundary=${boundary}` },
      body: stream,
      duplex: 'half',
    } as RequestInit);

    expect([status, answer.bytes]).toEqual([201, file.length]);
  });
});

describe('a service that stops', () => {
  test('finishes what is under way, refuses what is new, and cuts off what does not end', async () => {
    const stopping = await startService({ http: { closeGraceMs: 300 } });
    const id = await stopping.upload(lines(100_000));
    const slow = connect(stopping.port, '127.0.0.1');
    slow.write(request(`GET /openai/v1/files/${id}/content HTTP/1.1`, [HOST, KEY]));
    const pipelined = connect(stopping.port, '127.0.0.1');
    await new Promise<void>((resolve) => slow.once('readable', () => resolve()));
    pipelined.write(
      `POST /v1/batches HTTP/1.1\r\n${HOST}\r\n${KEY}\r\ncontent-type: application/json\r\ncontent-length: 2\r\n`,
    );

    const closed = stopping.closeHttp();
    const answer = new Promise<string>((resolve) => {
      let text = '';
      pipelined.on('data', (chunk) => (text += chunk.toString()));
      pipelined.on('close', () => resolve(text));
    });
    pipelined.write('\r\n{}');

    const text = await answer;
    expect(statusOf(text)).toBe(503);
    expect(text.toLowerCase()).toContain('retry-after: 5');
    expect(text).toContain('service_unavailable');
    // The slow reader never reads on, and cannot hold the service up.
    await closed;
    slow.destroy();
    await stopping.close();
  });
});
