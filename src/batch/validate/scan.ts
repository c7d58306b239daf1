import { isUtf8 } from 'node:buffer';

import type { ByteRange } from '../request-line.ts';
import { isNamed, Members } from './members.ts';
import {
  isInlineDataAt,
  MILLITOKENS_BY_BYTE,
  MILLITOKENS_BY_ESCAPE,
  MILLITOKENS_BY_PAIR,
  MILLITOKENS_OF_INLINE_DATA,
  MILLITOKENS_OF_NUMBER,
  millitokensOfCodeUnit,
} from './tokens.ts';

/** A line that is one JSON object, with the members that matter, and the estimated tokens of its body. */
export interface RequestShape {
  readonly kind: 'request';
  readonly customId: ByteRange | undefined;
  readonly method: ByteRange | undefined;
  readonly url: ByteRange | undefined;
  readonly body: ByteRange | undefined;
  readonly model: ByteRange | undefined;
  readonly stream: ByteRange | undefined;
  readonly background: ByteRange | undefined;
  readonly dataSources: ByteRange | undefined;
  readonly messages: ByteRange | undefined;
  readonly input: ByteRange | undefined;
  readonly prompt: ByteRange | undefined;
  readonly previousResponseId: ByteRange | undefined;
  readonly conversation: ByteRange | undefined;
  /** The estimated tokens of the body. */
  readonly tokens: number;
}

export type LineFault =
  | { readonly kind: 'not_utf8' }
  /** `at` is the first byte that cannot stand there, or the line's length when it ends too early. */
  | { readonly kind: 'not_json'; readonly at: number }
  | { readonly kind: 'not_object'; readonly start: number; readonly holdsObjects: boolean }
  | { readonly kind: 'too_deep' }
  | { readonly kind: 'too_many_keys'; readonly within: 'request' | 'body' }
  | { readonly kind: 'duplicate_key'; readonly within: 'request' | 'body'; readonly name: string };

/** `JSON.parse` takes a nesting of a million levels. `JSON.stringify` and many servers do not. */
export const DEPTH_MAX = 128;

/** A method that reads takes where its part starts. It returns where the part ends, or `FAILED` after it has noted the fault. */
const FAILED = -1;

/**
 * Reads a line once, byte by byte. It finds out whether the line is UTF-8 and JSON, whether a key comes twice at the top or in
 * `body`, where the members are, and how many tokens the body has. It accepts what `JSON.parse` accepts, save for deep nesting
 * and for keys that come twice: here the last of the two would win, upstream perhaps the first, and the two would see different
 * models. One scanner serves a whole file. What it keeps of a line is overwritten by the next.
 */
export class LineScanner {
  #line: Buffer = Buffer.alloc(0);
  /** The memory around the line, two bytes at a time; the line starts at its byte `#offset`. */
  #pairs: Uint16Array = new Uint16Array(0);
  #offset = 0;
  readonly #request = new Members();
  readonly #body = new Members();
  #millitokens = 0;
  #bodyMillitokens = 0;
  /** Whether the name that was read last has a backslash. */
  #escaped = false;
  #fault: LineFault = { kind: 'not_utf8' };

  scan(line: Buffer): RequestShape | LineFault {
    if (!isUtf8(line)) return { kind: 'not_utf8' };
    this.#load(line);
    const start = this.#space(0);
    const isObject = line[start] === OPEN_BRACE;
    const end = isObject ? this.#object(start, 1, this.#request) : this.#value(start, 1);
    if (end === FAILED) return this.#fault;
    const rest = this.#space(end);
    if (rest < line.length) return { kind: 'not_json', at: rest };
    if (isObject)
      return this.#faultOf(this.#request, 'request') ?? this.#faultOf(this.#body, 'body') ?? this.#shape();
    const holdsObjects = line[start] === OPEN_BRACKET && line[this.#space(start + 1)] === OPEN_BRACE;
    return { kind: 'not_object', start, holdsObjects };
  }

  #load(line: Buffer): void {
    const memory = line.buffer;
    if (this.#pairs.buffer !== memory) this.#pairs = new Uint16Array(memory, 0, memory.byteLength >> 1);
    this.#line = line;
    this.#offset = line.byteOffset;
    this.#request.clear();
    this.#body.clear();
    this.#millitokens = 0;
    this.#bodyMillitokens = 0;
  }

  #faultOf(members: Members, within: 'request' | 'body'): LineFault | undefined {
    if (members.tooMany) return { kind: 'too_many_keys', within };
    const name = members.duplicateName(this.#line);
    return name === undefined ? undefined : { kind: 'duplicate_key', within, name };
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
      background: this.#body.find(line, 'background'),
      dataSources: this.#body.find(line, 'data_sources'),
      messages: this.#body.find(line, 'messages'),
      input: this.#body.find(line, 'input'),
      prompt: this.#body.find(line, 'prompt'),
      previousResponseId: this.#body.find(line, 'previous_response_id'),
      conversation: this.#body.find(line, 'conversation'),
      tokens: Math.ceil(this.#bodyMillitokens / 1000),
    };
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
      const nameEnd = this.#name(nameStart);
      if (nameEnd === FAILED) return FAILED;
      const escaped = this.#escaped;
      const colon = this.#space(nameEnd);
      if (line[colon] !== COLON) return this.#unexpected(colon);

      const valueStart = this.#space(colon + 1);
      const isBody = members === this.#request && isNamed(line, nameStart, nameEnd, escaped, 'body');
      const valueEnd = isBody ? this.#bodyValue(valueStart) : this.#value(valueStart, depth + 1);
      if (valueEnd === FAILED) return FAILED;
      members?.add(nameStart, nameEnd, escaped, valueStart, valueEnd);

      at = this.#space(valueEnd);
      if (line[at] === CLOSE_BRACE) return at + 1;
      if (line[at] !== COMMA) return this.#unexpected(at);
      at = this.#space(at + 1);
    }
  }

  #bodyValue(start: number): number {
    const before = this.#millitokens;
    const end = this.#line[start] === OPEN_BRACE ? this.#object(start, 2, this.#body) : this.#value(start, 2);
    this.#bodyMillitokens = this.#millitokens - before;
    return end;
  }

  #array(start: number, depth: number): number {
    if (depth > DEPTH_MAX) return this.#fail({ kind: 'too_deep' });
    const line = this.#line;
    let at = this.#space(start + 1);
    if (line[at] === CLOSE_BRACKET) return at + 1;
    for (;;) {
      const end = this.#value(at, depth + 1);
      if (end === FAILED) return FAILED;
      at = this.#space(end);
      if (line[at] === CLOSE_BRACKET) return at + 1;
      if (line[at] !== COMMA) return this.#unexpected(at);
      at = this.#space(at + 1);
    }
  }

  /** Reads a string, as a rule a short one, and notes whether it has escapes. */
  #name(start: number): number {
    const line = this.#line;
    let millitokens = this.#millitokens;
    let at = start + 1;
    for (let cost = costOf(line[at]); cost >= 0; cost = costOf(line[++at])) millitokens += cost;
    this.#escaped = line[at] !== QUOTE;
    if (this.#escaped) return this.#string(start);
    this.#millitokens = millitokens;
    return at + 1;
  }

  #string(start: number): number {
    const line = this.#line;
    const pairs = this.#pairs;
    const offset = this.#offset;
    const before = this.#millitokens;
    let millitokens = before;
    let at = start + 1;
    for (;;) {
      // From an even address on, each step reads two bytes. Behind the line, a line end or foreign bytes stop the loop.
      for (let cost = costOf(line[at]); cost >= 0; cost = costOf(line[at])) {
        millitokens += cost;
        at++;
        if (((offset + at) & 1) === 1) continue;
        let pair = (offset + at) >>> 1;
        for (let both = costOfPair(pairs[pair]); both >= 0; both = costOfPair(pairs[pair])) {
          millitokens += both;
          pair++;
        }
        at = pair * 2 - offset;
      }
      if (line[at] === QUOTE) break;
      if (line[at] !== BACKSLASH) return this.#unexpected(at);
      const cost = this.#escape(at);
      if (cost === FAILED) return FAILED;
      millitokens += cost;
      at += line[at + 1] === LOWER_U ? 6 : 2;
    }
    this.#millitokens = isInlineDataAt(line, start + 1) ? before + MILLITOKENS_OF_INLINE_DATA : millitokens;
    return at + 1;
  }

  /** Returns the millitokens of what the escape at `start` stands for. */
  #escape(start: number): number {
    const letter = this.#line[start + 1] ?? 0;
    if (letter !== LOWER_U) return MILLITOKENS_BY_ESCAPE[letter] || this.#unexpected(start + 1);
    let unit = 0;
    for (let at = start + 2; at < start + 6; at++) {
      const digit = HEX[this.#line[at] ?? 0] ?? 0;
      if (digit === 0) return this.#unexpected(at);
      unit = unit * 16 + digit - 1;
    }
    return millitokensOfCodeUnit(unit);
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
    at = line[at] === ZERO ? at + 1 : this.#digits(at);
    if (at !== FAILED && line[at] === DOT) at = this.#digits(at + 1);
    if (at !== FAILED && (line[at] === 0x65 || line[at] === 0x45)) {
      const signed = line[at + 1] === MINUS || line[at + 1] === PLUS;
      at = this.#digits(signed ? at + 2 : at + 1);
    }
    this.#millitokens += MILLITOKENS_OF_NUMBER;
    return at;
  }

  /** Reads one digit or more. */
  #digits(start: number): number {
    const line = this.#line;
    let at = start;
    for (let byte = line[at] ?? 0; byte >= ZERO && byte <= NINE;) byte = line[++at] ?? 0;
    return at === start ? this.#unexpected(at) : at;
  }

  #space(start: number): number {
    const line = this.#line;
    let at = start;
    for (let byte = line[at]; byte === 0x20 || byte === 0x09 || byte === 0x0d || byte === 0x0a;)
      byte = line[++at];
    return at;
  }

  #unexpected(at: number): typeof FAILED {
    return this.#fail({ kind: 'not_json', at: Math.min(at, this.#line.length) });
  }

  #fail(fault: LineFault): typeof FAILED {
    this.#fault = fault;
    return FAILED;
  }
}

const costOf = (byte: number | undefined): number => MILLITOKENS_BY_BYTE[byte ?? 0] ?? 0;
const costOfPair = (pair: number | undefined): number => MILLITOKENS_BY_PAIR[pair ?? 0] ?? 0;

const QUOTE = 0x22;
const PLUS = 0x2b;
const COMMA = 0x2c;
const MINUS = 0x2d;
const DOT = 0x2e;
const ZERO = 0x30;
const NINE = 0x39;
const COLON = 0x3a;
const OPEN_BRACKET = 0x5b;
const BACKSLASH = 0x5c;
const CLOSE_BRACKET = 0x5d;
const LOWER_U = 0x75;
const OPEN_BRACE = 0x7b;
const CLOSE_BRACE = 0x7d;

/** Maps the byte of a hexadecimal digit to its value + 1, and any other byte to 0. */
const HEX = new Uint8Array(256);
for (let value = 0; value < 16; value++) {
  const digit = value.toString(16);
  HEX[digit.charCodeAt(0)] = value + 1;
  HEX[digit.toUpperCase().charCodeAt(0)] = value + 1;
}
