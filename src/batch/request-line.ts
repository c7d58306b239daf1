import { assert } from '../core/assert.ts';

/** Bytes `[start, end)` of a line. Of a string it includes the quotes, so that `line.subarray` is JSON. */
export interface ByteRange {
  readonly start: number;
  readonly end: number;
}

/** Where the parts of a request line lie. */
export interface RequestLine {
  readonly customId: ByteRange;
  readonly url: ByteRange;
  readonly body: ByteRange;
  /** `body.model`. */
  readonly model: ByteRange;
}

/**
 * Finds the parts of a line that validation has passed, without parsing it: valid UTF-8 and JSON, with each of the
 * members exactly once. Bytes that no validation saw make it throw or find nonsense, but it always ends.
 */
export function scanRequestLine(line: Buffer): RequestLine {
  let customId: ByteRange | undefined;
  let url: ByteRange | undefined;
  let body: ByteRange | undefined;
  let model: ByteRange | undefined;

  scanObject(line, skipSpace(line, 0), (name, start) => {
    if (name !== 'body') {
      const end = skipValue(line, start);
      if (name === 'custom_id') customId = { start, end };
      else if (name === 'url') url = { start, end };
      return end;
    }
    const end = scanObject(line, start, (member, at) => {
      const memberEnd = skipValue(line, at);
      if (member === 'model') model = { start: at, end: memberEnd };
      return memberEnd;
    });
    body = { start, end };
    return end;
  });

  assert(customId && url && body && model, 'a line was dispatched that validation has not passed');
  return { customId, url, body, model };
}

/** The text of a JSON string. */
export function stringAt(line: Buffer, { start, end }: ByteRange): string {
  const text = line.toString('utf8', start + 1, end - 1);
  return text.includes('\\') ? (JSON.parse(`"${text}"`) as string) : text;
}

const QUOTE = 0x22;
const COMMA = 0x2c;
const BACKSLASH = 0x5c;
const OPEN_BRACKET = 0x5b;
const CLOSE_BRACKET = 0x5d;
const OPEN_BRACE = 0x7b;
const CLOSE_BRACE = 0x7d;

/** Calls `onMember` with the name and the value's start, which returns the value's end. Returns the object's end. */
function scanObject(line: Buffer, start: number, onMember: (name: string, start: number) => number): number {
  let at = skipSpace(line, start + 1);
  while (line[at] === QUOTE) {
    const nameEnd = skipString(line, at);
    const name = stringAt(line, { start: at, end: nameEnd });
    const colon = skipSpace(line, nameEnd);
    at = skipSpace(line, onMember(name, skipSpace(line, colon + 1)));
    if (line[at] === COMMA) at = skipSpace(line, at + 1);
  }
  return at + 1;
}

function skipSpace(line: Buffer, start: number): number {
  let at = start;
  while (line[at] === 0x20 || line[at] === 0x09 || line[at] === 0x0d) at++;
  return at;
}

function skipValue(line: Buffer, start: number): number {
  let depth = 0;
  for (let at = start; at < line.length;) {
    const byte = line[at];
    if (byte === QUOTE) {
      at = skipString(line, at);
      if (depth === 0) return at;
    } else if (byte === OPEN_BRACE || byte === OPEN_BRACKET) {
      depth++;
      at++;
    } else if (byte === CLOSE_BRACE || byte === CLOSE_BRACKET) {
      // Depth 0: the end of a number or word, and of the object around it.
      if (depth === 0) return at;
      at++;
      if (--depth === 0) return at;
    } else {
      if (byte === COMMA && depth === 0) return at;
      at++;
    }
  }
  return line.length;
}

/** Below this a loop is faster than the native search for the closing quote. */
const LOOP_BYTES = 32;

function skipString(line: Buffer, start: number): number {
  let at = start + 1;
  for (;;) {
    const loopEnd = Math.min(at + LOOP_BYTES, line.length);
    while (at < loopEnd) {
      const byte = line[at];
      if (byte === QUOTE) return at + 1;
      at += byte === BACKSLASH ? 2 : 1;
    }
    const quote = line.indexOf(QUOTE, at);
    if (quote === -1) return line.length;
    let backslashes = 0;
    while (quote - backslashes > at && line[quote - backslashes - 1] === BACKSLASH) backslashes++;
    if (backslashes % 2 === 0) return quote + 1;
    at = quote + 1;
  }
}
