import { isUtf8 } from 'node:buffer';
import type { BatchEndpoint, Usage } from '../contract/batch.ts';
import { errorWordsOf, type ErrorWords } from './error-words.ts';
import { answerOfStream, isEventStream } from './event-stream.ts';
import { faultOf } from './fault.ts';
import { asObject, type JsonObject } from './json.ts';
import { NO_USAGE } from './port.ts';

export interface AnswerBody {
  readonly body: Uint8Array;
  readonly usage: Usage;
  readonly fault: ErrorWords | null;
  /** True when the body was put together from a stream that nobody asked for. */
  readonly wasStreamed: boolean;
}

/** The body is no answer, and this is why. */
export interface NoAnswer {
  readonly reason: 'bad_answer' | 'foreign_answer';
  readonly why: string;
}

export interface AnswerContext {
  readonly status: number;
  /** Null stands for the list of models, which some servers send as a bare array. */
  readonly endpoint: BatchEndpoint | null;
  /** The upstream's key. It is masked where the upstream echoes it with a failure. */
  readonly secret: string | null;
}

/**
 * Returns the answer, a JSON object on one line, with its usage and the failure that it may carry. The bytes stay as they came:
 * they are parsed only to be read.
 */
export function readAnswer(bytes: Buffer, context: AnswerContext): AnswerBody | NoAnswer {
  const { status, endpoint, secret } = context;
  if (status >= 400) return readError(withoutSecret(bytes, secret), status);
  const body = withoutMark(bytes);
  const value = isUtf8(body) ? parse(body) : undefined;
  const answer = asObject(value);
  if (answer !== undefined) return toAnswer(body, answer, context);
  if (endpoint === null && Array.isArray(value)) return { ...REAL, body: onOneLine(body), usage: NO_USAGE };
  const streamed = endpoint === null ? undefined : readStream(body, { ...context, endpoint });
  if (streamed !== undefined) return streamed;
  const { reason, what } = describe(body);
  return { reason, why: `its answer (${status}) is ${what}` };
}

function toAnswer(
  body: Buffer,
  answer: JsonObject,
  { endpoint, secret }: Pick<AnswerContext, 'endpoint' | 'secret'>,
): AnswerBody {
  const usage = readUsage(answer);
  const isFault = endpoint !== null && faultOf(answer, endpoint) !== null;
  if (!isFault) return { ...REAL, body: onOneLine(body), usage };
  // People will read its words. So they are decoded as UTF-8, and the key is masked.
  const masked = withoutSecret(body, secret);
  const fault = faultOf(asObject(JSON.parse(masked.toString())) ?? answer, endpoint);
  return { ...REAL, body: onOneLine(masked), usage, fault };
}

const REAL = { fault: null, wasStreamed: false } as const;

function readError(body: Buffer, status: number): AnswerBody {
  const value = isUtf8(body) ? parse(body) : undefined;
  if (asObject(value) !== undefined) return { ...REAL, body: onOneLine(body), usage: NO_USAGE };
  return errorAnswer(status, errorWordsOf(body).message || body.toString('utf8', 0, 4 * ERROR_TEXT_MAX));
}

/** Makes the body of an error that came with none, or with one that is no JSON object, such as a proxy's page. */
export function errorAnswer(status: number, text: string): AnswerBody {
  const message = text.trim().slice(0, ERROR_TEXT_MAX).toWellFormed() || 'The upstream sent no body.';
  const error = { message, type: 'upstream_error', code: String(status) };
  return { ...REAL, body: Buffer.from(JSON.stringify({ error })), usage: NO_USAGE };
}

const ERROR_TEXT_MAX = 500;

/** Returns undefined when it is no event stream, or none that can be put together. */
function readStream(
  body: Buffer,
  context: AnswerContext & { readonly endpoint: BatchEndpoint },
): AnswerBody | undefined {
  if (!isEventStream(body.toString('latin1', 0, 16).trimStart())) return undefined;
  try {
    const answer = answerOfStream(body.toString(), context.endpoint);
    if (answer === undefined) return undefined;
    return { ...toAnswer(Buffer.from(JSON.stringify(answer)), answer, context), wasStreamed: true };
  } catch {
    return undefined; // It nests too deeply to be written again.
  }
}

/** Some frameworks begin with a byte order mark, which is not JSON. */
const withoutMark = (body: Buffer): Buffer =>
  body[0] === 0xef && body[1] === 0xbb && body[2] === 0xbf ? body.subarray(3) : body;

/** Returns undefined when it is not JSON. */
function parse(body: Buffer): unknown {
  try {
    // Only ASCII members are read here, so latin1 is enough and needs no decoding. It does not change whether UTF-8 is valid JSON.
    return JSON.parse(body.toString('latin1')) as unknown;
  } catch {
    return undefined; // It is not JSON. The caller says what it is.
  }
}

/** Makes raw newlines spaces. In valid JSON they can only be white space. */
function onOneLine(body: Buffer): Buffer {
  for (const newline of [0x0a, 0x0d]) {
    for (let at = body.indexOf(newline); at !== -1; at = body.indexOf(newline, at + 1)) body[at] = 0x20;
  }
  return body;
}

function readUsage(answer: JsonObject): Usage {
  const usage = asObject(answer['usage']);
  if (usage === undefined) return NO_USAGE;
  const input = asObject(usage['prompt_tokens_details'] ?? usage['input_tokens_details']);
  const output = asObject(usage['completion_tokens_details'] ?? usage['output_tokens_details']);
  return {
    inputTokens: toCount(usage['prompt_tokens'] ?? usage['input_tokens']),
    cachedTokens: toCount(input?.['cached_tokens']),
    outputTokens: toCount(usage['completion_tokens'] ?? usage['output_tokens']),
    reasoningTokens: toCount(output?.['reasoning_tokens']),
  };
}

/** The count is bounded, so that no upstream can make a batch's sum overflow. */
const toCount = (value: unknown): number =>
  typeof value === 'number' && Number.isInteger(value) && value > 0 ? Math.min(value, 1e9) : 0;

/** Keys shorter than this are placeholders such as `ollama`, which may well occur in an honest answer. */
const SECRET_LENGTH_MIN = 12;

const withoutSecret = (body: Buffer, secret: string | null): Buffer =>
  secret !== null && secret.length >= SECRET_LENGTH_MIN && body.includes(secret)
    ? Buffer.from(body.toString('latin1').replaceAll(secret, '***'), 'latin1')
    : body;

function describe(body: Buffer): { readonly reason: NoAnswer['reason']; readonly what: string } {
  if (body.length === 0) return { reason: 'foreign_answer', what: 'empty' };
  const start = body.toString('latin1', 0, 64).trimStart();
  if (start.startsWith('{'))
    return {
      reason: 'bad_answer',
      what: isUtf8(body) ? 'a JSON object that is cut or broken' : 'not UTF-8',
    };
  return { reason: 'foreign_answer', what: foreignWords(start) };
}

function foreignWords(start: string): string {
  if (start === '') return 'empty';
  if (start.startsWith('<')) return 'HTML or XML, not JSON: is the base URL that of an API?';
  if (isEventStream(start)) return 'an event stream that is cut, or none of a model API';
  if (/^["[\d-]|^(true|false|null)\b/.test(start)) return 'JSON, but not an object';
  return 'text, not JSON: is the base URL that of an API?';
}
