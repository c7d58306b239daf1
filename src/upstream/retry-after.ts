import type { IncomingHttpHeaders } from 'node:http';
import type { Clock } from '../core/clock.ts';
import { errorWords } from './error-words.ts';
import { asObject } from './json.ts';

/** Returns for how long the upstream asks to be left alone, clamped to [0, 10 min], or null when it does not say. */
export function parseRetryAfterMs(headers: IncomingHttpHeaders, clock: Clock): number | null {
  const ms = firstOf(headers['retry-after-ms']);
  if (ms !== undefined && NUMBER.test(ms)) return clampWait(Number(ms));
  const after = firstOf(headers['retry-after']);
  if (after === undefined) return null;
  if (NUMBER.test(after)) return clampWait(Number(after) * 1000);
  const dateMs = Date.parse(after);
  return Number.isNaN(dateMs) ? null : clampWait(dateMs - clock.now());
}

/**
 * Reads the same from the body of an error that came without the header: from a member (`retry_after`, Google's `retryDelay`),
 * or from its message ("Please try again in 20s.", "Please retry after 26 seconds.").
 */
export function retryAfterMsOf(body: Uint8Array): number | null {
  let value: unknown;
  try {
    value = JSON.parse(Buffer.from(body.buffer, body.byteOffset, body.byteLength).toString());
  } catch {
    return null; // It is not JSON, which our own errors and all answers are.
  }
  const ms = memberMs(value, 0) ?? messageMs(errorWords(value).message);
  return ms === null ? null : clampWait(ms);
}

/** Returns the first value: a header that came twice is an array. */
export const firstOf = (header: string | string[] | undefined): string | undefined =>
  Array.isArray(header) ? header[0] : header;

const NUMBER = /^-?\d+(\.\d+)?$/;
const RETRY_AFTER_MS_MAX = 600_000;
const clampWait = (ms: number): number => Math.min(Math.max(0, Math.ceil(ms)), RETRY_AFTER_MS_MAX);

/** Servers name the wait in these members. A bare number counts units of this many milliseconds. */
const MEMBERS: Readonly<Record<string, number>> = {
  retry_after_ms: 1,
  retryAfterMs: 1,
  retry_after: 1_000,
  retryAfter: 1_000,
  retry_after_seconds: 1_000,
  retryDelay: 1_000,
};
/** It looks as deep as `error.metadata` and `error.details[]`, and no deeper. */
const DEPTH_MAX = 4;

function memberMs(value: unknown, depth: number): number | null {
  if (depth > DEPTH_MAX) return null;
  if (Array.isArray(value)) return firstMs(value, depth);
  const object = asObject(value);
  if (object === undefined) return null;
  for (const [name, unitMs] of Object.entries(MEMBERS)) {
    const said = object[name];
    if (typeof said === 'number' && said >= 0) return said * unitMs;
    if (typeof said === 'string' && said !== '')
      return NUMBER.test(said) ? Number(said) * unitMs : spanMs(said);
  }
  return firstMs(Object.values(object), depth);
}

function firstMs(values: readonly unknown[], depth: number): number | null {
  for (const value of values.slice(0, 20)) {
    const ms = memberMs(value, depth + 1);
    if (ms !== null) return ms;
  }
  return null;
}

const messageMs = (message: string): number | null => {
  const [, span] =
    /\b(?:retry|try again|wait)\b(?: again)?(?: after| in| for)? +(\d[\w. ]{0,20})/i.exec(message) ?? [];
  return span === undefined ? null : spanMs(span);
};

const UNITS_MS: Readonly<Record<string, number>> = { ms: 1, s: 1_000, m: 60_000, h: 3_600_000 };

/** Reads `20s`, `1m30.5s`, `250ms` and `26 seconds`. A number without a unit is in seconds. */
function spanMs(span: string): number | null {
  let ms: number | null = null;
  for (const [, number, word = ''] of span.matchAll(/(\d+(?:\.\d+)?) ?([a-z]*)/gi)) {
    const unit = word === '' ? 's' : /^(ms|milli)/i.test(word) ? 'ms' : (word[0] ?? '').toLowerCase();
    const unitMs = UNITS_MS[unit];
    if (unitMs === undefined) break;
    ms = (ms ?? 0) + Number(number) * unitMs;
  }
  return ms;
}
