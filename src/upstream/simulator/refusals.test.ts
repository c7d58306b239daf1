/** These refusals concern several members at once: conversations, tools, and schemas with `strict: true`. */
import { expect, test } from 'vitest';
import type { BatchEndpoint } from '../../contract/batch.ts';
import { createSimulator } from './simulator.ts';

async function ask(endpoint: BatchEndpoint, body: object) {
  const reply = await createSimulator({}).call(
    { endpoint, body: Buffer.from(JSON.stringify(body)), model: { start: 0, end: 0 }, idempotencyKey: 'k' },
    new AbortController().signal,
  );
  if (reply.kind !== 'answer') throw new Error(reply.message);
  const { error } = JSON.parse(Buffer.from(reply.body).toString()) as { error?: unknown };
  return { status: reply.status, error };
}

const user = { role: 'user', content: 'Hi' };
const calling = (...ids: string[]) => ({
  role: 'assistant',
  content: null,
  tool_calls: ids.map((id) => ({ id, type: 'function', function: { name: 'f', arguments: '{}' } })),
});
const answering = (id: string) => ({ role: 'tool', tool_call_id: id, content: '1' });
const part = (content: object) => ({ messages: [{ role: 'user', content: [content] }] });
const closed = { type: 'object', additionalProperties: false };
const text = { type: 'string' };
const format = (schema: unknown) => ({
  response_format: { type: 'json_schema', json_schema: { name: 'answer', strict: true, schema } },
});
const strictTool = (parameters: unknown) => ({ name: 'search', strict: true, parameters });

const NULL_CONTENT = "Invalid value for 'content': expected a string, got null.";
const UNANSWERED =
  "An assistant message with 'tool_calls' must be followed by tool messages responding to each 'tool_call_id'. The following tool_call_ids did not have response messages: ";
const CLOSED = "'additionalProperties' is required to be supplied and to be false.";
const REQUIRED =
  "'required' is required to be supplied and to be an array including every key in properties.";
const emptyArray = (param: string) => [
  `Invalid '${param}': empty array. Expected an array with minimum length 1, but got an empty array instead.`,
  param,
  'empty_array',
];

test.each<[string, object, (string | null)[]]>([
  [
    'a message without content',
    { messages: [{ role: 'user' }] },
    [NULL_CONTENT, 'messages.[0].content', null],
  ],
  [
    'an assistant that says nothing',
    { messages: [user, { role: 'assistant', content: null }] },
    [NULL_CONTENT, 'messages.[1].content', null],
  ],
  [
    'a text part without text',
    part({ type: 'text' }),
    [
      "Missing required parameter: 'messages[0].content[0].text'.",
      'messages[0].content[0].text',
      'missing_required_parameter',
    ],
  ],
  [
    'an image that is its URL',
    part({ type: 'image_url', image_url: 'https://example.com/a.png' }),
    [
      "Invalid type for 'messages[0].content[0].image_url': expected an object, but got a string instead.",
      'messages[0].content[0].image_url',
      'invalid_type',
    ],
  ],
  [
    'a name with a space',
    { messages: [{ ...user, name: 'a b' }] },
    [
      String.raw`Invalid 'messages[0].name': string does not match pattern. Expected a string that matches the pattern '^[^\s<|\\/>]+$'.`,
      'messages[0].name',
      'invalid_value',
    ],
  ],
  [
    'calls that nobody answers',
    { messages: [user, calling('a', 'b'), answering('a'), user] },
    [`${UNANSWERED}b`, 'messages.[3].role', null],
  ],
  ['an empty list of calls', { messages: [user, calling()] }, emptyArray('messages[1].tool_calls')],
  ['an empty list of tools', { tools: [] }, emptyArray('tools')],
  [
    'parallel calls without tools',
    { parallel_tool_calls: false },
    [
      "Invalid value for 'parallel_tool_calls': 'parallel_tool_calls' is only allowed when 'tools' are specified.",
      'parallel_tool_calls',
      null,
    ],
  ],
  [
    'options of a stream without one',
    { stream_options: { include_usage: true } },
    ["The 'stream_options' parameter is only allowed when 'stream' is enabled.", 'stream_options', null],
  ],
  [
    'a strict schema that is open',
    format({ type: 'object', properties: { a: text }, required: ['a'] }),
    [`Invalid schema for response_format 'answer': In context=(), ${CLOSED}`, 'response_format', null],
  ],
  [
    'a strict schema with an optional property',
    format({ ...closed, properties: { a: text, b: text }, required: ['a'] }),
    [
      `Invalid schema for response_format 'answer': In context=(), ${REQUIRED} Missing 'b'.`,
      'response_format',
      null,
    ],
  ],
  [
    'a strict schema with an open object inside',
    format({
      ...closed,
      properties: { steps: { type: 'array', items: { type: 'object', properties: {} } } },
      required: ['steps'],
    }),
    [
      `Invalid schema for response_format 'answer': In context=('properties', 'steps', 'items'), ${CLOSED}`,
      'response_format',
      null,
    ],
  ],
  [
    'a strict schema of a list',
    format({ type: 'array', items: text }),
    [
      `Invalid schema for response_format 'answer': schema must be a JSON Schema of 'type: "object"', got 'type: "array"'.`,
      'response_format',
      null,
    ],
  ],
  [
    'a strict tool that requires what it does not have',
    { tools: [{ type: 'function', function: strictTool({ ...closed, properties: {}, required: ['q'] }) }] },
    [
      `Invalid schema for function 'search': In context=(), ${REQUIRED} Extra required key 'q' supplied.`,
      'tools[0].function.parameters',
      'invalid_function_parameters',
    ],
  ],
])('a chat completion with %s is refused', async (_what, change, [message, param, code]) => {
  const { status, error } = await ask('/chat/completions', { model: 'gpt-4o', messages: [user], ...change });

  expect({ status, error }).toEqual({
    status: 400,
    error: { message, type: 'invalid_request_error', param, code },
  });
});

test.each<[string, object, (string | null)[]]>([
  [
    'instructions in figures',
    { instructions: 5 },
    [
      "Invalid type for 'instructions': expected a string, but got an integer instead.",
      'instructions',
      'invalid_type',
    ],
  ],
  [
    'an image in an object',
    {
      input: [
        { role: 'user', content: [{ type: 'input_image', image_url: { url: 'https://example.com' } }] },
      ],
    },
    [
      "Invalid type for 'input[0].content[0].image_url': expected an image URL, but got an object instead.",
      'input[0].content[0].image_url',
      'invalid_type',
    ],
  ],
  [
    'an effort at a model that does not reason',
    { reasoning: { effort: 'low' } },
    [
      "Unsupported parameter: 'reasoning.effort' is not supported with this model.",
      'reasoning.effort',
      'unsupported_parameter',
    ],
  ],
  [
    'JSON that nobody asks for in words',
    { text: { format: { type: 'json_object' } } },
    [
      "Response input messages must contain the word 'json' in some form to use 'text.format' of type 'json_object'.",
      'input',
      null,
    ],
  ],
  [
    'a schema without a name',
    { text: { format: { type: 'json_schema', schema: closed } } },
    ["Missing required parameter: 'text.format.name'.", 'text.format.name', 'missing_required_parameter'],
  ],
  [
    'a strict schema that is open',
    { text: { format: { type: 'json_schema', name: 'answer', strict: true, schema: { type: 'object' } } } },
    [
      `Invalid schema for response_format 'answer': In context=(), ${CLOSED}`,
      'text.format.schema',
      'invalid_json_schema',
    ],
  ],
  [
    'a strict tool with an optional parameter',
    { tools: [{ type: 'function', ...strictTool({ ...closed, properties: { q: text }, required: [] }) }] },
    [
      `Invalid schema for function 'search': In context=(), ${REQUIRED} Missing 'q'.`,
      'tools[0].parameters',
      'invalid_function_parameters',
    ],
  ],
])('a response with %s is refused', async (_what, change, [message, param, code]) => {
  const { status, error } = await ask('/responses', { model: 'gpt-4o', input: 'Hi', ...change });

  expect({ status, error }).toEqual({
    status: 400,
    error: { message, type: 'invalid_request_error', param, code },
  });
});

test.each<[string, BatchEndpoint, object]>([
  [
    'answered calls',
    '/chat/completions',
    { messages: [user, calling('a', 'b'), answering('b'), answering('a'), user] },
  ],
  [
    'a strict schema with references',
    '/chat/completions',
    {
      messages: [user],
      ...format({
        ...closed,
        properties: { a: { $ref: '#/$defs/leaf' }, b: { anyOf: [text, { type: 'null' }] } },
        required: ['a', 'b'],
        $defs: { leaf: { ...closed, properties: {}, required: [] } },
      }),
    },
  ],
  [
    'a loose schema that is open',
    '/chat/completions',
    {
      messages: [user],
      response_format: { type: 'json_schema', json_schema: { name: 'x', schema: { type: 'object' } } },
    },
  ],
  ['a stored prompt instead of input', '/responses', { prompt: { id: 'pmpt_1' } }],
  ['an earlier response instead of input', '/responses', { previous_response_id: 'resp_1' }],
  ['no tools in a list', '/responses', { input: 'Hi', tools: [] }],
])('%s is taken', async (_what, endpoint, body) => {
  const { status, error } = await ask(endpoint, { model: 'gpt-4o', ...body });

  expect([status, error ?? null]).toEqual([200, null]);
});

test('a model of one’s own takes a strict schema that is open', async () => {
  const body = { model: 'llama-3.3-70b', messages: [user], ...format({ type: 'object' }) };

  expect((await ask('/chat/completions', body)).status).toBe(200);
});
