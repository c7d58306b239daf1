/** A line that is not blank. Numbers count every physical line, blank ones too. */
export interface Line {
  /** 1-based. */
  readonly line: number;
  /** Without its line end. A view of the chunk when the line lies within one. */
  readonly bytes: Buffer;
  /** Where it starts in the file. */
  readonly byteStart: number;
  /** With its line end: the next line starts at `byteStart + byteLength`. */
  readonly byteLength: number;
}

/** A line beyond the limit: its bytes were let go as they came. */
export interface OversizedLine extends Omit<Line, 'bytes'> {
  readonly bytes: undefined;
}

const LF = 0x0a;
const CR = 0x0d;
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
  /** Of the current line, held or let go. */
  #seenBytes = 0;

  constructor(options: { readonly lineBytesMax: number }) {
    this.#lineBytesMax = options.lineBytesMax;
  }

  /** The lines that end in `chunk`. Take them all before the next push. */
  *push(chunk: Uint8Array): Generator<Line | OversizedLine, void> {
    const bytes = asBuffer(chunk);
    let start = 0;
    for (let end = bytes.indexOf(LF); end !== -1; end = bytes.indexOf(LF, start)) {
      const line = this.#take(bytes.subarray(start, end), 1);
      start = end + 1;
      if (line) yield line;
    }
    this.#hold(bytes.subarray(start));
  }

  /** The last line, when no line end closes it. */
  *end(): Generator<Line | OversizedLine, void> {
    const line = this.#take(Buffer.alloc(0), 0);
    if (line) yield line;
  }

  #hold(bytes: Buffer): void {
    this.#seenBytes += bytes.length;
    // Room for what is stripped from the line in the end: a mark and a CR.
    if (this.#seenBytes > this.#lineBytesMax + BOM.length + 1) {
      this.#held = [];
      this.#heldBytes = 0;
    } else if (bytes.length > 0) {
      this.#held.push(Buffer.from(bytes));
      this.#heldBytes += bytes.length;
    }
  }

  #take(rest: Buffer, endBytes: number): Line | OversizedLine | undefined {
    const seenBytes = this.#seenBytes + rest.length;
    const whole = this.#heldBytes === this.#seenBytes ? this.#join(rest) : undefined;
    const line = this.#line++;
    const byteLength = seenBytes + endBytes;
    let byteStart = this.#byteStart;
    this.#byteStart += byteLength;
    this.#held = [];
    this.#heldBytes = 0;
    this.#seenBytes = 0;

    if (!whole) return { line, bytes: undefined, byteStart, byteLength };
    const marked = line === 1 && BOM.equals(whole.subarray(0, BOM.length));
    if (marked) byteStart += BOM.length;
    const bytes = trimEnd(marked ? whole.subarray(BOM.length) : whole);
    const size = marked ? byteLength - BOM.length : byteLength;
    if (bytes.length > this.#lineBytesMax) return { line, bytes: undefined, byteStart, byteLength: size };
    return isBlank(bytes) ? undefined : { line, bytes, byteStart, byteLength: size };
  }

  #join(rest: Buffer): Buffer {
    return this.#heldBytes === 0 ? rest : Buffer.concat([...this.#held, rest]);
  }
}

const asBuffer = (bytes: Uint8Array): Buffer =>
  Buffer.isBuffer(bytes) ? bytes : Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);

const trimEnd = (line: Buffer): Buffer => (line.at(-1) === CR ? line.subarray(0, -1) : line);

/** Nothing but the white space of JSON. */
function isBlank(line: Buffer): boolean {
  for (const byte of line) if (byte !== 0x20 && byte !== 0x09 && byte !== CR) return false;
  return true;
}
