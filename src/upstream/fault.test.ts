import { afterEach, describe, expect, test } from 'vitest';
import { bodyOf, KEY, OddServers } from '../../test/support/odd-server.ts';
import type { BatchEndpoint } from '../contract/batch.ts';

const servers = new OddServers();
afterEach(() => servers.close());

const message = { role: 'assistant', content: 'hi' };
const choice = (finish: string | null, more: object = {}) => ({
  index: 0,
  message,
  finish_reason: finish,
  ...more,
});

async function faultOf(body: unknown, endpoint: BatchEndpoint) {
  const reply = await servers.callOnce(body, { endpoint });
  if (reply.kind !== 'answer') throw new Error(reply.message);
  return reply.fault;
}

describe('a success that carries a failure is not a success', () => {
  test.each<[string, BatchEndpoint, unknown, string | null, RegExp]>([
    ['an error', '/chat/completions', { error: { message: 'boom', code: 502 } }, '502', /^boom$/],
    ['an error in a text', '/completions', { error: 'CUDA out of memory' }, null, /^CUDA out of memory$/],
    ['an error without words', '/embeddings', { error: { type: 'x' } }, 'x', /says nothing/],
    [
      'an error beside choices',
      '/chat/completions',
      { choices: [choice('stop')], error: { message: 'cut' } },
      null,
      /^cut$/,
    ],
    [
      'an error in Korean',
      '/responses',
      { error: { message: '메모리가 부족합니다' } },
      null,
      /^메모리가 부족합니다$/,
    ],
    ['no choice', '/chat/completions', { choices: [] }, null, /no choice/],
    ['choices that are null', '/chat/completions', { choices: null, base: 1 }, null, /no choices/],
    [
      'no choices, and a detail',
      '/chat/completions',
      { detail: 'Model is loading' },
      null,
      /^Model is loading$/,
    ],
    [
      'no choices, and a message',
      '/chat/completions',
      { object: 'error', message: 'no', type: 'T', code: null },
      'T',
      /^no$/,
    ],
    ['a choice that is null', '/chat/completions', { choices: [null] }, null, /empty/],
    [
      'a choice without a message',
      '/chat/completions',
      { choices: [{ finish_reason: 'stop' }] },
      null,
      /without a message/,
    ],
    ['finish_reason error', '/chat/completions', { choices: [choice('error')] }, null, /broke off.*error/],
    [
      'finish_reason error with its cause',
      '/chat/completions',
      { choices: [choice('error', { error: { code: 502, message: 'Provider went away' } })] },
      '502',
      /^Provider went away$/,
    ],
    [
      'an error in a choice that says stop',
      '/chat/completions',
      { choices: [choice('stop', { error: { message: 'x' } })] },
      null,
      /^x$/,
    ],
    [
      'the second of two choices broken off',
      '/chat/completions',
      { choices: [choice('stop'), choice('error')] },
      null,
      /broke off/,
    ],
    ['SGLang’s abort', '/chat/completions', { choices: [choice('abort')] }, null, /broke off/],
    ['Cohere’s ERROR_TOXIC', '/chat/completions', { choices: [choice('ERROR_TOXIC')] }, null, /broke off/],
    [
      'DeepSeek’s lack of resources',
      '/chat/completions',
      { choices: [choice('insufficient_system_resource')] },
      null,
      /broke off/,
    ],
    [
      'a completion broken off',
      '/completions',
      { choices: [{ text: 'a', finish_reason: 'error' }] },
      null,
      /broke off/,
    ],
    [
      'a failed response',
      '/responses',
      { status: 'failed', output: [], error: { code: 'server_error', message: 'The model crashed' } },
      'server_error',
      /^The model crashed$/,
    ],
    [
      'a failed response without words',
      '/responses',
      { status: 'failed', error: null, output: [] },
      null,
      /status failed/,
    ],
    ['a cancelled response', '/responses', { status: 'cancelled', output: [{}] }, null, /status cancelled/],
    [
      'an incomplete response with an error',
      '/responses',
      { status: 'incomplete', output: [], error: { message: 'e' } },
      null,
      /^e$/,
    ],
    ['a queued response', '/responses', { status: 'queued', output: [] }, null, /not finished/],
    ['a response in progress', '/responses', { status: 'in_progress', output: [{}] }, null, /not finished/],
    ['a response without output', '/responses', { status: 'completed', output: [] }, null, /no output/],
    ['a chat answer to /responses', '/responses', { choices: [choice('stop')] }, null, /no output/],
    ['no embeddings', '/embeddings', { object: 'list', data: [] }, null, /no embeddings/],
    ['embeddings missing', '/embeddings', { object: 'list' }, null, /no embeddings/],
    ['an embedding of nulls', '/embeddings', { data: [{ embedding: [null, null] }] }, null, /empty/],
    [
      'one embedding of two empty',
      '/embeddings',
      { data: [{ embedding: [1] }, { embedding: [] }] },
      null,
      /empty/,
    ],
  ])('%s', async (_what, endpoint, body, code, words) => {
    const fault = await faultOf(body, endpoint);

    expect(fault).toEqual({ code, message: expect.stringMatching(words) });
  });
});

describe('an answer that the model gives is a success, whatever it says', () => {
  test.each<[string, BatchEndpoint, unknown]>([
    ['an error that is null', '/chat/completions', { choices: [choice('stop')], error: null }],
    [
      'an error of nulls',
      '/chat/completions',
      { choices: [choice('stop')], error: { code: null, message: '' } },
    ],
    ['a filter', '/chat/completions', { choices: [choice('content_filter')] }],
    ['the token limit', '/chat/completions', { choices: [choice('length')] }],
    [
      'tool calls without content',
      '/chat/completions',
      { choices: [{ finish_reason: 'tool_calls', message: { content: null, tool_calls: [{}] } }] },
    ],
    ['no finish_reason', '/chat/completions', { choices: [choice(null)] }],
    [
      'an empty content',
      '/chat/completions',
      { choices: [{ message: { content: '' }, finish_reason: 'stop' }] },
    ],
    [
      'a message of its own about an error',
      '/chat/completions',
      { choices: [{ message: { content: 'error', error: 'x' }, finish_reason: 'stop' }] },
    ],
    ['a text', '/completions', { choices: [{ text: '', finish_reason: 'stop' }] }],
    [
      'a completed response',
      '/responses',
      { status: 'completed', error: null, output: [{ type: 'message' }] },
    ],
    [
      'a response cut by its token limit',
      '/responses',
      { status: 'incomplete', incomplete_details: { reason: 'max_output_tokens' }, output: [] },
    ],
    [
      'a filtered response',
      '/responses',
      { status: 'incomplete', incomplete_details: { reason: 'content_filter' }, output: [] },
    ],
    ['a response without a status', '/responses', { output: [{ type: 'message' }] }],
    ['vectors', '/embeddings', { data: [{ embedding: [0.1] }, { embedding: [0] }] }],
    ['base64', '/embeddings', { data: [{ embedding: 'AAAA' }] }],
    ['vectors of each token', '/embeddings', { data: [{ embedding: [[0.1], [0.2]] }] }],
  ])('%s', async (_what, endpoint, body) => {
    expect(await faultOf(body, endpoint)).toBeNull();
  });
});

test('a failure under 200 keeps its body, without the key that it echoes', async () => {
  const reply = await servers.callOnce({ error: { message: `Incorrect API key: ${KEY}` } });

  expect(reply).toMatchObject({ kind: 'answer', status: 200, fault: { message: 'Incorrect API key: ***' } });
  expect(bodyOf(reply)).toEqual({ error: { message: 'Incorrect API key: ***' } });
});

test('an error under an error status is no fault: the status says it', async () => {
  const reply = await servers.callOnce({ error: { message: 'boom' } }, { status: 500 });

  expect(reply).toMatchObject({ kind: 'answer', status: 500, fault: null });
});
