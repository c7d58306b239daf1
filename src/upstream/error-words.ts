import { asObject } from './json.ts';

export interface ErrorWords {
  readonly code: string | null;
  readonly message: string;
}

/**
 * Returns what an error says to people. Model servers, and gateways before them, use these shapes:
 * `{"error": {"message", "code"}}`, `{"error": "text"}`, `{"detail": …}`, `{"message"}`, lists of those, plain text. The
 * message is empty when the error says nothing.
 */
export function errorWords(value: unknown): ErrorWords {
  const { code, message } = wordsOf(value, 0);
  return { code, message: message.trim().slice(0, MESSAGE_MAX).toWellFormed() };
}

/** The same as `errorWords`, for the body of an answer. */
export function errorWordsOf(body: Uint8Array): ErrorWords {
  const text = Buffer.from(body.buffer, body.byteOffset, body.byteLength).toString();
  try {
    return errorWords(JSON.parse(text));
  } catch {
    return errorWords(text);
  }
}

/** Returns the parameter that an error in OpenAI's shape is about. */
export function paramOf(body: Uint8Array): string | null {
  const text = Buffer.from(body.buffer, body.byteOffset, body.byteLength).toString();
  try {
    const param = asObject(asObject(JSON.parse(text))?.['error'])?.['param'];
    return typeof param === 'string' ? param : null;
  } catch {
    return null; // It is not JSON, so it names none.
  }
}

const MESSAGE_MAX = 500;
const DEPTH_MAX = 4;
const NOTHING: ErrorWords = { code: null, message: '' };

/** These are read in this order. The first that says something is taken. */
const SPEAKING = [
  'error',
  'message',
  'detail',
  'msg',
  'errors',
  'error_message',
  'error_description',
  'reason',
  'title',
];

function wordsOf(value: unknown, depth: number): ErrorWords {
  if (typeof value === 'string') return { code: null, message: PAGE.test(value) ? pageWords(value) : value };
  if (depth >= DEPTH_MAX) return NOTHING;
  if (Array.isArray(value)) return wordsOf(value[0], depth + 1);
  const object = asObject(value);
  if (object === undefined) return NOTHING;
  const own = codeOf(object['code']) ?? codeOf(object['type']);
  for (const key of SPEAKING) {
    const { code, message } = wordsOf(object[key], depth + 1);
    if (message.trim() !== '') return { code: code ?? own, message: placed(object['loc'], message) };
  }
  return { code: own, message: '' };
}

const PAGE = /^\s*<(!doctype|\?xml|html|head|body)\b/i;
const PAGE_CHARACTERS_MAX = 8_192;

/** Returns what a page of a gateway or a proxy says: its title, or else its text. */
function pageWords(page: string): string {
  const start = page.slice(0, PAGE_CHARACTERS_MAX);
  const [, title = ''] = /<title[^>]*>([^<]*)/i.exec(start) ?? [];
  if (title.trim() !== '') return title;
  return start
    .replaceAll(/<(script|style)\b[^]*?(<\/\1>|$)/gi, ' ')
    .replaceAll(/<[^>]*>?/g, ' ')
    .replaceAll(/\s+/g, ' ');
}

/** Some validators name the member that they mean beside their message. */
const placed = (loc: unknown, message: string): string =>
  Array.isArray(loc) && loc.length > 0 ? `${loc.join('.')}: ${message}` : message;

const codeOf = (code: unknown): string | null => {
  if (typeof code === 'number') return String(code);
  return typeof code === 'string' && code !== '' ? code.slice(0, 100).toWellFormed() : null;
};
