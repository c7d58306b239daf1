/** Requests whose framing, coding or length is ambiguous, and callers that wait for 100 Continue. */
import { connect, type Socket } from 'node:net';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { ADMIN_KEY, KEY_A, lines, startService, SUBSCRIPTION, type Service } from './harness.ts';
import { HOST, request, statusOf } from './raw.ts';

let service: Service;
beforeAll(async () => {
  service = await startService();
});
afterAll(() => service.close());

const KEY = `api-key: ${KEY_A}`;
const JSON_TYPE = 'Content-Type: application/json';
const FORM_TYPE = 'Content-Type: multipart/form-data; boundary=b';
const FORM = `--b\r\nContent-Disposition: form-data; name="purpose"\r\n\r\nbatch\r\n--b\r\nContent-Disposition: form-data; name="file"; filename="a.jsonl"\r\n\r\n${lines(1)}\r\n--b--\r\n`;
const bodyOf = (answer: string) => JSON.parse(answer.slice(answer.indexOf('\r\n\r\n')));
const chunked = (body: string): string => `${body.length.toString(16)}\r\n${body}\r\n0\r\n\r\n`;
const filesNow = async (): Promise<number> => (await service.json('/v1/files')).body.data.length;

describe('HTTP/1.0', () => {
  test.each([
    ['POST /openai/v1/files', FORM_TYPE, FORM],
    ['POST /v1/batches', JSON_TYPE, '{}'],
  ])('with a chunked body (%s) is a 400, and the connection ends', async (line, type, body) => {
    const before = await filesNow();

    const answer = await service.raw(
      request(`${line} HTTP/1.0`, [HOST, KEY, type, 'Transfer-Encoding: chunked'], chunked(body)),
    );

    expect(statusOf(answer)).toBe(400);
    expect(answer.toLowerCase()).toContain('connection: close');
    expect(bodyOf(answer).error.message).toContain('Content-Length');
    expect(await filesNow()).toBe(before);
  });

  test('with a length is answered as any other', async () => {
    const answer = await service.raw(
      request(
        'POST /openai/v1/files HTTP/1.0',
        [HOST, KEY, FORM_TYPE, `Content-Length: ${Buffer.byteLength(FORM)}`],
        FORM,
      ),
    );

    expect(statusOf(answer)).toBe(201);
  });
});

describe('a caller that closes its half of the connection', () => {
  test.each([
    ['after a GET', request('GET /v1/files HTTP/1.1', [HOST, KEY]), 200],
    ['after a probe', request('GET /healthz HTTP/1.0', [HOST]), 200],
    [
      'after an upload',
      request(
        'POST /v1/files HTTP/1.1',
        [HOST, KEY, FORM_TYPE, `Content-Length: ${Buffer.byteLength(FORM)}`],
        FORM,
      ),
      200,
    ],
    [
      'after a chunked upload',
      request('POST /v1/files HTTP/1.1', [HOST, KEY, FORM_TYPE, 'Transfer-Encoding: chunked'], chunked(FORM)),
      200,
    ],
    [
      'in the middle of a body',
      request('POST /v1/batches HTTP/1.1', [HOST, KEY, JSON_TYPE, 'Content-Length: 100'], '{'),
      400,
    ],
    [
      'in the middle of an upload',
      request('POST /v1/files HTTP/1.1', [HOST, KEY, FORM_TYPE, 'Content-Length: 9999'], FORM.slice(0, -30)),
      400,
    ],
    ['in the middle of the headers', 'GET /v1/files HTTP/1.1\r\nHost: loc', 400],
  ])('%s is answered, and then let go', async (_name, bytes, status) => {
    const { socket, answer, closed } = dial();
    socket.end(bytes);

    await closed;

    expect(statusOf(answer())).toBe(status);
    expect(answer().match(/HTTP\/1\.1 /g)).toHaveLength(1);
  });

  test('without having asked for anything is let go', async () => {
    const { socket, answer, closed } = dial();
    socket.end();

    await closed;

    expect(answer()).toBe('');
  });
});

describe('a compressed body', () => {
  const gone = (coding: string): string => `Content-Encoding: ${coding}`;

  test.each(['br', 'gzip', 'GZIP', 'deflate', 'zstd', 'identity, gzip', 'nonsense'])(
    'in %s is a 415 that says so, and stores nothing',
    async (coding) => {
      const before = await filesNow();
      for (const [line, type, body] of [
        ['POST /openai/v1/files HTTP/1.1', FORM_TYPE, FORM],
        ['POST /v1/batches HTTP/1.1', JSON_TYPE, '{}'],
        ['POST /openai/batches?api-version=2024-10-21 HTTP/1.1', JSON_TYPE, '{}'],
      ] as const) {
        const answer = await service.raw(
          request(line, [HOST, KEY, type, gone(coding), `Content-Length: ${Buffer.byteLength(body)}`], body),
        );

        expect(statusOf(answer)).toBe(415);
        expect(bodyOf(answer).error.message).toContain(`'${coding.toLowerCase()}'`);
        expect(answer).toMatch(/\r\naccept-encoding: identity\r\n/i);
      }
      expect(await filesNow()).toBe(before);
    },
  );

  test('without a good key is a 401 all the same', async () => {
    const answer = await service.raw(
      request('POST /v1/batches HTTP/1.1', [HOST, JSON_TYPE, gone('br'), 'Content-Length: 2'], '{}'),
    );

    expect(statusOf(answer)).toBe(401);
  });

  test.each(['identity', 'Identity', ''])('that names the coding %j is not one', async (coding) => {
    const answer = await service.raw(
      request(
        'POST /v1/files HTTP/1.1',
        [HOST, KEY, FORM_TYPE, gone(coding), `Content-Length: ${Buffer.byteLength(FORM)}`],
        FORM,
      ),
    );

    expect(statusOf(answer)).toBe(200);
  });
});

describe('two api-versions', () => {
  const ARM = `/subscriptions/${SUBSCRIPTION}/providers/Microsoft.CognitiveServices/accounts`;

  test.each([
    ['/openai/files?api-version=2024-10-21&api-version=2025-04-01-preview', KEY_A],
    ['/openai/files?api-version=2024-10-21&limit=1&api-version=2024-10-21', KEY_A],
    ['/openai/files?api-version=2024-10-21&Api-Version=2025-04-01-preview', KEY_A],
    ['/openai/files?api-version=2024-10-21&api%2Dversion=2025-04-01-preview', KEY_A],
    ['/openai/v1/files?api-version=v1&api-version=preview', KEY_A],
    ['/v1/files?api-version=v1&api-version=preview', KEY_A],
    [`${ARM}?api-version=2025-09-01&api-version=2025-06-01`, ADMIN_KEY],
  ])('%s is a 400', async (url, key) => {
    const { status, body } = await service.json(url, { headers: { 'api-key': key } });

    expect(status).toBe(400);
    expect(body.error.message).toContain('api-version was sent twice');
  });
});

describe('a caller that waits for 100 Continue', () => {
  const EXPECT = 'Expect: 100-continue';
  const head = (headers: string[], length = Buffer.byteLength(FORM)): string =>
    request('POST /v1/files HTTP/1.1', [HOST, FORM_TYPE, EXPECT, `Content-Length: ${length}`, ...headers]);

  test('is told to go on once its key is known, and the connection goes on', async () => {
    const { socket, answer, until } = dial();

    socket.write(head([KEY]));
    await until(/^HTTP\/1\.1 100 Continue\r\n\r\n$/);
    socket.write(FORM);
    await until(/HTTP\/1\.1 200 OK[^]*"object":"file"/);
    socket.write(request('GET /v1/batches HTTP/1.1', [HOST, KEY]));
    await until(/"has_more":false/);

    expect(answer().match(/HTTP\/1\.1 \d+/g)).toEqual(['HTTP/1.1 100', 'HTTP/1.1 200', 'HTTP/1.1 200']);
    socket.destroy();
  });

  test.each<[string, string, number]>([
    ['without a key', head([]), 401],
    ['with a wrong key', head(['api-key: wrong']), 401],
    ['with a file that is too large', head([KEY], 1e12), 413],
    ['with a compressed body', head([KEY, 'Content-Encoding: gzip']), 415],
    [
      'with another type than a form',
      request('POST /v1/files HTTP/1.1', [HOST, KEY, JSON_TYPE, EXPECT, 'Content-Length: 9']),
      415,
    ],
    [
      'on an address that is not there',
      request('POST /v1/nowhere HTTP/1.1', [HOST, KEY, JSON_TYPE, EXPECT, 'Content-Length: 9']),
      404,
    ],
  ])('%s is refused without having been told to, and let go', async (_name, bytes, status) => {
    const { socket, answer, closed } = dial();
    socket.write(bytes);

    await closed;

    expect(statusOf(answer())).toBe(status);
    expect(answer().match(/HTTP\/1\.1 /g)).toHaveLength(1);
    expect(answer().toLowerCase()).toContain('connection: close');
  });

  test('in another way is a 417', async () => {
    const answer = await service.raw(
      request(
        'POST /v1/batches HTTP/1.1',
        [HOST, KEY, JSON_TYPE, 'Expect: 200-ok', 'Content-Length: 2'],
        '{}',
      ),
    );

    expect(statusOf(answer)).toBe(417);
    expect(bodyOf(answer).error.message).toContain('Expect');
  });
});

test.each([
  ['CONNECT', 'CONNECT localhost:443 HTTP/1.1', 405],
  ['TRACE', 'TRACE /v1/files HTTP/1.1', 404],
  ['an upgrade', 'GET /healthz HTTP/1.1\r\nConnection: upgrade\r\nUpgrade: h2c', 200],
])('%s is answered', async (_name, line, status) => {
  const answer = await service.raw(request(line, [HOST, KEY]));

  expect(statusOf(answer)).toBe(status);
});

/** Opens a connection, and collects what comes back until the server closes it. */
function dial(): {
  readonly socket: Socket;
  readonly answer: () => string;
  readonly closed: Promise<void>;
  readonly until: (wanted: RegExp) => Promise<void>;
} {
  const socket = connect({ port: service.port, host: '127.0.0.1', allowHalfOpen: true });
  let text = '';
  let seen = (): void => {};
  socket.on('data', (chunk) => {
    text += chunk.toString('latin1');
    seen();
  });
  const closed = new Promise<void>((resolve, reject) => {
    socket.on('error', reject);
    socket.on('end', () => {
      socket.end();
      resolve();
    });
  });
  const until = (wanted: RegExp): Promise<void> =>
    Promise.race([
      closed.then(() => {
        throw new Error(`closed after: ${text}`);
      }),
      new Promise<void>((resolve) => {
        seen = () => {
          if (wanted.test(text)) resolve();
        };
        seen();
      }),
    ]);
  return { socket, answer: () => text, closed, until };
}
