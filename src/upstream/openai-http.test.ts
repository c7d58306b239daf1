import { execFileSync } from 'node:child_process';
import { getEventListeners } from 'node:events';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { createServer } from 'node:http';
import type { IncomingHttpHeaders, IncomingMessage, RequestListener, ServerResponse } from 'node:http';
import { createSecureServer as createHttp2Server } from 'node:http2';
import { createServer as createHttpsServer } from 'node:https';
import { createServer as createNetServer } from 'node:net';
import type { AddressInfo, Server, Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterEach, beforeAll, afterAll, describe, expect, test } from 'vitest';
import type { Clock } from '../core/clock.ts';
import { systemClock } from '../core/clock.ts';
import { createHttpUpstream } from './openai-http.ts';
import type { HttpUpstreamOptions } from './openai-http.ts';
import type { UpstreamAnswer, UpstreamFailure, UpstreamReply, UpstreamRequest } from './port.ts';

const CANARY = 'canary-key-8b1f4c0e9d';
const endings: (() => Promise<unknown>)[] = [];
afterEach(async () => {
  for (const end of endings.splice(0).toReversed()) await end();
});

interface Seen {
  readonly method: string;
  readonly url: string;
  readonly headers: IncomingHttpHeaders;
  readonly body: Buffer;
}

/** Starts a server that keeps what it got, and then does what the test says. */
async function serve(respond: (response: ServerResponse, request: IncomingMessage) => void) {
  const seen: Seen[] = [];
  const server = createServer(recording(seen, respond));
  const port = await listen(server);
  endings.push(async () => server.closeAllConnections());
  return { origin: `http://127.0.0.1:${port}`, baseUrl: `http://127.0.0.1:${port}/v1`, seen };
}

function recording(
  seen: Seen[],
  respond: (response: ServerResponse, request: IncomingMessage) => void,
): RequestListener {
  return (request, response) => {
    const chunks: Buffer[] = [];
    request.on('data', (chunk: Buffer) => chunks.push(chunk));
    request.on('end', () => {
      const { method = '', url = '', headers } = request;
      seen.push({ method, url, headers, body: Buffer.concat(chunks) });
      respond(response, request);
    });
  };
}

/** Starts a server that answers each request with these bytes, and then ends the connection. */
async function serveBytes(bytes: string | Buffer, then: (socket: Socket) => void = (socket) => socket.end()) {
  const sockets = new Set<Socket>();
  const server = createNetServer((socket) => {
    sockets.add(socket);
    socket.on('error', () => {});
    socket.once('data', () => socket.write(bytes, () => then(socket)));
  });
  const port = await listen(server);
  endings.push(async () => sockets.forEach((socket) => socket.destroy()));
  return `http://127.0.0.1:${port}/v1`;
}

async function listen(server: Server): Promise<number> {
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  endings.push(() => new Promise((resolve) => server.close(resolve)));
  return (server.address() as AddressInfo).port;
}

function upstream(options: Partial<HttpUpstreamOptions> & { baseUrl: string }) {
  const created = createHttpUpstream({ name: 'vllm', apiKey: CANARY, timeoutMs: 60_000, ...options });
  endings.push(() => created.close());
  return created;
}

const SUBMITTED = '{"model":"dep","messages":[{"role":"user","content":"hi"}]}';

function request(
  body = SUBMITTED,
  model = '"dep"',
  endpoint: UpstreamRequest['endpoint'] = '/chat/completions',
) {
  const bytes = Buffer.from(body);
  const start = bytes.indexOf(model);
  return {
    endpoint,
    body: bytes,
    model: { start, end: start + Buffer.byteLength(model) },
    idempotencyKey: 'line-key-1',
  };
}

const never = new AbortController().signal;

async function callOnce(
  options: Partial<HttpUpstreamOptions> & { baseUrl: string },
  signal = never,
): Promise<UpstreamReply> {
  return upstream(options).call(request(), signal);
}

function asAnswer(reply: UpstreamReply): UpstreamAnswer & { text: string } {
  if (reply.kind !== 'answer') throw new Error(`no answer: ${reply.message}`);
  return { ...reply, text: Buffer.from(reply.body).toString() };
}

function asFailure(reply: UpstreamReply): UpstreamFailure {
  if (reply.kind !== 'failure') throw new Error(`an answer: ${Buffer.from(reply.body).toString()}`);
  expect(reply.message).not.toContain('vllm');
  expect(reply.message).not.toContain(CANARY);
  return reply;
}

const json = (
  response: ServerResponse,
  body: string,
  status = 200,
  headers: Record<string, string> = {},
): void => {
  response.writeHead(status, { 'content-type': 'application/json', ...headers }).end(body);
};

const http = (head: string, body: string | Buffer = ''): Buffer =>
  Buffer.concat([Buffer.from(`${head.trim().replaceAll('\n', '\r\n')}\r\n\r\n`), Buffer.from(body)]);

describe('what is sent', () => {
  test('the submitted bytes are forwarded as they are, save the model name', async () => {
    const tail =
      ', "seed":123456789012345678901234567890,"temperature":1e400,"top_p":-0, "z":1,"a":2,"\\u0061":"\\ud83d\\ude00 \\/ 😀",' +
      '"__proto__":{"x":1},\t"messages":[{"role":"user","content":"U+2028 \u2028 스"}] }';
    const { baseUrl, seen } = await serve((response) => json(response, '{}'));

    await upstream({ baseUrl, model: 'meta-llama/Llama "3"' }).call(
      request(` {"model" : "d\\u0065p"${tail}`, '"d\\u0065p"'),
      never,
    );

    expect(seen[0]!.body.toString()).toBe(` {"model" : "meta-llama/Llama \\"3\\""${tail}`);
    expect(seen[0]!.headers['content-length']).toBe(String(seen[0]!.body.length));
  });

  test('without a model of its own the upstream gets every byte as submitted', async () => {
    const { baseUrl, seen } = await serve((response) => json(response, '{}'));

    await callOnce({ baseUrl });

    expect(seen[0]!.body.toString()).toBe(SUBMITTED);
  });

  test('the line’s key is sent as idempotency-key and x-request-id, and the upstream’s as a bearer token', async () => {
    const { baseUrl, seen } = await serve((response) => json(response, '{}'));

    await callOnce({ baseUrl: `${baseUrl}/` });

    expect(seen[0]).toMatchObject({ method: 'POST', url: '/v1/chat/completions' });
    expect(seen[0]!.headers).toMatchObject({
      'idempotency-key': 'line-key-1',
      'x-request-id': 'line-key-1',
      authorization: `Bearer ${CANARY}`,
      'content-type': 'application/json',
      'accept-encoding': 'identity',
    });
    expect(seen[0]!.headers['api-key']).toBeUndefined();
  });

  test('no key is sent where none is configured', async () => {
    const { baseUrl, seen } = await serve((response) => json(response, '{}'));
    const keyless = createHttpUpstream({ name: 'ollama', baseUrl, timeoutMs: 60_000 });
    endings.push(() => keyless.close());

    await keyless.call(request(), never);

    expect(seen[0]!.headers.authorization).toBeUndefined();
    expect(seen[0]!.headers['api-key']).toBeUndefined();
  });

  test('Azure’s classic paths name the deployment and the api-version, and the key is an api-key', async () => {
    const { origin, seen } = await serve((response) => json(response, '{}'));
    const azure = upstream({ baseUrl: `${origin}/openai/`, azureApiVersion: '2024-10-21', model: 'gpt 4o' });
    const linesOwn = upstream({ baseUrl: origin, azureApiVersion: '2024-10-21' });

    await azure.call(request(), never);
    await azure.call(request(SUBMITTED, '"dep"', '/responses'), never);
    await linesOwn.call(request('{"model":"d\\u00e9p"}', '"d\\u00e9p"', '/embeddings'), never);

    expect(seen.map(({ url }) => url)).toEqual([
      '/openai/deployments/gpt%204o/chat/completions?api-version=2024-10-21',
      '/openai/responses?api-version=2024-10-21',
      '/openai/deployments/d%C3%A9p/embeddings?api-version=2024-10-21',
    ]);
    expect(seen[0]!.headers['api-key']).toBe(CANARY);
    expect(seen[0]!.headers.authorization).toBeUndefined();
  });

  test('Azure’s v1 surface is an ordinary base URL with an api-key', async () => {
    const { origin, seen } = await serve((response) => json(response, '{}'));

    await callOnce({ baseUrl: `${origin}/openai/v1`, authStyle: 'api-key' });

    expect(seen[0]!.url).toBe('/openai/v1/chat/completions');
    expect(seen[0]!.headers['api-key']).toBe(CANARY);
  });

  test('connections are reused, and no more than allowed are opened', async () => {
    const ports = new Set<number>();
    const { baseUrl, seen } = await serve((response, { socket }) => {
      ports.add(socket.remotePort!);
      json(response, '{}');
    });
    const two = upstream({ baseUrl, connectionsMax: 2 });

    await Promise.all(Array.from({ length: 40 }, () => two.call(request(), never)));

    expect(seen).toHaveLength(40);
    expect(ports.size).toBe(2);
  });

  test.each([
    'ftp://host/v1',
    'not a url',
    'http://user:pw@host/v1',
    'http://host/v1?key=1',
    'http://host/v1#x',
  ])('the base URL %s is refused without being repeated', (baseUrl) => {
    expect(() => createHttpUpstream({ name: 'bad', baseUrl, timeoutMs: 1 })).toThrow(
      /^Upstream 'bad': its base URL/,
    );
    expect(() => createHttpUpstream({ name: 'bad', baseUrl, timeoutMs: 1 })).not.toThrow(/pw|key=1/);
  });
});

test.each(['', 'key\n', 'a key', 'schlüssel'])('the key %j is refused without being repeated', (apiKey) => {
  const create = () =>
    createHttpUpstream({ name: 'bad', baseUrl: 'http://127.0.0.1:1/v1', apiKey, timeoutMs: 1 });

  expect(create).toThrow(/^Upstream 'bad': its API key is empty or has characters that no header can carry/);
});

describe('answers', () => {
  test('a JSON object is kept byte for byte, with its usage and request id', async () => {
    const body =
      '{"id":"x","big":123456789012345678901234567890,"e":1e400,"t":"\\u00e9 😀 \u2028","usage":{"prompt_tokens":20,' +
      '"prompt_tokens_details":{"cached_tokens":5},"completion_tokens":7,"completion_tokens_details":{"reasoning_tokens":3}}}';
    const { baseUrl } = await serve((response) =>
      json(response, body, 200, { 'x-request-id': 'req-1', 'apim-request-id': 'apim-1' }),
    );

    const answer = asAnswer(await callOnce({ baseUrl }));

    expect(answer.text).toBe(body);
    expect(answer).toMatchObject({
      status: 200,
      requestId: 'apim-1',
      retryAfterMs: null,
      usage: { inputTokens: 20, cachedTokens: 5, outputTokens: 7, reasoningTokens: 3 },
    });
  });

  test('usage is read from responses and embeddings too, and nonsense in it counts as none', async () => {
    const bodies = [
      '{"usage":{"input_tokens":9,"input_tokens_details":{"cached_tokens":4},"output_tokens":2,"output_tokens_details":{"reasoning_tokens":1}}}',
      '{"usage":{"prompt_tokens":8,"total_tokens":8}}',
      '{"usage":{"prompt_tokens":-1,"completion_tokens":"7","prompt_tokens_details":null,"completion_tokens_details":[1]}}',
      '{"usage":{"prompt_tokens":1e400,"completion_tokens":1e300}}',
      '{"usage":[1]}',
    ];
    const { baseUrl } = await serve((response) => json(response, bodies.shift()!));
    const model = upstream({ baseUrl });

    const usages = [];
    for (let n = 0; n < 5; n++)
      usages.push(Object.values(asAnswer(await model.call(request(), never)).usage));

    expect(usages).toEqual([
      [9, 4, 2, 1],
      [8, 0, 0, 0],
      [0, 0, 0, 0],
      [0, 0, 1e9, 0],
      [0, 0, 0, 0],
    ]);
  });

  test('raw newlines become spaces, escaped ones stay', async () => {
    const { baseUrl } = await serve((response) => json(response, '{\r\n  "a": "x\\ny",\n\n  "b": 1\r}\n'));

    const { text } = asAnswer(await callOnce({ baseUrl }));

    expect(text).toBe('{    "a": "x\\ny",    "b": 1 } ');
  });

  test('a body in many small chunks is put together', async () => {
    const body = JSON.stringify({ text: '가나다 '.repeat(5_000) });
    const { baseUrl } = await serve((response) => {
      response.writeHead(200, { 'content-type': 'application/json' });
      for (let at = 0; at < body.length; at += 97) response.write(body.slice(at, at + 97));
      response.end();
    });

    expect(asAnswer(await callOnce({ baseUrl })).text).toBe(body);
  });

  test('JSON counts as such whatever its content-type', async () => {
    const { baseUrl } = await serve((response) =>
      response.writeHead(200, { 'content-type': 'text/html' }).end('{"a":1}'),
    );

    expect(asAnswer(await callOnce({ baseUrl })).text).toBe('{"a":1}');
  });

  test('an error’s JSON is kept, and early hints before an answer do not disturb it', async () => {
    const { baseUrl } = await serve((response) => {
      response.writeProcessing();
      json(response, '{"error":{"code":"context_length_exceeded"}}', 400);
    });

    expect(asAnswer(await callOnce({ baseUrl }))).toMatchObject({
      status: 400,
      text: '{"error":{"code":"context_length_exceeded"}}',
    });
  });

  test.each([
    [
      502,
      '<html>\r\n<head><title>502 Bad Gateway</title></head>\r\n<body><hr>nginx</body></html>',
      '502 Bad Gateway',
    ],
    [403, '<!DOCTYPE html><style>p { top: 0 }</style><p>Blocked by <b>policy</b></p>', 'Blocked by policy'],
    [403, '<?xml version="1.0"?><Error><Message>Access Denied</Message></Error>', 'Access Denied'],
    [503, '', 'The upstream sent no body.'],
    [429, 'slow down\n', 'slow down'],
    [500, '{"error":', '{"error":'],
  ])('a %d whose body is %j is an answer with a JSON error made from it', async (status, body, message) => {
    const { baseUrl } = await serve((response) =>
      response.writeHead(status, { 'retry-after': '2' }).end(body),
    );

    const answer = asAnswer(await callOnce({ baseUrl }));

    expect(answer.status).toBe(status);
    expect(answer.retryAfterMs).toBe(2_000);
    expect(JSON.parse(answer.text)).toEqual({
      error: {
        message,
        type: 'upstream_error',
        code: String(status),
      },
    });
  });

  test('a long error page is cut to its first 500 characters', async () => {
    const { baseUrl } = await serve((response) => response.writeHead(500).end('😀'.repeat(10_000)));

    const { error } = JSON.parse(asAnswer(await callOnce({ baseUrl })).text) as {
      error: { message: string };
    };

    expect(error.message).toBe('😀'.repeat(250));
  });

  test('an error whose body is cut is still an answer with its status', async () => {
    const baseUrl = await serveBytes(
      http('HTTP/1.1 503 Busy\ncontent-length: 99\nretry-after: 3', '{"error'),
    );

    const answer = asAnswer(await callOnce({ baseUrl }));

    expect(answer).toMatchObject({ status: 503, retryAfterMs: 3_000 });
    expect(JSON.parse(answer.text).error.type).toBe('upstream_error');
  });

  test('an error that is compressed, too long or a stream is still an answer with its status', async () => {
    const odd: ((response: ServerResponse) => void)[] = [
      (response) => response.writeHead(503, { 'content-encoding': 'gzip' }).end('{"error":{}}'),
      (response) => response.writeHead(500).end('x'.repeat(5_000)),
      (response) =>
        void response
          .writeHead(429, { 'content-type': 'text/event-stream', 'retry-after-ms': '70' })
          .write('data: 1\n\n'),
    ];
    const { baseUrl } = await serve((response) => odd.shift()!(response));
    const model = upstream({ baseUrl, responseBytesMax: 1_000 });

    const answers = [];
    for (let n = 0; n < 3; n++) answers.push(asAnswer(await model.call(request(), never)));

    expect(answers.map(({ status }) => status)).toEqual([503, 500, 429]);
    expect(answers.map(({ text }) => JSON.parse(text).error.message)).toEqual([
      expect.stringContaining('compressed'),
      expect.stringContaining('longer than 1000 bytes'),
      expect.stringContaining('event stream'),
    ]);
    expect(answers[2]!.retryAfterMs).toBe(70);
  });

  test('a key that an error echoes is masked; an answer is never touched', async () => {
    const statuses = [401, 403, 200];
    const { baseUrl } = await serve((response) => {
      const status = statuses.shift()!;
      json(
        response,
        status === 403
          ? `denied for ${CANARY}`
          : `{"message":"Incorrect API key: ${CANARY}","choices":[{"message":{}}]}`,
        status,
      );
    });
    const model = upstream({ baseUrl });

    const texts = [];
    for (let n = 0; n < 3; n++) texts.push(asAnswer(await model.call(request(), never)).text);

    expect(texts[0]).toContain('{"message":"Incorrect API key: ***"');
    expect(texts[1]).toContain('denied for ***');
    expect(texts[2]).toContain(CANARY);
  });
});

describe('retry-after', () => {
  const now = Date.UTC(2026, 10, 23, 12, 0, 0);
  const clock: Clock = { ...systemClock, now: () => now };

  test.each([
    [{ 'retry-after': '7' }, 7_000],
    [{ 'retry-after': '0' }, 0],
    [{ 'retry-after': '1.5' }, 1_500],
    [{ 'retry-after': '-3' }, 0],
    [{ 'retry-after': '86400' }, 600_000],
    [{ 'retry-after': '9'.repeat(400) }, 600_000],
    [{ 'retry-after': 'Mon, 23 Nov 2026 12:00:30 GMT' }, 30_000],
    [{ 'retry-after': 'Mon, 23 Nov 2026 11:00:00 GMT' }, 0],
    [{ 'retry-after': 'Tue, 24 Nov 2026 12:00:00 GMT' }, 600_000],
    [{ 'retry-after': 'soon' }, null],
    [{ 'retry-after-ms': '250', 'retry-after': '9' }, 250],
    [{ 'retry-after-ms': '12.2' }, 13],
    [{ 'retry-after-ms': 'x', 'retry-after': '9' }, 9_000],
    [{}, null],
  ])('%j means %s ms', async (headers, expected) => {
    const { baseUrl } = await serve((response) => json(response, '{}', 429, headers));

    expect(asAnswer(await callOnce({ baseUrl, clock })).retryAfterMs).toBe(expected);
  });
});

describe('a success that is no answer', () => {
  test.each([
    ['HTML', http('HTTP/1.1 200 OK\ncontent-length: 15', '<html>hi</html>'), /HTML/],
    ['plain text', http('HTTP/1.1 200 OK\ncontent-length: 2', 'ok'), /is text, not JSON/],
    ['nothing', http('HTTP/1.1 200 OK\ncontent-length: 0'), /empty/],
    ['a 204', http('HTTP/1.1 204 No Content'), /empty/],
    ['a JSON array', http('HTTP/1.1 200 OK\ncontent-length: 2', '[]'), /not an object/],
    ['an unmarked event stream', http('HTTP/1.1 200 OK\ncontent-length: 8', 'data: 1\n'), /event stream/],
    ['something that is not HTTP', 'SSH-2.0-OpenSSH_9.2\r\n', /not HTTP/],
  ])('%s comes from no model API, so it speaks about the address', async (_what, bytes, message) => {
    const baseUrl = await serveBytes(bytes);

    const failure = asFailure(await callOnce({ baseUrl }));

    expect(failure).toMatchObject({ reason: 'foreign_answer' });
    expect(failure.message).toMatch(message);
  });

  test.each([
    ['truncated JSON', http('HTTP/1.1 200 OK\ncontent-length: 8', '{"id":"x'), /cut or broken/],
    ['two values', http('HTTP/1.1 200 OK\ncontent-length: 4', '{}{}'), /cut or broken/],
    [
      'bytes that are not UTF-8',
      http('HTTP/1.1 200 OK\ncontent-length: 9', Buffer.from('{"a":"\xff"}', 'latin1')),
      /not UTF-8/,
    ],
    ['less than its content-length', http('HTTP/1.1 200 OK\ncontent-length: 99', '{"a":1}'), /./],
    ['more than its content-length', http('HTTP/1.1 200 OK\ncontent-length: 5', '{"a":1}'), /cut or broken/],
    ['a cut chunk', http('HTTP/1.1 200 OK\ntransfer-encoding: chunked', '20\r\n{"a":1}'), /./],
    ['a broken chunk', http('HTTP/1.1 200 OK\ntransfer-encoding: chunked', 'zz\r\n{"a":1}'), /./],
    ['two content-lengths', http('HTTP/1.1 200 OK\ncontent-length: 7\ncontent-length: 9', '{"a":1}'), /./],
    ['a switch of protocols', http('HTTP/1.1 101 Switching Protocols\nupgrade: x\nconnection: upgrade'), /./],
    ['endless headers', `HTTP/1.1 200 OK\r\nx: ${'y'.repeat(200_000)}`, /./],
  ])('%s is a bad answer', async (_what, bytes, message) => {
    const baseUrl = await serveBytes(bytes);

    const failure = asFailure(await callOnce({ baseUrl }));

    expect(failure).toMatchObject({ reason: 'bad_answer' });
    expect(failure.message).toMatch(message);
  });

  test('a key that the upstream’s headers echo is not in the message', async () => {
    const { baseUrl } = await serve((response) => json(response, '{}', 200, { 'content-encoding': CANARY }));

    expect(asFailure(await callOnce({ baseUrl })).message).toContain('not known here (***)');
  });

  test('an endless body is cut at the limit, announced or not', async () => {
    const closed = Promise.withResolvers<void>();
    const { baseUrl } = await serve((response) => {
      response.on('close', closed.resolve);
      const pour = (): void => {
        while (!response.destroyed && response.write(' '.repeat(16_384)));
        response.once('drain', pour);
      };
      response.writeHead(200, { 'content-type': 'application/json' });
      pour();
    });
    const announced = await serveBytes(http('HTTP/1.1 200 OK\ncontent-length: 100001', '{'), () => {});

    const failures = [
      asFailure(await callOnce({ baseUrl, responseBytesMax: 100_000 })),
      asFailure(await callOnce({ baseUrl: announced, responseBytesMax: 100_000 })),
    ];

    for (const failure of failures) {
      expect(failure).toMatchObject({ reason: 'bad_answer', status: 200 });
      expect(failure.message).toContain('longer than 100000 bytes');
    }
    await closed.promise;
  });

  test('a body of exactly the limit is an answer', async () => {
    const body = JSON.stringify({ a: 'x'.repeat(992) });
    const { baseUrl } = await serve((response) => json(response, body));

    expect(asAnswer(await callOnce({ baseUrl, responseBytesMax: 1_000 })).body).toHaveLength(1_000);
  });
});

describe('no answer', () => {
  test.each([301, 302, 303, 307, 308])(
    'a %d is not followed, so the key goes nowhere else',
    async (status) => {
      const elsewhere = await serve((response) => json(response, '{}'));
      const { baseUrl, origin, seen } = await serve((response) =>
        response.writeHead(status, { location: `${elsewhere.origin}/v1/chat/completions?k=${CANARY}` }).end(),
      );

      const failures = [
        asFailure(await callOnce({ baseUrl })),
        asFailure(await callOnce({ baseUrl: `${origin}/openai/v1`, authStyle: 'api-key' })),
      ];

      for (const failure of failures) expect(failure).toMatchObject({ reason: 'redirect', status });
      expect(seen).toHaveLength(2);
      expect(elsewhere.seen).toHaveLength(0);
    },
  );

  test('a refused connection is unreachable', async () => {
    const server = createNetServer();
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    const { port } = server.address() as AddressInfo;
    await new Promise((resolve) => server.close(resolve));

    const failure = asFailure(await callOnce({ baseUrl: `http://127.0.0.1:${port}/v1` }));

    expect(failure).toMatchObject({ reason: 'unreachable', status: null });
    expect(failure.message).toBe('nothing listens there (connection refused)');
  });

  test('a connection cut before the answer is a reset, and the request may have been processed', async () => {
    const cut = await serve((response) => response.socket!.resetAndDestroy());
    const ended = await serve((response) => response.socket!.end());

    for (const { baseUrl, seen } of [cut, ended]) {
      expect(asFailure(await callOnce({ baseUrl }))).toMatchObject({
        reason: 'reset',
        status: null,
      });
      expect(seen).toHaveLength(1);
    }
  });

  test('an upstream that hangs is given up at the deadline, with or without the head of an answer', async () => {
    const silent = await serve(() => {});
    const headOnly = await serve((response) => {
      response.writeHead(200, { 'content-type': 'application/json' }).write('{');
    });

    const started = performance.now();
    const replies = await Promise.all(
      [silent, headOnly].map(({ baseUrl }) => callOnce({ baseUrl, timeoutMs: 150 })),
    );

    expect(performance.now() - started).toBeGreaterThan(140);
    expect(replies.map(asFailure)).toMatchObject([
      { reason: 'timeout', status: null, message: expect.stringContaining('within 0.15 s') },
      { reason: 'timeout', status: 200 },
    ]);
  });

  test('a body that drips does not put the deadline off', async () => {
    let drip: NodeJS.Timeout | undefined;
    const { baseUrl } = await serve((response) => {
      response.writeHead(200, { 'content-type': 'application/json' });
      drip = setInterval(() => response.write(' '), 10);
    });

    const failure = asFailure(await callOnce({ baseUrl, timeoutMs: 200 }));
    clearInterval(drip);

    expect(failure).toMatchObject({ reason: 'timeout' });
  });

  test('each call has its own deadline, whatever began before it', async () => {
    const { baseUrl, seen } = await serve(() => {});
    const one = upstream({ baseUrl, timeoutMs: 300 });
    const startedAtMs: number[] = [];
    const tookMs: number[] = [];
    const call = async (key: number): Promise<void> => {
      startedAtMs[key] = performance.now();
      expect(asFailure(await one.call(request(), never))).toMatchObject({ reason: 'timeout' });
      tookMs[key] = performance.now() - (startedAtMs[key] ?? 0);
    };

    const first = call(0);
    await sleep(150);
    await Promise.all([first, call(1)]);
    await call(2);

    expect(seen).toHaveLength(3);
    for (const ms of tookMs) expect(ms).toBeGreaterThanOrEqual(299);
    expect(tookMs).toHaveLength(3);
  });

  test('the upstream is usable after a timeout', async () => {
    let first = true;
    const { baseUrl } = await serve((response) => {
      if (!first) json(response, '{"ok":true}');
      first = false;
    });
    const one = upstream({ baseUrl, connectionsMax: 1, timeoutMs: 1_000 });

    const replies = [await one.call(request(), never), await one.call(request(), never)];

    expect(asFailure(replies[0]!).reason).toBe('timeout');
    expect(asAnswer(replies[1]!).text).toBe('{"ok":true}');
  });

  test('an upstream that is closed before its first call sends none', async () => {
    const { baseUrl, seen } = await serve((response) => json(response, '{}'));
    const model = upstream({ baseUrl });

    await model.close();

    expect(asFailure(await model.call(request(), never))).toMatchObject({ reason: 'aborted' });
    expect(seen).toHaveLength(0);
  });

  test('close ends a call that waits for a connection', async () => {
    const arrived = Promise.withResolvers<void>();
    const { baseUrl } = await serve(() => arrived.resolve());
    const one = upstream({ baseUrl, connectionsMax: 1 });
    const calls = [one.call(request(), never), one.call(request(), never)];
    await arrived.promise;

    await one.close();

    for (const reply of await Promise.all(calls))
      expect(asFailure(reply)).toMatchObject({ reason: 'aborted' });
  });

  test('close ends the calls in flight and refuses more', async () => {
    const arrived = Promise.withResolvers<void>();
    const { baseUrl } = await serve(() => arrived.resolve());
    const model = upstream({ baseUrl });
    const inFlight = model.call(request(), never);
    await arrived.promise;

    await model.close();

    expect(asFailure(await inFlight)).toMatchObject({ reason: 'aborted' });
    expect(asFailure(await model.call(request(), never))).toMatchObject({ reason: 'aborted' });
  });
});

describe('abort', () => {
  test('a call in flight ends at once, and its connection with it', async () => {
    const arrived = Promise.withResolvers<void>();
    const closed = Promise.withResolvers<void>();
    const { baseUrl } = await serve((response) => {
      response.on('close', closed.resolve);
      arrived.resolve();
    });
    const abort = new AbortController();
    const reply = callOnce({ baseUrl }, abort.signal);
    await arrived.promise;

    abort.abort();

    expect(asFailure(await reply)).toMatchObject({ reason: 'aborted' });
    await closed.promise;
  });

  test('a call that waits for a connection ends without being sent, then or later', async () => {
    const held = Promise.withResolvers<ServerResponse>();
    const { baseUrl, seen } = await serve((response) =>
      seen.length === 1 ? held.resolve(response) : json(response, '{}'),
    );
    const one = upstream({ baseUrl, connectionsMax: 1 });
    const abort = new AbortController();
    const first = one.call({ ...request(), idempotencyKey: 'first' }, never);
    const response = await held.promise;
    const waiting = one.call({ ...request(), idempotencyKey: 'waiting' }, abort.signal);

    abort.abort();
    const failure = asFailure(await waiting);
    json(response, '{}');
    await first;
    await one.call({ ...request(), idempotencyKey: 'last' }, never);

    expect(failure).toMatchObject({ reason: 'aborted' });
    expect(seen.map(({ headers }) => headers['idempotency-key'])).toEqual(['first', 'last']);
  });

  test('a signal that was aborted before sends nothing', async () => {
    const { baseUrl, seen } = await serve((response) => json(response, '{}'));

    const failure = asFailure(await callOnce({ baseUrl }, AbortSignal.abort()));

    expect(failure).toMatchObject({ reason: 'aborted' });
    expect(seen).toHaveLength(0);
  });

  test('many calls of one signal add one listener to it', async () => {
    const { baseUrl } = await serve((response) => json(response, '{}'));
    const { signal } = new AbortController();
    const model = upstream({ baseUrl });

    await Promise.all(Array.from({ length: 50 }, () => model.call(request(), signal)));

    expect(getEventListeners(signal, 'abort')).toHaveLength(1);
  });
});

describe('TLS', () => {
  let dir: string;
  let ca: string;
  let key: string;
  beforeAll(() => {
    dir = mkdtempSync(join(tmpdir(), 'offpeak-tls-'));
    const at = (name: string) => join(dir, name);
    const args = [
      'req',
      '-x509',
      '-newkey',
      'ec',
      '-pkeyopt',
      'ec_paramgen_curve:prime256v1',
      '-nodes',
      '-days',
      '2',
    ];
    const subject = ['-subj', '/CN=localhost', '-addext', 'subjectAltName=IP:127.0.0.1'];
    execFileSync('openssl', [...args, ...subject, '-keyout', at('key.pem'), '-out', at('cert.pem')], {
      stdio: 'ignore',
    });
    key = readFileSync(at('key.pem'), 'utf8');
    ca = readFileSync(at('cert.pem'), 'utf8');
  });
  afterAll(() => rmSync(dir, { recursive: true }));

  async function serveTls() {
    const seen: Seen[] = [];
    const server = createHttpsServer(
      { key, cert: ca },
      recording(seen, (response) => json(response, '{"tls":true}')),
    );
    const port = await listen(server);
    return { baseUrl: `https://127.0.0.1:${port}/v1`, seen };
  }

  test('a private CA is trusted when it is given', async () => {
    const { baseUrl } = await serveTls();

    expect(asAnswer(await callOnce({ baseUrl, tls: { ca } })).text).toBe('{"tls":true}');
  });

  test('a server that also speaks HTTP/2 is asked over HTTP/1.1', async () => {
    const server = createHttp2Server({ key, cert: ca, allowHTTP1: true }, (asked, response) =>
      response
        .writeHead(200, { 'content-type': 'application/json' })
        .end(`{"version":"${asked.httpVersion}"}`),
    );
    const port = await listen(server);

    const reply = await callOnce({ baseUrl: `https://127.0.0.1:${port}/v1`, tls: { ca } });

    expect(asAnswer(reply).text).toBe('{"version":"1.1"}');
  });

  test('an unknown CA is unreachable, and the key is not sent', async () => {
    const { baseUrl, seen } = await serveTls();

    const failure = asFailure(await callOnce({ baseUrl }));

    expect(failure).toMatchObject({ reason: 'unreachable' });
    expect(failure.message).toBe(
      'its certificate is not trusted (self-signed certificate): set NODE_EXTRA_CA_CERTS or caFile',
    );
    expect(seen).toHaveLength(0);
  });

  test('verification can be switched off', async () => {
    const { baseUrl } = await serveTls();

    expect(asAnswer(await callOnce({ baseUrl, tls: { rejectUnauthorized: false } })).text).toBe(
      '{"tls":true}',
    );
  });

  test('plain HTTP at an https address is named, and so is TLS at an http address', async () => {
    const plain = await serve((response) => json(response, '{}'));
    const tls = await serveTls();

    const replies = [
      await callOnce({ baseUrl: plain.origin.replace('http:', 'https:') }),
      await callOnce({ baseUrl: tls.baseUrl.replace('https:', 'http:') }),
    ];

    expect(replies.map(asFailure)).toMatchObject([
      { reason: 'unreachable', message: 'it does not speak TLS, and the address says https' },
      { reason: 'foreign_answer', message: 'it speaks TLS, and the address says http: write https' },
    ]);
  });
});
