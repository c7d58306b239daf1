import { isUtf8 } from 'node:buffer';

import { type ByteRange, stringAt } from '../../core/json-scan.ts';
import {
  isInlineData,
  MILLITOKENS_BY_BYTE,
  MILLITOKENS_OF_INLINE_DATA,
  millitokensOfCodeUnit,
} from './tokens.ts';

/** A line that is one JSON object, with the members that matter, and the estimated tokens of its body. */
export interface RequestShape {
  readonly kind: 'request';
  readonly customId: ByteRange | undefined;
  readonly method: ByteRange | undefined;
  readonly url: ByteRange | undefined;
  readonly body: ByteRange | undefined;
  /** `body.model` and `body.stream`. */
  readonly model: ByteRange | undefined;
  readonly stream: ByteRange | undefined;
  readonly tokens: number;
}

export type LineFault =
  | { readonly kind: 'not_utf8' }
  /** `at`: the first byte that cannot stand there; the line's length when it ends too early. */
  | { readonly kind: 'not_json'; readonly at: number }
  | { readonly kind: 'not_object'; readonly start: number; readonly holdsObjects: boolean }
  | { readonly kind: 'too_deep' }
  | { readonly kind: 'too_many_keys'; readonly within: Level }
  | { readonly kind: 'duplicate_key'; readonly within: Level; readonly name: string };

type Level = 'request' | 'body';

/** `JSON.parse` takes a nesting of a million, `JSON.stringify` and many upstreams do not. */
export const DEPTH_MAX = 128;
export const KEYS_MAX = 10_000;

/**
 * Reads a line once, byte by byte: is it UTF-8, is it JSON, is a key doubled at the top or in `body`, where are the
 * members, how many tokens has the body. Accepts exactly what `JSON.parse` accepts, less the deep and the doubled: with
 * doubled keys the last one wins here, the first one may win upstream, and the two would see different models.
 */
export function scanLine(line: Buffer): RequestShape | LineFault {
  return isUtf8(line) ? new Scan(line).run() : { kind: 'not_utf8' };
}

const FAILED = -1;

/** Every method takes the position where its part starts and returns where it ends, or `FAILED` with a fault noted. */
class Scan {
  readonly #line: Buffer;
  readonly #request = new Members('request');
  readonly #body = new Members('body');
  #millitokens = 0;
  #bodyMillitokens = 0;
  /** The string read last had a backslash. */
  #escaped = false;
  #fault: LineFault = { kind: 'not_utf8' };

  constructor(line: Buffer) {
    this.#line = line;
  }

  run(): RequestShape | LineFault {
    const line = this.#line;
    const start = this.#space(0);
    const isObject = line[start] === OPEN_BRACE;
    const end = isObject ? this.#object(start, 1, this.#request) : this.#value(start, 1);
    if (end === FAILED) return this.#fault;
    const rest = this.#space(end);
    if (rest < line.length) return { kind: 'not_json', at: rest };
    if (!isObject) {
      const holdsObjects = line[start] === OPEN_BRACKET && line[this.#space(start + 1)] === OPEN_BRACE;
      return { kind: 'not_object', start, holdsObjects };
    }
    return this.#request.fault(line) ?? this.#body.fault(line) ?? this.#shape();
  }

  #shape(): RequestShape {
    const line = this.#line;
    return {
      kind: 'request',
      customId: this.#request.find(line, 'custom_id'),
      method: this.#request.find(line, 'method'),
      url: this.#request.find(line, 'url'),
      body: this.#request.find(line, 'body'),
      model: this.#body.find(line, 'model'),
      stream: this.#body.find(line, 'stream'),
      tokens: Math.ceil(this.#bodyMillitokens / 1000),
    };
  }

  #fail(fault: LineFault): typeof FAILED {
    this.#fault = fault;
    return FAILED;
  }

  #unexpected(at: number): typeof FAILED {
    return this.#fail({ kind: 'not_json', at: Math.min(at, this.#line.length) });
  }

  #space(start: number): number {
    let at = start;
    for (let byte = this.#line[at]; byte === 0x20 || byte === 0x09 || byte === 0x0d || byte === 0x0a;) {
      byte = this.#line[++at];
    }
    return at;
  }

  #value(start: number, depth: number): number {
    const byte = this.#line[start];
    if (byte === QUOTE) return this.#string(start);
    if (byte === OPEN_BRACE) return this.#object(start, depth, undefined);
    if (byte === OPEN_BRACKET) return this.#array(start, depth);
    if (byte === 0x74) return this.#word(start, 'true');
    if (byte === 0x66) return this.#word(start, 'false');
    if (byte === 0x6e) return this.#word(start, 'null');
    return this.#number(start);
  }

  #object(start: number, depth: number, members: Members | undefined): number {
    if (depth > DEPTH_MAX) return this.#fail({ kind: 'too_deep' });
    const line = this.#line;
    let at = this.#space(start + 1);
    if (line[at] === CLOSE_BRACE) return at + 1;
    for (;;) {
      if (line[at] !== QUOTE) return this.#unexpected(at);
      const nameStart = at;
      const nameEnd = this.#string(at);
      if (nameEnd === FAILED) return FAILED;
      const escaped = this.#escaped;
      at = this.#space(nameEnd);
      if (line[at] !== COLON) return this.#unexpected(at);
      at = this.#space(at + 1);

      const valueStart = at;
      const name: Name = { start: nameStart, end: nameEnd, escaped };
      if (members === this.#request && line[at] === OPEN_BRACE && isNamed(line, name, 'body')) {
        const before = this.#millitokens;
        at = this.#object(at, depth + 1, this.#body);
        this.#bodyMillitokens = this.#millitokens - before;
      } else {
        at = this.#value(at, depth + 1);
      }
      if (at === FAILED) return FAILED;
      members?.add(name, { start: valueStart, end: at });

      at = this.#space(at);
      if (line[at] === CLOSE_BRACE) return at + 1;
      if (line[at] !== COMMA) return this.#unexpected(at);
      at = this.#space(at + 1);
    }
  }

  #array(start: number, depth: number): number {
    if (depth > DEPTH_MAX) return this.#fail({ kind: 'too_deep' });
    const line = this.#line;
    let at = this.#space(start + 1);
    if (line[at] === CLOSE_BRACKET) return at + 1;
    for (;;) {
      at = this.#value(at, depth + 1);
      if (at === FAILED) return FAILED;
      at = this.#space(at);
      if (line[at] === CLOSE_BRACKET) return at + 1;
      if (line[at] !== COMMA) return this.#unexpected(at);
      at = this.#space(at + 1);
    }
  }

  #string(start: number): number {
    const line = this.#line;
    const before = this.#millitokens;
    let millitokens = before;
    let at = start + 1;
    this.#escaped = false;
    for (;;) {
      // The end of the line reads as a control character: both stop the loop.
      for (let cost = MILLITOKENS_BY_BYTE[line[at] ?? 0] ?? 0; cost >= 0;) {
        millitokens += cost;
        cost = MILLITOKENS_BY_BYTE[line[++at] ?? 0] ?? 0;
      }
      if (line[at] === QUOTE) break;
      if (line[at] !== BACKSLASH) return this.#unexpected(at);
      this.#escaped = true;
      const unit = this.#escape(at);
      if (unit === FAILED) return FAILED;
      millitokens += millitokensOfCodeUnit(unit);
      at += line[at + 1] === 0x75 ? 6 : 2;
    }
    this.#millitokens = isInlineData(line, start + 1) ? before + MILLITOKENS_OF_INLINE_DATA : millitokens;
    return at + 1;
  }

  /** The code unit that the escape at `start` stands for. */
  #escape(start: number): number {
    const letter = this.#line[start + 1] ?? 0;
    if (letter !== 0x75) {
      const unit = ESCAPED[letter] ?? 0;
      return unit === 0 ? this.#unexpected(start + 1) : unit;
    }
    let unit = 0;
    for (let at = start + 2; at < start + 6; at++) {
      const digit = HEX[this.#line[at] ?? 0] ?? 0;
      if (digit === 0) return this.#unexpected(at);
      unit = unit * 16 + digit - 1;
    }
    return unit;
  }

  #word(start: number, word: 'true' | 'false' | 'null'): number {
    for (let index = 0; index < word.length; index++) {
      if (this.#line[start + index] !== word.charCodeAt(index)) return this.#unexpected(start + index);
    }
    return start + word.length;
  }

  #number(start: number): number {
    const line = this.#line;
    let at = line[start] === MINUS ? start + 1 : start;
    if (line[at] === ZERO) at++;
    else if ((at = this.#digits(at)) === FAILED) return FAILED;
    if (line[at] === 0x2e && (at = this.#digits(at + 1)) === FAILED) return FAILED;
    if (line[at] === 0x65 || line[at] === 0x45) {
      const sign = line[at + 1];
      at = this.#digits(sign === MINUS || sign === 0x2b ? at + 2 : at + 1);
      if (at === FAILED) return FAILED;
    }
    this.#millitokens += 1000;
    return at;
  }

  /** One or more. */
  #digits(start: number): number {
    let at = start;
    for (let byte = this.#line[at] ?? 0; byte >= ZERO && byte <= 0x39;) byte = this.#line[++at] ?? 0;
    return at === start ? this.#unexpected(at) : at;
  }
}

interface Name extends ByteRange {
  readonly escaped: boolean;
}

/** The members of one object, as ranges. */
class Members {
  readonly #level: Level;
  readonly #names: Name[] = [];
  readonly #values: ByteRange[] = [];
  #escaped = false;

  constructor(level: Level) {
    this.#level = level;
  }

  add(name: Name, value: ByteRange): void {
    this.#names.push(name);
    this.#values.push(value);
    if (name.escaped) this.#escaped = true;
  }

  find(line: Buffer, wanted: string): ByteRange | undefined {
    return this.#values[this.#names.findIndex((name) => isNamed(line, name, wanted))];
  }

  fault(line: Buffer): LineFault | undefined {
    if (this.#names.length > KEYS_MAX) return { kind: 'too_many_keys', within: this.#level };
    const doubled = this.#doubled(line);
    return doubled && { kind: 'duplicate_key', within: this.#level, name: stringAt(line, doubled) };
  }

  #doubled(line: Buffer): Name | undefined {
    // Few names, none of them escaped: comparing bytes in pairs is the quickest.
    if (!this.#escaped && this.#names.length <= 16) {
      return this.#names.find((name, index) => {
        for (let other = 0; other < index; other++) if (isSame(line, name, this.#names[other])) return true;
        return false;
      });
    }
    const seen = new Set<string>();
    return this.#names.find((name) => seen.size === seen.add(stringAt(line, name)).size);
  }
}

function isNamed(line: Buffer, name: Name, wanted: string): boolean {
  if (name.escaped) return stringAt(line, name) === wanted;
  if (name.end - name.start - 2 !== wanted.length) return false;
  for (let index = 0; index < wanted.length; index++) {
    if (line[name.start + 1 + index] !== wanted.charCodeAt(index)) return false;
  }
  return true;
}

function isSame(line: Buffer, left: ByteRange, right: ByteRange | undefined): boolean {
  if (!right || left.end - left.start !== right.end - right.start) return false;
  for (let index = left.end - left.start - 1; index > 0; index--) {
    if (line[left.start + index] !== line[right.start + index]) return false;
  }
  return true;
}

const QUOTE = 0x22;
const COMMA = 0x2c;
const MINUS = 0x2d;
const ZERO = 0x30;
const COLON = 0x3a;
const OPEN_BRACKET = 0x5b;
const BACKSLASH = 0x5c;
const CLOSE_BRACKET = 0x5d;
const OPEN_BRACE = 0x7b;
const CLOSE_BRACE = 0x7d;

/** By the letter after the backslash, what it stands for; 0: no escape. */
const ESCAPED = new Uint8Array(256);
for (const [letter, text] of Object.entries({
  b: '\b',
  f: '\f',
  n: '\n',
  r: '\r',
  t: '\t',
  '"': '"',
  '\\': '\\',
  '/': '/',
})) {
  ESCAPED[letter.charCodeAt(0)] = text.charCodeAt(0);
}

/** By the digit, its value + 1; 0: no hexadecimal digit. */
const HEX = new Uint8Array(256);
for (const [index, digit] of [...'0123456789abcdef'].entries()) {
  HEX[digit.charCodeAt(0)] = index + 1;
  HEX[digit.toUpperCase().charCodeAt(0)] = index + 1;
}
