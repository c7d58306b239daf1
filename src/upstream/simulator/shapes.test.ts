import type OpenAI from 'openai';
import { expect, test } from 'vitest';
import { z } from 'zod';
import type { BatchEndpoint } from '../../contract/batch.ts';
import { createSimulator } from './simulator.ts';

// The compiler compares each schema with the SDK's own type: a schema that lacks a member of the newest SDK does not compile.
// The tests compare the answers of the simulator with the schemas.

const tokenLogprob = z.object({
  token: z.string(),
  bytes: z.array(z.number()),
  logprob: z.number(),
  top_logprobs: z.array(z.object({ token: z.string(), bytes: z.array(z.number()), logprob: z.number() })),
});

const completionUsage = z.object({
  completion_tokens: z.number(),
  prompt_tokens: z.number(),
  total_tokens: z.number(),
  completion_tokens_details: z.object({
    accepted_prediction_tokens: z.number(),
    audio_tokens: z.number(),
    reasoning_tokens: z.number(),
    rejected_prediction_tokens: z.number(),
  }),
  prompt_tokens_details: z.object({ audio_tokens: z.number(), cached_tokens: z.number() }),
}) satisfies z.ZodType<OpenAI.CompletionUsage>;

const functionCall = z.object({
  id: z.string(),
  type: z.literal('function'),
  function: z.object({ name: z.string(), arguments: z.string() }),
});

const chatCompletion = z.object({
  id: z.string(),
  object: z.literal('chat.completion'),
  created: z.int(),
  model: z.string(),
  system_fingerprint: z.string(),
  usage: completionUsage,
  choices: z.array(
    z.object({
      index: z.int(),
      finish_reason: z.enum(['stop', 'length', 'tool_calls']),
      logprobs: z.object({ content: z.array(tokenLogprob), refusal: z.null() }).nullable(),
      message: z.object({
        role: z.literal('assistant'),
        content: z.string().nullable(),
        refusal: z.null(),
        annotations: z.array(z.never()),
        tool_calls: z.array(functionCall).optional(),
      }),
    }),
  ),
}) satisfies z.ZodType<OpenAI.ChatCompletion>;

const completion = z.object({
  id: z.string(),
  object: z.literal('text_completion'),
  created: z.int(),
  model: z.string(),
  system_fingerprint: z.string(),
  usage: completionUsage,
  choices: z.array(
    z.object({
      index: z.int(),
      finish_reason: z.enum(['stop', 'length']),
      text: z.string(),
      logprobs: z
        .object({
          text_offset: z.array(z.int()),
          token_logprobs: z.array(z.number()),
          tokens: z.array(z.string()),
          top_logprobs: z.array(z.record(z.string(), z.number())),
        })
        .nullable(),
    }),
  ),
}) satisfies z.ZodType<OpenAI.Completion>;

const embeddings = z.object({
  object: z.literal('list'),
  model: z.string(),
  usage: z.object({ prompt_tokens: z.int(), total_tokens: z.int() }),
  data: z.array(z.object({ object: z.literal('embedding'), index: z.int(), embedding: z.array(z.number()) })),
}) satisfies z.ZodType<OpenAI.CreateEmbeddingResponse>;

const itemStatus = z.enum(['completed', 'incomplete']);
const response = z.object({
  id: z.string(),
  object: z.literal('response'),
  access_programs: z.null(),
  background: z.literal(false),
  created_at: z.int(),
  completed_at: z.int().nullable(),
  status: z.enum(['completed', 'incomplete']),
  error: z.null(),
  incomplete_details: z.object({ reason: z.literal('max_output_tokens') }).nullable(),
  instructions: z.string().nullable(),
  max_output_tokens: z.int().nullable(),
  metadata: z.record(z.string(), z.string()),
  model: z.string(),
  output: z.array(
    z.union([
      z.object({
        id: z.string(),
        type: z.literal('message'),
        role: z.literal('assistant'),
        status: itemStatus,
        content: z.array(
          z.object({
            type: z.literal('output_text'),
            text: z.string(),
            annotations: z.array(z.never()),
            logprobs: z.array(tokenLogprob),
          }),
        ),
      }),
      z.object({
        id: z.string(),
        type: z.literal('function_call'),
        call_id: z.string(),
        name: z.string(),
        arguments: z.string(),
        status: itemStatus,
      }),
    ]),
  ),
  parallel_tool_calls: z.boolean(),
  previous_response_id: z.null(),
  temperature: z.number(),
  text: z.object({ format: z.object({ type: z.literal('text') }), verbosity: z.literal('medium') }),
  tool_choice: z.enum(['none', 'auto', 'required']),
  tools: z.array(
    z.object({
      type: z.literal('function'),
      name: z.string(),
      parameters: z.record(z.string(), z.unknown()).nullable(),
      strict: z.boolean().nullable(),
    }),
  ),
  top_logprobs: z.int(),
  top_p: z.number(),
  truncation: z.literal('disabled'),
  usage: z.object({
    input_tokens: z.int(),
    input_tokens_details: z.object({ cache_write_tokens: z.int(), cached_tokens: z.int() }),
    output_tokens: z.int(),
    output_tokens_details: z.object({ reasoning_tokens: z.int() }),
    total_tokens: z.int(),
  }),
  // The SDK makes `output_text` itself.
}) satisfies z.ZodType<Omit<OpenAI.Responses.Response, 'output_text'>>;

async function ask(endpoint: BatchEndpoint, body: object): Promise<unknown> {
  const reply = await createSimulator().call(
    { endpoint, body: Buffer.from(JSON.stringify(body)), model: { start: 0, end: 0 }, idempotencyKey: 'k' },
    new AbortController().signal,
  );
  if (reply.kind !== 'answer') throw new Error(reply.message);
  expect(reply).toMatchObject({ status: 200, fault: null });
  return JSON.parse(Buffer.from(reply.body).toString());
}

const messages = [{ role: 'user', content: 'Hi' }];
const wrapped = { type: 'function', function: { name: 'f', parameters: { type: 'object' } } };

test.each([
  ['plain', { model: 'gpt-4o', messages }],
  ['of a model that reasons', { model: 'gpt-5', messages, max_completion_tokens: 3 }],
  ['with a call', { model: 'gpt-4.1', messages, tools: [wrapped], tool_choice: 'required' }],
  ['with logprobs', { model: 'gpt-4o', messages, n: 2, logprobs: true, top_logprobs: 3 }],
])('a chat completion %s has the SDK’s shape', async (_what, body) => {
  expect(chatCompletion.safeParse(await ask('/chat/completions', body)).error).toBeUndefined();
});

test.each([
  ['plain', { model: 'gpt-35-turbo', prompt: ['a', 'b'] }],
  ['with logprobs', { model: 'own', prompt: 'a', logprobs: 2 }],
])('a completion %s has the SDK’s shape', async (_what, body) => {
  expect(completion.safeParse(await ask('/completions', body)).error).toBeUndefined();
});

test.each([
  ['plain', { model: 'gpt-4o', input: 'Hi' }],
  ['that is cut', { model: 'gpt-5.1', input: 'Hi', max_output_tokens: 16, metadata: { a: 'b' } }],
  [
    'with a call',
    { model: 'o3', input: messages, tools: [{ type: 'function', name: 'f' }], tool_choice: 'required' },
  ],
  [
    'with logprobs',
    { model: 'gpt-4o', input: 'Hi', include: ['message.output_text.logprobs'], top_logprobs: 2 },
  ],
])('a response %s has the SDK’s shape', async (_what, body) => {
  expect(response.safeParse(await ask('/responses', body)).error).toBeUndefined();
});

test('embeddings have the SDK’s shape', async () => {
  const answer = await ask('/embeddings', { model: 'text-embedding-3-small', input: ['a', 'b'] });

  expect(embeddings.safeParse(answer).error).toBeUndefined();
});

test('logprobs are of the text that is said, token by token', async () => {
  const body = {
    model: 'gpt-4o',
    messages: [{ role: 'user', content: '안녕 😀' }],
    logprobs: true,
    top_logprobs: 2,
  };
  const [choice] = chatCompletion.parse(await ask('/chat/completions', body)).choices;

  const tokens = choice?.logprobs?.content ?? [];

  expect(tokens.map(({ token }) => token).join('')).toBe(choice?.message.content);
  expect(Buffer.from(tokens.flatMap(({ bytes }) => bytes)).toString()).toBe(choice?.message.content);
  for (const { token, logprob, top_logprobs } of tokens) {
    expect(logprob).toBeLessThanOrEqual(0);
    expect(top_logprobs).toHaveLength(2);
    expect(top_logprobs[0]).toMatchObject({ token, logprob });
  }
});
