import { describe, expect, test } from 'vitest';
import type { BatchEndpoint } from '../../contract/batch.ts';
import { createSimulator } from './simulator.ts';

async function ask(endpoint: BatchEndpoint, body: object, model?: string) {
  const reply = await createSimulator(model === undefined ? {} : { model }).call(
    { endpoint, body: Buffer.from(JSON.stringify(body)), model: { start: 0, end: 0 }, idempotencyKey: 'k' },
    new AbortController().signal,
  );
  if (reply.kind !== 'answer') throw new Error(reply.message);
  return {
    status: reply.status,
    error: (JSON.parse(Buffer.from(reply.body).toString()) as { error: unknown }).error,
  };
}

const messages = [{ role: 'user', content: 'Hi' }];
const call = {
  role: 'assistant',
  tool_calls: [{ id: 'c', type: 'function', function: { name: 'f', arguments: '{}' } }],
};
const tool = (name: unknown) => ({ type: 'function', function: { name, parameters: {} } });

const unsupported = (param: string, instead = '') => [
  `Unsupported parameter: '${param}' is not supported with this model.${instead}`,
  param,
  'unsupported_parameter',
];
const OPERATION =
  ' Please choose different model and try again. You can learn more about which models can be used with each operation here: https://go.microsoft.com/fwlink/?linkid=2197993.';

describe('a chat completion is refused as the original refuses it', () => {
  test.each<[string, object, (string | null)[]]>([
    [
      'a negative max_tokens',
      { max_tokens: -1 },
      [
        "Invalid 'max_tokens': integer below minimum value. Expected a value >= 1, but got -1 instead.",
        'max_tokens',
        'integer_below_min_value',
      ],
    ],
    [
      'max_tokens in words',
      { max_tokens: 'ten' },
      [
        "Invalid type for 'max_tokens': expected an integer, but got a string instead.",
        'max_tokens',
        'invalid_type',
      ],
    ],
    [
      'half a token',
      { max_tokens: 1.5 },
      [
        "Invalid type for 'max_tokens': expected an integer, but got a decimal number instead.",
        'max_tokens',
        'invalid_type',
      ],
    ],
    [
      'more tokens than the model has',
      { max_tokens: 20_000 },
      [
        'max_tokens is too large: 20000. This model supports at most 16384 completion tokens, whereas you provided 20000.',
        'max_tokens',
        'invalid_value',
      ],
    ],
    [
      'both limits',
      { max_tokens: 1, max_completion_tokens: 1 },
      [
        "Setting 'max_tokens' and 'max_completion_tokens' at the same time is not supported.",
        'max_tokens',
        'invalid_parameter_combination',
      ],
    ],
    [
      'temperature 9',
      { temperature: 9 },
      [
        "Invalid 'temperature': decimal above maximum value. Expected a value <= 2, but got 9 instead.",
        'temperature',
        'decimal_above_max_value',
      ],
    ],
    [
      'a temperature in words',
      { temperature: 'hot' },
      [
        "Invalid type for 'temperature': expected a decimal, but got a string instead.",
        'temperature',
        'invalid_type',
      ],
    ],
    [
      'top_p below zero',
      { top_p: -0.1 },
      [
        "Invalid 'top_p': decimal below minimum value. Expected a value >= 0, but got -0.1 instead.",
        'top_p',
        'decimal_below_min_value',
      ],
    ],
    [
      'no choice',
      { n: 0 },
      [
        "Invalid 'n': integer below minimum value. Expected a value >= 1, but got 0 instead.",
        'n',
        'integer_below_min_value',
      ],
    ],
    [
      'five stops',
      { stop: ['a', 'b', 'c', 'd', 'e'] },
      [
        "Invalid 'stop': array too long. Expected an array with maximum length 4, but got an array with length 5 instead.",
        'stop',
        'array_above_max_length',
      ],
    ],
    [
      'an unknown role',
      { messages: [{ role: 'human', content: 'x' }] },
      [
        "Invalid value: 'human'. Supported values are: 'system', 'assistant', 'user', 'function', 'tool', and 'developer'.",
        'messages[0].role',
        'invalid_value',
      ],
    ],
    [
      'no role',
      { messages: [{ content: 'x' }] },
      ["Missing required parameter: 'messages[0].role'.", 'messages[0].role', 'missing_required_parameter'],
    ],
    [
      'messages in a text',
      { messages: 'x' },
      [
        "Invalid type for 'messages': expected an array of objects, but got a string instead.",
        'messages',
        'invalid_type',
      ],
    ],
    [
      'no message',
      { messages: [] },
      [
        "Invalid 'messages': empty array. Expected an array with minimum length 1, but got an empty array instead.",
        'messages',
        'empty_array',
      ],
    ],
    [
      'a message in a text',
      { messages: ['x'] },
      [
        "Invalid type for 'messages[0]': expected an object, but got a string instead.",
        'messages[0]',
        'invalid_type',
      ],
    ],
    [
      'a content that is a number',
      { messages: [{ role: 'user', content: 7 }] },
      [
        "Invalid type for 'messages[0].content': expected one of a string or array of objects, but got an integer instead.",
        'messages[0].content',
        'invalid_type',
      ],
    ],
    [
      'a tool message without a call',
      { messages: [...messages, { role: 'tool', tool_call_id: 'c', content: 'x' }] },
      [
        "Invalid parameter: messages with role 'tool' must be a response to a preceeding message with 'tool_calls'.",
        'messages.[1].role',
        null,
      ],
    ],
    [
      'a tool message without its id',
      { messages: [call, { role: 'tool', content: 'x' }] },
      [
        "Missing required parameter: 'messages[1].tool_call_id'.",
        'messages[1].tool_call_id',
        'missing_required_parameter',
      ],
    ],
    [
      'an unknown name',
      { max_token: 5 },
      ["Unknown parameter: 'max_token'.", 'max_token', 'unknown_parameter'],
    ],
    [
      'an unknown format',
      { response_format: { type: 'xml' } },
      [
        "Invalid value: 'xml'. Supported values are: 'json_object', 'json_schema', and 'text'.",
        'response_format.type',
        'invalid_value',
      ],
    ],
    [
      'a format in a text',
      { response_format: 'json' },
      [
        "Invalid type for 'response_format': expected an object, but got a string instead.",
        'response_format',
        'invalid_type',
      ],
    ],
    [
      'JSON without the word',
      { response_format: { type: 'json_object' } },
      [
        "'messages' must contain the word 'json' in some form, to use 'response_format' of type 'json_object'.",
        'messages',
        null,
      ],
    ],
    [
      'a schema without a name',
      { response_format: { type: 'json_schema', json_schema: { schema: {} } } },
      [
        "Missing required parameter: 'response_format.json_schema.name'.",
        'response_format.json_schema.name',
        'missing_required_parameter',
      ],
    ],
    [
      'a tool without a function',
      { tools: [{ type: 'function' }] },
      ["Missing required parameter: 'tools[0].function'.", 'tools[0].function', 'missing_required_parameter'],
    ],
    [
      'a tool without a name',
      { tools: [tool(undefined)] },
      [
        "Missing required parameter: 'tools[0].function.name'.",
        'tools[0].function.name',
        'missing_required_parameter',
      ],
    ],
    [
      'a tool’s name with a space',
      { tools: [tool('a b')] },
      [
        "Invalid 'tools[0].function.name': string does not match pattern. Expected a string that matches the pattern '^[a-zA-Z0-9_-]+$'.",
        'tools[0].function.name',
        'invalid_value',
      ],
    ],
    [
      'tools in a text',
      { tools: 'none' },
      [
        "Invalid type for 'tools': expected an array of objects, but got a string instead.",
        'tools',
        'invalid_type',
      ],
    ],
    [
      'a choice without tools',
      { tool_choice: 'auto' },
      [
        "Invalid value for 'tool_choice': 'tool_choice' is only allowed when 'tools' are specified.",
        'tool_choice',
        null,
      ],
    ],
    [
      'top_logprobs alone',
      { top_logprobs: 2 },
      ["The 'top_logprobs' parameter is only allowed when 'logprobs' is enabled.", 'top_logprobs', null],
    ],
    [
      'reasoning_effort',
      { reasoning_effort: 'low' },
      ['Unrecognized request argument supplied: reasoning_effort', null, null],
    ],
    [
      'a prompt that is too long',
      { messages: [{ role: 'user', content: 'x'.repeat(600_000) }] },
      [
        "This model's maximum context length is 128000 tokens. However, your messages resulted in 150004 tokens. Please reduce the length of the messages.",
        'messages',
        'context_length_exceeded',
      ],
    ],
  ])('%s', async (_what, change, [message, param, code]) => {
    const { status, error } = await ask('/chat/completions', { model: 'gpt-4o', messages, ...change });

    expect(status).toBe(400);
    expect(error).toEqual({ message, type: 'invalid_request_error', param, code });
  });
});

describe('a model that reasons', () => {
  test.each<[string, object, (string | null)[]]>([
    ['gpt-5', { max_tokens: 5 }, unsupported('max_tokens', " Use 'max_completion_tokens' instead.")],
    ['o3-mini', { max_tokens: 5 }, unsupported('max_tokens', " Use 'max_completion_tokens' instead.")],
    ['gpt-5.4', { max_tokens: 5 }, unsupported('max_tokens', " Use 'max_completion_tokens' instead.")],
    ['o4-mini', { stop: 'x' }, unsupported('stop')],
    ['gpt-5', { top_p: 0.5 }, unsupported('top_p')],
    ['o3', { presence_penalty: 1 }, unsupported('presence_penalty')],
    ['gpt-5', { logprobs: true }, unsupported('logprobs')],
    [
      'gpt-5-batch',
      { temperature: 0.2 },
      [
        "Unsupported value: 'temperature' does not support 0.2 with this model. Only the default (1) value is supported.",
        'temperature',
        'unsupported_value',
      ],
    ],
    [
      'gpt-5.1',
      { temperature: 0.2, reasoning_effort: 'low' },
      [
        "Unsupported value: 'temperature' does not support 0.2 with this model. Only the default (1) value is supported.",
        'temperature',
        'unsupported_value',
      ],
    ],
  ])('%s refuses %j', async (model, change, [message, param, code]) => {
    expect(await ask('/chat/completions', { model, messages, ...change })).toEqual({
      status: 400,
      error: { message, type: 'invalid_request_error', param, code },
    });
  });

  test.each<[string, object]>([
    [
      'gpt-5',
      { max_completion_tokens: 5, temperature: 1, top_p: 1, reasoning_effort: 'minimal', verbosity: 'low' },
    ],
    ['gpt-5.1', { temperature: 0.2, logprobs: true, top_logprobs: 5 }],
    ['gpt-5.4-mini', { temperature: 0.2, reasoning_effort: 'none' }],
    ['o3-mini', { max_completion_tokens: null, temperature: null }],
  ])('%s takes %j', async (model, change) => {
    expect(await ask('/chat/completions', { model, messages, ...change })).toMatchObject({ status: 200 });
  });
});

describe('the other endpoints', () => {
  test.each<[BatchEndpoint, string, string]>([
    ['/embeddings', 'gpt-4o', 'The embeddings operation does not work with the specified model, gpt-4o.'],
    [
      '/chat/completions',
      'text-embedding-3-small',
      'The chatCompletion operation does not work with the specified model, text-embedding-3-small.',
    ],
    ['/completions', 'gpt-4.1', 'The completion operation does not work with the specified model, gpt-4.1.'],
  ])('%s of %s is another model’s work', async (endpoint, model, message) => {
    const body = { model: 'my-deployment', messages, input: 'x', prompt: 'x' };

    expect(await ask(endpoint, body, model)).toEqual({
      status: 400,
      error: { code: 'OperationNotSupported', message: message + OPERATION },
    });
  });

  test.each<[BatchEndpoint, object, (string | null)[]]>([
    [
      '/responses',
      { model: 'gpt-4o', input: 'x', max_output_tokens: 1 },
      [
        "Invalid 'max_output_tokens': integer below minimum value. Expected a value >= 16, but got 1 instead.",
        'max_output_tokens',
        'integer_below_min_value',
      ],
    ],
    [
      '/responses',
      { model: 'o3', input: 'x', temperature: 0 },
      ["Unsupported parameter: 'temperature' is not supported with this model.", 'temperature', null],
    ],
    [
      '/responses',
      { model: 'gpt-4o' },
      ["Missing required parameter: 'input'.", 'input', 'missing_required_parameter'],
    ],
    [
      '/responses',
      { model: 'gpt-4o', input: [{ role: 'bot', content: 'x' }] },
      [
        "Invalid value: 'bot'. Supported values are: 'assistant', 'system', 'developer', and 'user'.",
        'input[0].role',
        'invalid_value',
      ],
    ],
    [
      '/responses',
      { model: 'gpt-4o', input: 'x', tools: [{ type: 'function' }] },
      ["Missing required parameter: 'tools[0].name'.", 'tools[0].name', 'missing_required_parameter'],
    ],
    [
      '/embeddings',
      { model: 'text-embedding-3-small', input: '' },
      [
        "'$.input' is invalid. Please check the API reference: https://platform.openai.com/docs/api-reference.",
        null,
        null,
      ],
    ],
    [
      '/embeddings',
      { model: 'text-embedding-ada-002', input: 'x', dimensions: 8 },
      ['This model does not support specifying dimensions.', null, null],
    ],
    [
      '/embeddings',
      { model: 'text-embedding-3-small', input: 'x', dimensions: 2_000 },
      ["Invalid value for 'dimensions' = 2000. Must be less than or equal to 1536.", 'dimensions', null],
    ],
    [
      '/embeddings',
      { model: 'text-embedding-3-small', input: 'x', encoding_format: 'hex' },
      [
        "Invalid value: 'hex'. Supported values are: 'float' and 'base64'.",
        'encoding_format',
        'invalid_value',
      ],
    ],
  ])('%s refuses %j', async (endpoint, body, [message, param, code]) => {
    expect(await ask(endpoint, body)).toEqual({
      status: 400,
      error: { message, type: 'invalid_request_error', param, code },
    });
  });

  test('what has moved in the responses is told', async () => {
    const { error } = await ask('/responses', { model: 'gpt-4o', messages });

    expect(error).toMatchObject({
      message: expect.stringContaining(
        "Unsupported parameter: 'messages'. In the Responses API, this parameter has moved to 'input'.",
      ),
      code: 'unsupported_parameter',
    });
  });
});

test('a model of one’s own takes names of its own, but no nonsense', async () => {
  const own = {
    model: 'qwen',
    messages,
    max_tokens: 500_000,
    guided_json: {},
    chat_template_kwargs: { a: 1 },
    reasoning_effort: 'low',
  };

  expect(await ask('/chat/completions', own)).toMatchObject({ status: 200 });
  expect(await ask('/chat/completions', { ...own, max_tokens: -1 })).toMatchObject({ status: 400 });
});
