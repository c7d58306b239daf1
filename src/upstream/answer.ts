import { isUtf8 } from 'node:buffer';
import type { IncomingHttpHeaders } from 'node:http';
import type { Usage } from '../contract/batch.ts';
import type { Clock } from '../core/clock.ts';
import { NO_USAGE } from './port.ts';

export interface AnswerBody {
  readonly body: Uint8Array;
  readonly usage: Usage;
}

/** Why the body is no answer. */
export interface NoAnswer {
  readonly reason: 'bad_answer' | 'foreign_answer';
  readonly why: string;
}

/**
 * A JSON object on one line, and its usage. The bytes are kept as they came: they are parsed only to be checked and for
 * `usage`.
 */
export function readAnswer(bytes: Buffer, status: number, secret: string | null): AnswerBody | NoAnswer {
  const failed = status >= 400;
  const body = failed && secret !== null ? withoutSecret(bytes, secret) : bytes;
  const parsed = isUtf8(body) ? parseObject(body) : undefined;
  if (parsed !== undefined) return { body: onOneLine(body), usage: readUsage(parsed) };
  if (failed) return errorAnswer(status, body.toString('utf8', 0, 4 * ERROR_TEXT_MAX));
  const { reason, what } = describe(body);
  return { reason, why: `its answer (${status}) is ${what}` };
}

/** Stands for the body of an error that came with none, or with one that is not JSON, such as a proxy's page. */
export function errorAnswer(status: number, text: string): AnswerBody {
  const message = text.trim().slice(0, ERROR_TEXT_MAX).toWellFormed() || 'The upstream sent no body.';
  const error = { message, type: 'upstream_error', code: String(status) };
  return { body: Buffer.from(JSON.stringify({ error })), usage: NO_USAGE };
}

const ERROR_TEXT_MAX = 500;

/** Milliseconds that the upstream asks to be left alone, clamped to [0, 10 min]; null when it does not say. */
export function parseRetryAfterMs(headers: IncomingHttpHeaders, clock: Clock): number | null {
  const ms = firstOf(headers['retry-after-ms']);
  if (ms !== undefined && NUMBER.test(ms)) return clampWait(Number(ms));
  const after = firstOf(headers['retry-after']);
  if (after === undefined) return null;
  if (NUMBER.test(after)) return clampWait(Number(after) * 1000);
  const dateMs = Date.parse(after);
  return Number.isNaN(dateMs) ? null : clampWait(dateMs - clock.now());
}

/** A header that came twice is an array. */
export const firstOf = (header: string | string[] | undefined): string | undefined =>
  Array.isArray(header) ? header[0] : header;

const NUMBER = /^-?\d+(\.\d+)?$/;
const RETRY_AFTER_MS_MAX = 600_000;
const clampWait = (ms: number): number => Math.min(Math.max(0, Math.ceil(ms)), RETRY_AFTER_MS_MAX);

type JsonObject = Readonly<Record<string, unknown>>;

function parseObject(body: Buffer): JsonObject | undefined {
  try {
    // Read as latin1, UTF-8 stays valid or invalid JSON, and needs no decoding: only ASCII members are looked at.
    return asObject(JSON.parse(body.toString('latin1')));
  } catch {
    return undefined; // Not JSON: the caller says what it is.
  }
}

const asObject = (value: unknown): JsonObject | undefined =>
  typeof value === 'object' && value !== null && !Array.isArray(value) ? (value as JsonObject) : undefined;

/** In valid JSON a raw newline can only be white space. */
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

/** Bounded, so that no upstream can make a batch's sum overflow. */
const toCount = (value: unknown): number =>
  typeof value === 'number' && Number.isInteger(value) && value > 0 ? Math.min(value, 1e9) : 0;

/** Keys shorter than this are placeholders such as `ollama`, which may well occur in an honest answer. */
const SECRET_LENGTH_MIN = 12;

const withoutSecret = (body: Buffer, secret: string): Buffer =>
  secret.length >= SECRET_LENGTH_MIN && body.includes(secret)
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
  if (start.startsWith('data:') || start.startsWith('event:')) return 'an event stream, not one JSON value';
  if (/^["[\d-]|^(true|false|null)\b/.test(start)) return 'JSON, but not an object';
  return 'text, not JSON: is the base URL that of an API?';
}
