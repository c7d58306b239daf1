import { readFileSync } from 'node:fs';
import { Ajv2020 } from 'ajv/dist/2020.js';
import { describe, expect, test } from 'vitest';
import type { BatchEndpoint } from '../../contract/batch.ts';
import type { Clock } from '../../core/clock.ts';
import type { UpstreamAnswer, UpstreamReply } from '../port.ts';
import { createSimulator } from './simulator.ts';
import type { SimulatorOptions } from './simulator.ts';

/** A clock that stands still, save for sleeps, which pass at once. */
function createTestClock() {
  let nowMs = 0;
  const slept: number[] = [];
  const clock: Clock = {
    now: () => Date.UTC(2026, 10, 23) + nowMs,
    mono: () => nowMs,
    sleep: async (delayMs, signal) => {
      signal?.throwIfAborted();
      slept.push(delayMs);
      nowMs += delayMs;
    },
  };
  return { clock, slept, advance: (ms: number) => (nowMs += ms) };
}

const never = new AbortController().signal;

/** Sends one line as the dispatcher does. */
function caller(options: SimulatorOptions = {}) {
  const simulator = createSimulator({ clock: createTestClock().clock, ...options });
  return async (
    body: unknown,
    endpoint: BatchEndpoint = '/chat/completions',
    signal = never,
  ): Promise<UpstreamReply> => {
    const bytes = Buffer.from(typeof body === 'string' ? body : JSON.stringify(body));
    return simulator.call(
      { endpoint, body: bytes, model: { start: 0, end: 0 }, idempotencyKey: 'k' },
      signal,
    );
  };
}

// The tests read whatever came, so the shape is left open.
type Json = ReturnType<typeof JSON.parse>;

function asAnswer(reply: UpstreamReply): UpstreamAnswer & { json: Json } {
  if (reply.kind !== 'answer') throw new Error(reply.message);
  return { ...reply, json: JSON.parse(Buffer.from(reply.body).toString()) };
}

const ask = async (body: object, endpoint?: BatchEndpoint, options?: SimulatorOptions) =>
  asAnswer(await caller(options)(body, endpoint));

const user = (content: unknown) => [{ role: 'user', content }];
const chat = (extra: object = {}) => ({
  model: 'gpt-4o-batch-deployment',
  messages: user('Tell me a story.'),
  ...extra,
});

describe('chat completions', () => {
  test('the example’s three questions are answered, plainly marked as simulated', async () => {
    const lines = readFileSync(new URL('../../../examples/test.jsonl', import.meta.url), 'utf8')
      .trim()
      .split('\n');
    const call = caller({ model: 'gpt-4o' });

    const said = [];
    for (const line of lines)
      said.push(asAnswer(await call(JSON.parse(line).body)).json.choices[0].message.content);

    expect(said).toEqual([
      expect.stringMatching(/^\[simulated\] .*April 4, 1975/),
      expect.stringMatching(/^\[simulated\] .*November 15, 2001/),
      expect.stringMatching(/^\[simulated\] .*MITS Altair 8800/),
    ]);
  });

  test('an answer has the original’s shape', async () => {
    const { json, usage, status, requestId } = await ask(chat());

    expect(status).toBe(200);
    expect(requestId).toMatch(/^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/);
    const safe = { filtered: false, severity: 'safe' };
    const filters = { hate: safe, self_harm: safe, sexual: safe, violence: safe };
    expect(json).toEqual({
      choices: [
        {
          content_filter_results: filters,
          finish_reason: 'stop',
          index: 0,
          logprobs: null,
          message: {
            annotations: [],
            content: expect.stringMatching(/^\[simulated\] /),
            refusal: null,
            role: 'assistant',
          },
        },
      ],
      created: Date.UTC(2026, 10, 23) / 1000,
      id: expect.stringMatching(/^chatcmpl-/),
      model: 'gpt-4o-2024-08-06',
      object: 'chat.completion',
      prompt_filter_results: [
        {
          prompt_index: 0,
          content_filter_results: { ...filters, jailbreak: { filtered: false, detected: false } },
        },
      ],
      simulated: true,
      system_fingerprint: 'fp_simulated',
      usage: {
        completion_tokens: usage.outputTokens,
        completion_tokens_details: {
          accepted_prediction_tokens: 0,
          audio_tokens: 0,
          reasoning_tokens: 0,
          rejected_prediction_tokens: 0,
        },
        prompt_tokens: usage.inputTokens,
        prompt_tokens_details: { audio_tokens: 0, cached_tokens: 0 },
        total_tokens: usage.inputTokens + usage.outputTokens,
      },
    });
    expect(usage.inputTokens).toBe(3 + 4 + 4);
  });

  test.each([
    ['gpt-4o', 'gpt-4o-2024-08-06'],
    ['gpt-4o-mini-batch', 'gpt-4o-mini-2024-07-18'],
    ['gpt-4o-2024-11-20', 'gpt-4o-2024-11-20'],
    ['llama-3.3', 'llama-3.3'],
  ])('the deployment %s answers as %s', async (model, version) => {
    expect((await ask(chat({ model }))).json.model).toBe(version);
  });

  test('a Korean question is answered in Korean, an image is taken, and odd contents do no harm', async () => {
    const image = { type: 'image_url', image_url: { url: 'data:image/png;base64,AAAA' } };
    const contents = ['서울의 날씨는 어때?', [{ type: 'text', text: 'What is this?' }, image], [], [image]];

    const said = [];
    for (const content of contents)
      said.push((await ask(chat({ messages: user(content) }))).json.choices[0].message.content);

    expect(said[0]).toContain('질문: “서울의 날씨는 어때?”');
    expect(said[1]).toContain('What is this?');
    for (const text of said) expect(text).toMatch(/^\[simulated\] /);
  });

  test('n choices are given, and a token limit cuts them short', async () => {
    const { json, usage } = await ask(chat({ n: 3, max_completion_tokens: 5 }));

    expect(json.choices.map((choice: Json) => choice.finish_reason)).toEqual(['length', 'length', 'length']);
    expect(json.choices[2].message.content).toHaveLength(20);
    expect(usage.outputTokens).toBe(15);
  });

  test('json_schema gets content that satisfies the schema, json_object an object', async () => {
    const schema = {
      type: 'object',
      properties: {
        city: { type: 'string', minLength: 3 },
        celsius: { type: 'number', minimum: -50, maximum: 50 },
      },
      required: ['city', 'celsius'],
      additionalProperties: false,
    };
    const strict = await ask(
      chat({ response_format: { type: 'json_schema', json_schema: { name: 'w', strict: true, schema } } }),
    );
    const loose = await ask(
      chat({ messages: user('A story, as JSON.'), response_format: { type: 'json_object' } }),
    );

    const validate = new Ajv2020().compile(schema);
    expect(validate(JSON.parse(strict.json.choices[0].message.content))).toBe(true);
    expect(JSON.parse(loose.json.choices[0].message.content)).toMatchObject({ simulated: true });
  });

  const weather = {
    type: 'function',
    function: {
      name: 'get_weather',
      parameters: { type: 'object', properties: { city: { enum: ['Seoul', 'Busan'] } }, required: ['city'] },
    },
  };

  test.each([
    ['required', 'tool_calls'],
    [{ type: 'function', function: { name: 'get_weather' } }, 'stop'],
  ])('tool_choice %j gets a call whose arguments satisfy the parameters', async (choice, reason) => {
    const { json } = await ask(chat({ tools: [weather], tool_choice: choice }));

    const [{ finish_reason, message }] = json.choices;
    expect(finish_reason).toBe(reason);
    expect(message.content).toBeNull();
    expect(message.tool_calls).toMatchObject([{ type: 'function', function: { name: 'get_weather' } }]);
    expect(['Seoul', 'Busan']).toContain(JSON.parse(message.tool_calls[0].function.arguments).city);
  });

  test('tools that need not be called are not', async () => {
    const { json } = await ask(chat({ tools: [weather], tool_choice: 'auto' }));

    expect(json.choices[0].message.content).toMatch(/^\[simulated\] /);
  });
});

describe('the other endpoints', () => {
  test('completions answer each prompt', async () => {
    const { json, usage } = await ask(
      { model: 'gpt-35-turbo', prompt: ['Once', 'Twice'], n: 2 },
      '/completions',
    );

    expect(json).toMatchObject({ object: 'text_completion', model: 'gpt-35-turbo-0125', simulated: true });
    expect(json.choices.map((choice: Json) => choice.index)).toEqual([0, 1, 2, 3]);
    expect(json.choices[2].text).toMatch(/^\[simulated\] .*Twice/);
    expect(usage.outputTokens).toBe(json.usage.completion_tokens);
  });

  test('responses have their own shape, formats and function calls', async () => {
    const schema = { type: 'object', properties: { ok: { type: 'boolean' } }, required: ['ok'] };
    const plain = await ask({ model: 'gpt-4.1', input: 'When was Microsoft founded?' }, '/responses');
    const items = [{ role: 'user', content: [{ type: 'input_text', text: 'Hi' }] }];
    const strict = await ask(
      { model: 'o3-mini', input: items, text: { format: { type: 'json_schema', name: 'x', schema } } },
      '/responses',
    );
    const called = await ask(
      {
        model: 'x',
        input: 'hi',
        tools: [{ type: 'function', name: 'f', parameters: schema }],
        tool_choice: 'required',
      },
      '/responses',
    );

    expect(plain.json).toMatchObject({
      object: 'response',
      status: 'completed',
      model: 'gpt-4.1-2025-04-14',
      simulated: true,
    });
    expect(plain.json.output[0].content[0]).toMatchObject({
      type: 'output_text',
      text: expect.stringContaining('1975'),
    });
    expect(plain.json.usage).toMatchObject({
      input_tokens: plain.usage.inputTokens,
      output_tokens: plain.usage.outputTokens,
    });
    expect(JSON.parse(strict.json.output[0].content[0].text)).toEqual({ ok: expect.any(Boolean) });
    expect(called.json.output[0]).toMatchObject({ type: 'function_call', name: 'f' });
    expect(JSON.parse(called.json.output[0].arguments)).toEqual({ ok: expect.any(Boolean) });
  });

  test('embeddings are unit vectors of the size asked for, the same for the same text', async () => {
    const input = ['one', 'two', 'one'];
    const { json, usage } = await ask(
      { model: 'text-embedding-3-large', input, dimensions: 256 },
      '/embeddings',
    );
    const lone = await ask({ model: 'text-embedding-3-small', input: 'one' }, '/embeddings');
    const packed = await ask(
      { model: 'x', input: 'one', dimensions: 256, encoding_format: 'base64' },
      '/embeddings',
    );

    const vectors: number[][] = json.data.map((item: Json) => item.embedding);
    for (const vector of vectors) expect(Math.hypot(...vector)).toBeCloseTo(1, 5);
    expect(vectors[0]).toHaveLength(256);
    expect(vectors[2]).toEqual(vectors[0]);
    expect(vectors[1]).not.toEqual(vectors[0]);
    expect(lone.json.data[0].embedding).toHaveLength(1536);
    const bytes = Buffer.from(packed.json.data[0].embedding, 'base64');
    expect([...new Float32Array(bytes.buffer, bytes.byteOffset, 256)]).toEqual([
      ...new Float32Array(vectors[0]!),
    ]);
    expect(usage).toEqual({ inputTokens: 3, cachedTokens: 0, outputTokens: 0, reasoningTokens: 0 });
  });

  test('tokens as input count one each', async () => {
    const { json } = await ask({ model: 'x', input: [[1, 2, 3], [4]], dimensions: 4 }, '/embeddings');
    const lone = await ask({ model: 'x', input: [1, 2, 3], dimensions: 4 }, '/embeddings');

    expect(json.data).toHaveLength(2);
    expect(json.usage.prompt_tokens).toBe(4);
    expect(lone.json.data).toHaveLength(1);
  });
});

describe('what a real server would refuse', () => {
  const deep = `{"model":"x","messages":[{"role":"user","content":${'['.repeat(200_000)}${']'.repeat(200_000)}}]}`;

  test.each<[string, BatchEndpoint, unknown, string | null]>([
    ['no messages', '/chat/completions', { model: 'x' }, 'messages'],
    ['empty messages', '/chat/completions', { messages: [] }, 'messages'],
    ['a stream', '/chat/completions', chat({ stream: true }), 'stream'],
    ['too many choices', '/chat/completions', chat({ n: 1e9 }), 'n'],
    [
      'a schema without a schema',
      '/chat/completions',
      chat({ response_format: { type: 'json_schema', json_schema: { name: 'x' } } }),
      'response_format.json_schema.schema',
    ],
    ['a tool that is not there', '/chat/completions', chat({ tools: [], tool_choice: 'required' }), 'tools'],
    [
      'a schema of a billion items',
      '/chat/completions',
      chat({
        response_format: {
          type: 'json_schema',
          json_schema: { name: 'x', schema: { type: 'array', minItems: 1e9 } },
        },
      }),
      'response_format',
    ],
    ['nesting without an end', '/chat/completions', deep, 'messages[0].content[0]'],
    ['not JSON', '/chat/completions', '{"model"', null],
    ['not an object', '/chat/completions', '[1]', null],
    ['no prompt', '/completions', {}, 'prompt'],
    ['a million prompts', '/completions', { prompt: Array(1e6).fill('x') }, 'prompt'],
    ['no input', '/responses', {}, 'input'],
    ['no texts', '/embeddings', { input: [] }, null],
    ['too many texts', '/embeddings', { input: Array(2_049).fill('x') }, 'input'],
    ['too many numbers', '/embeddings', { input: Array(2_000).fill('x'), dimensions: 4_096 }, 'input'],
    ['half a dimension', '/embeddings', { input: 'x', dimensions: 1.5 }, 'dimensions'],
  ])('%s: a 400 with an error in its shape', async (_what, endpoint, body, param) => {
    const { status, json } = asAnswer(await caller()(body, endpoint));

    expect(status).toBe(400);
    expect(json.error).toMatchObject({ message: expect.any(String), type: 'invalid_request_error', param });
  });
});

describe('chance', () => {
  test('the same seed and bytes give the same answer, another seed or byte another', async () => {
    const once = await ask(chat());
    const again = await ask(chat());
    const otherSeed = await ask(chat(), '/chat/completions', { seed: 2 });
    const otherBytes = await ask(chat({ user: 'x' }));

    expect(again.body).toEqual(once.body);
    expect(otherSeed.json.id).not.toBe(once.json.id);
    expect(otherBytes.json.id).not.toBe(once.json.id);
  });

  test('the error rate is kept, and a request that failed may pass the next time', async () => {
    const outcomes = async (seed: number) => {
      const call = caller({ seed, errorRate: 0.2, errorStatuses: [500, 429] });
      const statuses = [];
      for (let n = 0; n < 2_000; n++) statuses.push(asAnswer(await call(chat())).status);
      return statuses;
    };

    const [first, again, other] = [await outcomes(1), await outcomes(1), await outcomes(2)];

    const share = (status: number) => first.filter((each) => each === status).length / 2_000;
    expect(share(500) + share(429)).toBeCloseTo(0.2, 1);
    expect(share(500)).toBeCloseTo(0.1, 1);
    expect(again).toEqual(first);
    expect(other).not.toEqual(first);
  });

  test('an injected 429 says when to come back', async () => {
    const { status, retryAfterMs, json } = await ask(chat(), '/chat/completions', {
      errorRate: 1,
      errorStatuses: [429],
    });

    expect({ status, retryAfterMs }).toEqual({ status: 429, retryAfterMs: 1_000 });
    expect(json.error).toMatchObject({ code: '429', message: expect.stringContaining('[simulated]') });
  });
});

describe('time', () => {
  test('latency and speed add up', async () => {
    const { clock, slept } = createTestClock();
    const call = caller({ clock, latencyMs: 200, tokensPerSecond: 10 });

    const { usage } = asAnswer(await call(chat({ max_tokens: 5 })));

    expect(usage.outputTokens).toBe(5);
    expect(slept).toEqual([700]);
  });

  test('a range of latencies is used in full', async () => {
    const { clock, slept } = createTestClock();
    const call = caller({ clock, latencyMs: [100, 200] });

    for (let n = 0; n < 200; n++) await call(chat());

    expect(Math.min(...slept)).toBeGreaterThanOrEqual(100);
    expect(Math.min(...slept)).toBeLessThan(110);
    expect(Math.max(...slept)).toBeLessThanOrEqual(200);
    expect(Math.max(...slept)).toBeGreaterThan(190);
  });

  test('a request that hangs ends by its deadline or by abort', async () => {
    const call = caller({ hangRate: 1, timeoutMs: 5_000 });
    const patient = createSimulator({ hangRate: 1 });
    const abort = new AbortController();
    const hanging = patient.call(
      {
        endpoint: '/chat/completions',
        body: Buffer.from('{}'),
        model: { start: 0, end: 0 },
        idempotencyKey: 'k',
      },
      abort.signal,
    );

    abort.abort();

    expect(await call(chat())).toMatchObject({ kind: 'failure', reason: 'timeout' });
    expect(await hanging).toMatchObject({ kind: 'failure', reason: 'aborted' });
    expect(await call(chat(), '/chat/completions', AbortSignal.abort())).toMatchObject({ reason: 'aborted' });
  });

  test('requests per minute are limited, and retry-after tells the truth', async () => {
    const { clock, advance } = createTestClock();
    const call = caller({ clock, requestsPerMinute: 6 });
    for (let n = 0; n < 6; n++) expect(asAnswer(await call(chat())).status).toBe(200);

    const refused = asAnswer(await call(chat()));
    advance(refused.retryAfterMs! - 1);
    const early = asAnswer(await call(chat()));
    advance(1);
    const inTime = asAnswer(await call(chat()));

    expect([refused.status, early.status, inTime.status]).toEqual([429, 429, 200]);
    expect(refused.retryAfterMs).toBe(10_000);
  });

  test('tokens per minute are limited, and a request larger than a minute still passes in the end', async () => {
    const { clock, advance } = createTestClock();
    const call = caller({ clock, tokensPerMinute: 10 });

    const first = asAnswer(await call(chat()));
    const refused = asAnswer(await call(chat()));
    advance(refused.retryAfterMs!);
    const second = asAnswer(await call(chat()));

    expect([first.status, refused.status, second.status]).toEqual([200, 429, 200]);
    expect(first.usage.inputTokens + first.usage.outputTokens).toBeGreaterThan(10);
  });
});
