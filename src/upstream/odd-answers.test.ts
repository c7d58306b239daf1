import { brotliCompressSync, deflateRawSync, deflateSync, gzipSync, zstdCompressSync } from 'node:zlib';
import { afterEach, describe, expect, test } from 'vitest';
import { bodyOf, never, OddServers, requestFor } from '../../test/support/odd-server.ts';
import type { BatchEndpoint } from '../contract/batch.ts';
import { createLog } from '../core/log.ts';
import type { UpstreamReply } from './port.ts';

const servers = new OddServers();
afterEach(() => servers.close());

const CHAT = {
  choices: [{ index: 0, message: { role: 'assistant', content: '안녕' }, finish_reason: 'stop' }],
};
const JSON_TEXT = JSON.stringify(CHAT);

describe('a compressed answer', () => {
  test.each([
    ['gzip', gzipSync(JSON_TEXT)],
    ['x-gzip', gzipSync(JSON_TEXT)],
    ['GZIP', gzipSync(JSON_TEXT)],
    ['deflate', deflateSync(JSON_TEXT)],
    ['deflate', deflateRawSync(JSON_TEXT)],
    ['br', brotliCompressSync(JSON_TEXT)],
    ['zstd', zstdCompressSync(JSON_TEXT)],
    ['identity', Buffer.from(JSON_TEXT)],
    ['gzip, br', brotliCompressSync(gzipSync(JSON_TEXT))],
  ])('%s is decoded, though none was asked for', async (coding, body) => {
    const reply = await servers.callOnce(body, { headers: { 'content-encoding': coding } });

    expect(reply).toMatchObject({ kind: 'answer', status: 200, fault: null });
    expect(bodyOf(reply)).toEqual(CHAT);
  });

  test('an error is decoded too', async () => {
    const body = gzipSync('{"error":{"message":"busy"}}');

    const reply = await servers.callOnce(body, { status: 503, headers: { 'content-encoding': 'gzip' } });

    expect(bodyOf(reply)).toEqual({ error: { message: 'busy' } });
  });

  test.each(['gzip', 'br', 'deflate', 'zstd'])('a bomb in %s is cut at the limit', async (coding) => {
    const zeros = Buffer.alloc(3_000_000, ' ');
    const packed = { gzip: gzipSync, br: brotliCompressSync, deflate: deflateSync, zstd: zstdCompressSync };
    const body = packed[coding as 'gzip'](zeros);

    const reply = await servers.callOnce(body, {
      headers: { 'content-encoding': coding },
      options: { responseBytesMax: 100_000 },
    });

    expect(body.length).toBeLessThan(100_000);
    expect(reply).toMatchObject({
      reason: 'bad_answer',
      message: expect.stringContaining('longer than 100000 bytes'),
    });
  });

  test.each([
    ['is cut', gzipSync(JSON_TEXT).subarray(0, 20)],
    ['is not compressed at all', JSON_TEXT],
  ])('one that %s is a bad answer', async (_what, body) => {
    const reply = await servers.callOnce(body, { headers: { 'content-encoding': 'gzip' } });

    expect(reply).toMatchObject({ reason: 'bad_answer', message: expect.stringContaining('(gzip)') });
  });

  test('an unknown way to compress is blamed on the server, and not on the line', async () => {
    const reply = await servers.callOnce(JSON_TEXT, { headers: { 'content-encoding': 'lzma' } });

    expect(reply).toMatchObject({ reason: 'foreign_answer', message: expect.stringContaining('(lzma)') });
  });
});

describe('a stream that nobody asked for', () => {
  const events = (list: readonly unknown[], last = 'data: [DONE]\n\n') =>
    list.map((event) => `data: ${JSON.stringify(event)}\n\n`).join('') + last;
  const stream = (body: string, endpoint: BatchEndpoint): Promise<UpstreamReply> =>
    servers.callOnce(body, { endpoint, headers: { 'content-type': 'text/event-stream; charset=utf-8' } });
  const delta = (said: object, finish: string | null = null, index = 0) => ({
    id: 'c-1',
    object: 'chat.completion.chunk',
    created: 5,
    model: 'm',
    choices: [{ index, delta: said, finish_reason: finish, logprobs: null }],
  });

  test('a response stands in its last event', async () => {
    const response = {
      id: 'r',
      status: 'completed',
      output: [{ type: 'message' }],
      usage: { input_tokens: 4, output_tokens: 2 },
    };
    const body =
      `event: response.created\r\ndata: {"type":"response.created","response":{"status":"in_progress"}}\r\n\r\n` +
      `event: response.completed\r\ndata: ${JSON.stringify({ type: 'response.completed', response })}\r\n\r\n`;

    const reply = await stream(body, '/responses');

    expect(bodyOf(reply)).toEqual(response);
    expect(reply).toMatchObject({ fault: null, usage: { inputTokens: 4, outputTokens: 2 } });
  });

  test('a response that failed carries its failure', async () => {
    const failed = {
      type: 'response.failed',
      response: { status: 'failed', error: { code: 'x', message: 'boom' } },
    };

    expect(await stream(events([failed], ''), '/responses')).toMatchObject({
      fault: { code: 'x', message: 'boom' },
    });
  });

  test('a chat answer is put together from its chunks', async () => {
    const reply = await stream(
      `: ping\n\n${events([
        { id: '', model: '', object: '', choices: [], prompt_filter_results: [1] },
        delta({ role: 'assistant', content: '' }),
        delta({ reasoning_content: 'hm' }),
        delta({ content: '안' }),
        delta({ content: '녕' }),
        delta({}, 'stop'),
        { ...delta({}), choices: [], usage: { prompt_tokens: 7, completion_tokens: 3 } },
      ])}`,
      '/chat/completions',
    );

    expect(bodyOf(reply)).toEqual({
      id: 'c-1',
      object: 'chat.completion',
      created: 5,
      model: 'm',
      prompt_filter_results: [1],
      choices: [
        {
          index: 0,
          message: { role: 'assistant', content: '안녕', reasoning_content: 'hm' },
          finish_reason: 'stop',
          logprobs: null,
        },
      ],
      usage: { prompt_tokens: 7, completion_tokens: 3 },
    });
    expect(reply).toMatchObject({ fault: null, usage: { inputTokens: 7, outputTokens: 3 } });
  });

  test('tool calls, several choices and texts are put together too', async () => {
    const call = (index: number, part: object, more: object = {}) =>
      delta({ tool_calls: [{ index, function: part, ...more }] });
    const calls = await stream(
      events([
        call(0, { name: 'add', arguments: '' }, { id: 'call_1', type: 'function' }),
        call(0, { arguments: '{"a":' }),
        call(0, { arguments: '1}' }),
        delta({}, 'tool_calls'),
      ]),
      '/chat/completions',
    );
    const two = await stream(
      events([delta({ content: 'b' }, 'stop', 1), delta({ content: 'a' }, 'length', 0)]),
      '/chat/completions',
    );
    const text = (said: string, finish: string | null) => ({
      object: 'text_completion',
      choices: [{ index: 0, text: said, finish_reason: finish }],
    });
    const texts = await stream(events([text('a', null), text('b', 'stop')]), '/completions');

    const called = { id: 'call_1', type: 'function', function: { name: 'add', arguments: '{"a":1}' } };
    expect(bodyOf(calls)).toMatchObject({ choices: [{ message: { content: null, tool_calls: [called] } }] });
    expect(bodyOf(two)).toMatchObject({
      choices: [
        { index: 0, message: { content: 'a' }, finish_reason: 'length' },
        { index: 1, message: { content: 'b' }, finish_reason: 'stop' },
      ],
    });
    expect(bodyOf(texts)).toMatchObject({
      object: 'text_completion',
      choices: [{ text: 'ab', finish_reason: 'stop' }],
    });
  });

  test('an error in the middle is the failure that it carries', async () => {
    const reply = await stream(
      events([delta({ content: 'a' }), { error: { message: 'lost', code: 500 } }]),
      '/chat/completions',
    );

    expect(reply).toMatchObject({ fault: { code: '500', message: 'lost' } });
  });

  test.each<[string, string, BatchEndpoint]>([
    ['cut before its end', events([delta({ content: 'a' })], ''), '/chat/completions'],
    ['cut in an event', `${events([delta({ content: 'a' }, 'stop')], '')}data: {"cho`, '/chat/completions'],
    ['without its last event', events([{ type: 'response.created', response: {} }], ''), '/responses'],
    ['of embeddings', events([{ data: [] }]), '/embeddings'],
    ['of something else', 'data: 1\n\n', '/chat/completions'],
  ])('one %s is no answer', async (_what, body, endpoint) => {
    expect(await stream(body, endpoint)).toMatchObject({
      reason: 'foreign_answer',
      message: expect.stringContaining('event stream'),
    });
  });

  test('the log tells once that the upstream streams', async () => {
    const told: string[] = [];
    const log = createLog(({ event }) => told.push(event));
    const { origin } = await servers.serve((response) =>
      response.end(events([delta({ content: 'a' }, 'stop')])),
    );
    const upstream = servers.upstream({ baseUrl: origin, log });

    for (let n = 0; n < 3; n++) await upstream.call(requestFor(), never);

    expect(told).toEqual(['upstream.streams']);
  });
});

describe('errors in whatever shape', () => {
  test.each<[string, string, unknown]>([
    ['a detail', '{"detail":"Not Found"}', { detail: 'Not Found' }],
    ['an error in a text', '{"error":"no such model"}', { error: 'no such model' }],
    ['a message', '{"message":"no"}', { message: 'no' }],
    ['a text', 'slow down\n', { error: { message: 'slow down', type: 'upstream_error', code: '418' } }],
    [
      'a quoted text',
      '"slow down"',
      { error: { message: 'slow down', type: 'upstream_error', code: '418' } },
    ],
    [
      'a list',
      '[{"error":{"message":"quota","code":8}}]',
      { error: { message: 'quota', type: 'upstream_error', code: '418' } },
    ],
    ['a number', '7', { error: { message: '7', type: 'upstream_error', code: '418' } }],
    [
      'nothing',
      '',
      { error: { message: 'The upstream sent no body.', type: 'upstream_error', code: '418' } },
    ],
  ])('%s is kept as an object', async (_what, body, expected) => {
    expect(bodyOf(await servers.callOnce(body, { status: 418 }))).toEqual(expected);
  });
});

describe('a wait that only the body asks for', () => {
  test.each<[string, unknown, number | null]>([
    [
      'OpenAI’s words',
      { error: { message: 'Rate limit reached. Please try again in 20s. Visit https://x/y1.' } },
      20_000,
    ],
    ['minutes and seconds', { error: { message: 'Please try again in 1m30.5s.' } }, 90_500],
    ['milliseconds', { error: { message: 'Please try again in 250ms.' } }, 250],
    ['Azure’s words', { error: { message: 'Please retry after 26 seconds.' } }, 26_000],
    ['Google’s delay', { error: { details: [{}, { retryDelay: '35s' }] } }, 35_000],
    ['a member', { error: { message: 'x', retry_after: 1.5 } }, 1_500],
    ['a member beside', { retry_after_ms: '70' }, 70],
    ['too long', { error: { message: 'retry after 86400 seconds' } }, 600_000],
    [
      'a request that is too large',
      { error: { message: 'Request too large. Limit 30000, Requested 45000.' } },
      null,
    ],
    ['no number', { error: { message: 'Try again later.' } }, null],
  ])('%s', async (_what, body, expected) => {
    expect(await servers.callOnce(body, { status: 429 })).toMatchObject({ retryAfterMs: expected });
  });

  test('the header goes before the body, and other statuses ask for nothing', async () => {
    const body = { error: { message: 'Please retry after 26 seconds.' } };

    expect(await servers.callOnce(body, { status: 429, headers: { 'retry-after': '2' } })).toMatchObject({
      retryAfterMs: 2_000,
    });
    expect(await servers.callOnce(body, { status: 400 })).toMatchObject({ retryAfterMs: null });
    expect(await servers.callOnce(body)).toMatchObject({ retryAfterMs: 26_000, fault: {} });
  });
});

test('a byte order mark before the JSON is not part of the answer', async () => {
  const reply = await servers.callOnce(`\uFEFF${JSON_TEXT}`);

  expect(reply.kind === 'answer' && Buffer.from(reply.body).toString()).toBe(JSON_TEXT);
});

describe('a redirect says where to, and no more', () => {
  test.each([
    ['https://login.example.com/a?token=s3cret', 'https://login.example.com'],
    ['/login?token=s3cret', 'another path of its own'],
    ['', 'another path of its own'],
    ['http://[', 'redirects (307), and'],
  ])('%j', async (location, where) => {
    const reply = await servers.callOnce('', { status: 307, headers: { location } });

    expect(reply).toMatchObject({ reason: 'redirect', message: expect.stringContaining(where) });
    expect(reply).not.toMatchObject({ message: expect.stringContaining('s3cret') });
  });
});
