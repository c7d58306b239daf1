import type { BatchEndpoint, Usage } from '../../contract/batch.ts';
import { isObject, type JsonObject } from '../json.ts';
import { answerEmbeddings } from './embeddings.ts';
import { modelVersionOf } from './models.ts';
import { tokenLogprobs } from './logprobs.ts';
import { createRandom, type Random } from './random.ts';
import { chosenTool, reply, type Reply } from './reply.ts';
import { missing, RequestError, tooMany } from './request-error.ts';
import { estimateTokens, tokensOf } from './tokens.ts';
import { checkRequest } from './validation.ts';

/** An answer depends on these besides the request. `digest` is made from the seed and the request's bytes. */
export interface AnswerContext {
  /** It has 64 hex digits. */
  readonly digest: string;
  readonly nowS: number;
  readonly model: string;
}

export interface Answer {
  readonly body: object;
  readonly usage: Usage;
}

/** Makes the answer in the original's shape. Throws `RequestError` for what the original would refuse. */
export function answer(endpoint: BatchEndpoint, body: JsonObject, context: AnswerContext): Answer {
  if (body['stream'] === true)
    throw new RequestError(
      "The simulator does not stream. Leave 'stream' out, or set it to false.",
      'stream',
      'unsupported_value',
    );
  checkRequest(endpoint, body, context.model);
  const random = createRandom(Number.parseInt(context.digest.slice(0, 8), 16));
  switch (endpoint) {
    case '/chat/completions':
      return answerChat(body, context, random);
    case '/completions':
      return answerCompletion(body, context, random);
    case '/responses':
      return answerResponse(body, context, random);
    case '/embeddings':
      return answerEmbeddings(body, context.model);
  }
}

function answerChat(body: JsonObject, context: AnswerContext, random: Random): Answer {
  const messages = listOf(body['messages']);
  const replies = Array.from({ length: choicesOf(body) }, () =>
    reply(
      { question: lastText(messages), format: body['response_format'], body, tool: chosenTool(body) },
      random,
    ),
  );
  const usage = usageOf(messages, replies);
  return {
    usage,
    body: {
      choices: replies.map(({ text, call, cut }, index) => ({
        content_filter_results: call === null ? SAFE : {},
        finish_reason: cut ? 'length' : call === null || call.named ? 'stop' : 'tool_calls',
        index,
        logprobs:
          body['logprobs'] === true && call === null
            ? { content: tokenLogprobs(text, topOf(body), random), refusal: null }
            : null,
        message: {
          annotations: [],
          content: call === null ? text : null,
          refusal: null,
          role: 'assistant',
          ...(call !== null && {
            tool_calls: [
              {
                id: `call_${context.digest.slice(24, 48)}`,
                type: 'function',
                function: { name: call.name, arguments: text },
              },
            ],
          }),
        },
      })),
      created: context.nowS,
      id: `chatcmpl-${context.digest.slice(0, 29)}`,
      model: modelVersionOf(context.model),
      object: 'chat.completion',
      prompt_filter_results: PROMPT_SAFE,
      simulated: true,
      system_fingerprint: FINGERPRINT,
      usage: chatUsage(usage),
    },
  };
}

function answerCompletion(body: JsonObject, context: AnswerContext, random: Random): Answer {
  const { prompt } = body;
  if (typeof prompt !== 'string' && !Array.isArray(prompt)) throw missing('prompt');
  const prompts =
    Array.isArray(prompt) && prompt.every((item) => typeof item === 'string') ? prompt : [textOf(prompt)];
  if (prompts.length * choicesOf(body) > CHOICES_MAX) throw tooMany('prompt', CHOICES_MAX);
  const replies = prompts.flatMap((question) =>
    Array.from({ length: choicesOf(body) }, () => reply({ question, body, tool: null }, random)),
  );
  const usage = usageOf(prompts, replies);
  return {
    usage,
    body: {
      choices: replies.map(({ text, cut }, index) => ({
        content_filter_results: SAFE,
        finish_reason: cut ? 'length' : 'stop',
        index,
        logprobs: typeof body['logprobs'] === 'number' ? textLogprobs(text, body['logprobs'], random) : null,
        text,
      })),
      created: context.nowS,
      id: `cmpl-${context.digest.slice(0, 29)}`,
      model: modelVersionOf(context.model),
      object: 'text_completion',
      prompt_filter_results: PROMPT_SAFE,
      simulated: true,
      system_fingerprint: FINGERPRINT,
      usage: chatUsage(usage),
    },
  };
}

function answerResponse(body: JsonObject, context: AnswerContext, random: Random): Answer {
  const { input, instructions } = body;
  const items = typeof input === 'string' ? [{ role: 'user', content: input }] : listOf(input);
  const format = isObject(body['text']) ? body['text']['format'] : undefined;
  const made = reply({ question: lastText(items), format, body, tool: chosenTool(body) }, random);
  const usage = usageOf([instructions, ...items], [made]);
  const status = made.cut ? 'incomplete' : 'completed';
  const output =
    made.call === null
      ? {
          id: `msg_${context.digest}`,
          type: 'message',
          role: 'assistant',
          status,
          content: [
            {
              type: 'output_text',
              text: made.text,
              annotations: [],
              logprobs: listOf(body['include']).includes('message.output_text.logprobs')
                ? tokenLogprobs(made.text, topOf(body), random)
                : [],
            },
          ],
        }
      : {
          id: `fc_${context.digest}`,
          type: 'function_call',
          call_id: `call_${context.digest.slice(24, 48)}`,
          name: made.call.name,
          arguments: made.text,
          status,
        };
  return {
    usage,
    body: {
      id: `resp_${context.digest}`,
      access_programs: null,
      object: 'response',
      created_at: context.nowS,
      completed_at: made.cut ? null : context.nowS,
      background: false,
      status,
      error: null,
      incomplete_details: made.cut ? { reason: 'max_output_tokens' } : null,
      instructions: typeof instructions === 'string' ? instructions : null,
      max_output_tokens: body['max_output_tokens'] ?? null,
      metadata: body['metadata'] ?? {},
      model: modelVersionOf(context.model),
      output: [output],
      parallel_tool_calls: body['parallel_tool_calls'] ?? true,
      previous_response_id: null,
      simulated: true,
      temperature: body['temperature'] ?? 1,
      text: { format: format ?? { type: 'text' }, verbosity: 'medium' },
      top_logprobs: topOf(body),
      truncation: body['truncation'] ?? 'disabled',
      tool_choice: body['tool_choice'] ?? 'auto',
      tools: listOf(body['tools']).map(asTool),
      top_p: body['top_p'] ?? 1,
      usage: {
        input_tokens: usage.inputTokens,
        input_tokens_details: { cache_write_tokens: 0, cached_tokens: 0 },
        output_tokens: usage.outputTokens,
        output_tokens_details: { reasoning_tokens: 0 },
        total_tokens: usage.inputTokens + usage.outputTokens,
      },
    },
  };
}

function usageOf(inputs: readonly unknown[], replies: readonly Reply[]): Usage {
  return {
    inputTokens: inputs.reduce<number>((sum, input) => sum + tokensOf(input), 3),
    cachedTokens: 0,
    outputTokens: replies.reduce((sum, { text }) => sum + estimateTokens(text), 0),
    reasoningTokens: 0,
  };
}

/** Returns the last thing that a person said. */
function lastText(messages: readonly unknown[]): string {
  const said =
    messages.findLast((message) => isObject(message) && message['role'] === 'user') ?? messages.at(-1);
  return isObject(said) ? textOf(said['content']) : textOf(said);
}

function textOf(content: unknown): string {
  if (typeof content === 'string') return content;
  if (!Array.isArray(content)) return '';
  const part = content.find(
    (item) => typeof item === 'string' || (isObject(item) && typeof item['text'] === 'string'),
  );
  return isObject(part) ? String(part['text']) : String(part ?? '');
}

const choicesOf = ({ n }: JsonObject): number => (typeof n === 'number' ? n : 1);
const topOf = ({ top_logprobs: top }: JsonObject): number => (typeof top === 'number' ? top : 0);
const listOf = (value: unknown): readonly unknown[] => (Array.isArray(value) ? value : []);

/** Responses give a function back like this, with the defaults of what the caller left out. */
const asTool = (tool: unknown): unknown =>
  isObject(tool) && tool['type'] === 'function' ? { parameters: null, strict: true, ...tool } : tool;

function textLogprobs(text: string, top: number, random: Random): object {
  const tokens = tokenLogprobs(text, top, random);
  let at = 0;
  return {
    tokens: tokens.map(({ token }) => token),
    token_logprobs: tokens.map(({ logprob }) => logprob),
    top_logprobs: tokens.map(({ top_logprobs: likely }) =>
      Object.fromEntries(likely.map(({ token, logprob }) => [token, logprob])),
    ),
    text_offset: tokens.map(({ token }) => (at += token.length) - token.length),
  };
}

const chatUsage = ({ inputTokens, outputTokens }: Usage) => ({
  completion_tokens: outputTokens,
  completion_tokens_details: {
    accepted_prediction_tokens: 0,
    audio_tokens: 0,
    reasoning_tokens: 0,
    rejected_prediction_tokens: 0,
  },
  prompt_tokens: inputTokens,
  prompt_tokens_details: { audio_tokens: 0, cached_tokens: 0 },
  total_tokens: inputTokens + outputTokens,
});

const CHOICES_MAX = 128;
const FINGERPRINT = 'fp_simulated';
const OK = { filtered: false, severity: 'safe' };
const SAFE = { hate: OK, self_harm: OK, sexual: OK, violence: OK };
const PROMPT_SAFE = [
  { prompt_index: 0, content_filter_results: { ...SAFE, jailbreak: { filtered: false, detected: false } } },
];
