/** A line that is not blank. Numbers count every physical line, blank ones too. */
export interface SourceLine {
  /** The first line has number 1. */
  readonly line: number;
  /** The line without its line end. It is a view of the chunk when the line lies within one. */
  readonly bytes: Buffer;
  /** Where it starts in the file. */
  readonly byteStart: number;
  /** The length with the line end: the next line starts at `byteStart + byteLength`. */
  readonly byteLength: number;
}

/** A line beyond the limit. Its bytes were dropped as they came. */
export interface OversizedLine {
  readonly line: number;
  readonly bytes: undefined;
}

const TAB = 0x09;
const LF = 0x0a;
const CR = 0x0d;
const SPACE = 0x20;
const BOM = Buffer.from([0xef, 0xbb, 0xbf]);

/**
 * Cuts a file into lines. Only the byte 0x0A ends a line: `readline` also splits at U+2028 and at a lone CR, which may
 * stand in JSON strings. One CR before the line end and one byte order mark at the start of the file are dropped,
 * blank lines are skipped. Never holds more than one line, nor more of it than `lineBytesMax`.
 *
 *     for await (const chunk of chunks) for (const line of splitter.push(chunk)) …
 *     for (const line of splitter.end()) …
 */
export class LineSplitter {
  readonly #lineBytesMax: number;
  #line = 1;
  #byteStart = 0;
  /** Copies of what earlier chunks held of the current line, so that a reader may reuse its buffer. */
  #held: Buffer[] = [];
  #heldBytes = 0;
  /** Bytes of the current line, held or dropped. */
  #seenBytes = 0;

  constructor(options: { readonly lineBytesMax: number }) {
    this.#lineBytesMax = options.lineBytesMax;
  }

  /** The lines that end in `chunk`. Take them all before the next push. */
  *push(chunk: Uint8Array): Generator<SourceLine | OversizedLine, void> {
    const bytes = asBuffer(chunk);
    let start = this.#skipBlank(bytes, 0);
    for (let end = bytes.indexOf(LF, start); end !== -1; end = bytes.indexOf(LF, start)) {
      const line = this.#take(bytes.subarray(start, end), 1);
      if (line) yield line;
      start = this.#skipBlank(bytes, end + 1);
    }
    this.#hold(bytes.subarray(start));
  }

  /** The last line, when no line end closes it. */
  *end(): Generator<SourceLine | OversizedLine, void> {
    const line = this.#take(Buffer.alloc(0), 0);
    if (line) yield line;
  }

  /** Passes over blank lines that lie within the chunk: a file may have hundreds of millions of them. */
  #skipBlank(bytes: Buffer, start: number): number {
    let lineStart = start;
    if (this.#seenBytes > 0) return lineStart;
    for (let at = start; at - lineStart <= this.#lineBytesMax; at++) {
      const byte = bytes[at];
      if (byte === LF) {
        this.#line++;
        lineStart = at + 1;
      } else if (byte !== SPACE && byte !== TAB && byte !== CR) break;
    }
    this.#byteStart += lineStart - start;
    return lineStart;
  }

  #hold(bytes: Buffer): void {
    this.#seenBytes += bytes.length;
    // A line may be longer by the mark and the CR that are stripped in the end.
    if (this.#seenBytes > this.#lineBytesMax + BOM.length + 1) {
      this.#held = [];
      this.#heldBytes = 0;
    } else if (bytes.length > 0) {
      this.#held.push(Buffer.from(bytes));
      this.#heldBytes += bytes.length;
    }
  }

  #take(rest: Buffer, endBytes: number): SourceLine | OversizedLine | undefined {
    const line = this.#line++;
    const whole = this.#joined(rest);
    const fileOffset = this.#byteStart;
    const wholeLength = this.#seenBytes + rest.length + endBytes;
    this.#byteStart += wholeLength;
    this.#held = [];
    this.#heldBytes = 0;
    this.#seenBytes = 0;

    const mark = line === 1 && whole?.subarray(0, BOM.length).equals(BOM) ? BOM.length : 0;
    const isTrimmed = mark > 0 || whole?.at(-1) === CR;
    const bytes = isTrimmed ? whole?.subarray(mark, whole.at(-1) === CR ? -1 : undefined) : whole;
    if (!bytes || bytes.length > this.#lineBytesMax) return { line, bytes: undefined };
    if (isBlank(bytes)) return undefined;
    return { line, bytes, byteStart: fileOffset + mark, byteLength: wholeLength - mark };
  }

  /** The line that ends with `rest`. Undefined: its beginning was dropped. */
  #joined(rest: Buffer): Buffer | undefined {
    if (this.#seenBytes === 0) return rest;
    return this.#heldBytes === this.#seenBytes ? Buffer.concat([...this.#held, rest]) : undefined;
  }
}

const asBuffer = (bytes: Uint8Array): Buffer =>
  Buffer.isBuffer(bytes) ? bytes : Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);

/** Whether the line is nothing but the white space of JSON. */
function isBlank(line: Buffer): boolean {
  let at = 0;
  while (line[at] === SPACE || line[at] === TAB || line[at] === CR) at++;
  return at === line.length;
}
