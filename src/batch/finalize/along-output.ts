import type { StoredBlob } from '../../stores/blobs/port.ts';
import type { ClaimedSegment, LineResult } from '../../stores/state/ports.ts';

/** Some lines of a produced file, in order, without their line ends. */
export type LinePage = readonly Uint8Array[];

/** An output file that is whole and durable. */
export interface WrittenOutput {
  readonly blob: StoredBlob;
  readonly lines: number;
}

export interface AlongOutputDeps {
  readonly pieceBytes: number;
  readonly put: (bytes: AsyncIterable<Uint8Array>) => Promise<StoredBlob>;
  /** The file could not be written. It has left nothing behind. */
  readonly onFailure: (error: unknown) => void;
}

/** What is left to do at the end. */
export interface Rest {
  /** The lines of the output after this line of the input. */
  readonly pages: (afterLine: number) => AsyncIterable<LinePage>;
  /** How many lines the output must come to. */
  readonly lines: number;
}

/** The durable results of a segment, until all before it are written. */
interface Kept {
  readonly requests: number;
  readonly results: Pick<LineResult, 'line' | 'ok' | 'payload'>[];
}

/**
 * One output on its way: whole segments, in order, from the first on. Its bytes go into one long put, which makes them a
 * file under its name only when they have come to an end; a discarded one leaves nothing.
 */
export class AlongOutput {
  readonly #deps: AlongOutputDeps;
  /** By their index. */
  readonly #segments = new Map<number, Kept>();
  #next = 0;
  /** Whole lines, in order. */
  #ready: Uint8Array[] = [];
  #readyBytes = 0;
  #segmentBytes = 0;
  /** Of what was made ready. */
  #lastLine = 0;
  #lines = 0;
  #stopped = false;
  #stored: Promise<StoredBlob> | null = null;
  #ending: Rest | 'discarded' | null = null;
  #news = Promise.withResolvers<void>();

  constructor(deps: AlongOutputDeps) {
    this.#deps = deps;
  }

  get isBegun(): boolean {
    return this.#stored !== null;
  }

  get keptBytes(): number {
    return this.#segmentBytes + this.#readyBytes;
  }

  add({ index, requests }: ClaimedSegment, { line, ok, payload }: LineResult): void {
    if (this.#stopped) return;
    let kept = this.#segments.get(index);
    if (kept === undefined) this.#segments.set(index, (kept = { requests, results: [] }));
    kept.results.push({ line, ok, payload });
    this.#segmentBytes += payload.byteLength;
    if (index !== this.#next || kept.results.length < requests) return;
    this.#advance();
    if (this.#readyBytes < this.#deps.pieceBytes) return;
    this.#begin();
    this.#news.resolve();
  }

  /** Keeps no more: what follows will be read from the store. */
  stop(): void {
    this.#stopped = true;
    this.#segments.clear();
    this.#segmentBytes = 0;
  }

  /** Undefined: it came to nothing, and the file is to be written from the beginning. */
  async finish(rest: Rest): Promise<WrittenOutput | undefined> {
    this.#end(rest);
    try {
      const blob = await this.#stored;
      return blob === null ? undefined : { blob, lines: this.#lines };
    } catch (error) {
      if (error instanceof LinesMissing) return undefined;
      throw error;
    }
  }

  async discard(): Promise<void> {
    this.#end('discarded');
    await this.#stored?.catch(() => {
      // By now there is nothing of it.
    });
  }

  #end(ending: Rest | 'discarded'): void {
    this.stop();
    this.#ending = ending;
    this.#news.resolve();
  }

  /** Makes the segments ready that are whole, up to the first that is not. */
  #advance(): void {
    for (let kept = this.#segments.get(this.#next); kept; kept = this.#segments.get(this.#next)) {
      if (kept.results.length < kept.requests) return;
      const results = kept.results.sort((a, b) => a.line - b.line);
      // Each line once, in order, or nothing from here on.
      let before = this.#lastLine;
      if (!results.every(({ line }) => line > before && (before = line))) return this.stop();
      this.#lastLine = before;
      for (const { ok, payload } of results) {
        this.#segmentBytes -= payload.byteLength;
        if (ok) this.#makeReady(payload);
      }
      this.#segments.delete(this.#next);
      this.#next += 1;
    }
  }

  #makeReady(payload: Uint8Array): void {
    this.#ready.push(payload, NEWLINE);
    this.#readyBytes += payload.byteLength + NEWLINE.length;
    this.#lines += 1;
  }

  #begin(): void {
    if (this.#stored !== null) return;
    this.#stored = this.#deps.put(this.#bytes());
    this.#stored.catch((error: unknown) => {
      this.stop();
      this.#ready = [];
      this.#readyBytes = 0;
      if (this.#ending === null) this.#deps.onFailure(error);
    });
  }

  async *#bytes(): AsyncGenerator<Uint8Array> {
    while (this.#ending === null) {
      if (this.#readyBytes >= this.#deps.pieceBytes) yield this.#takeReady();
      else await this.#moreNews();
    }
    if (this.#ending === 'discarded') throw new Error('the output is not wanted');
    if (this.#readyBytes > 0) yield this.#takeReady();
    for await (const page of this.#ending.pages(this.#lastLine)) {
      for (const payload of page) this.#makeReady(payload);
      if (this.#readyBytes > 0) yield this.#takeReady();
    }
    if (this.#lines !== this.#ending.lines)
      throw new LinesMissing(`${this.#lines} lines, not ${this.#ending.lines}`);
  }

  #takeReady(): Uint8Array {
    const piece = Buffer.concat(this.#ready, this.#readyBytes);
    this.#ready = [];
    this.#readyBytes = 0;
    return piece;
  }

  async #moreNews(): Promise<void> {
    await this.#news.promise;
    this.#news = Promise.withResolvers();
  }
}

const NEWLINE = Buffer.from('\n');

class LinesMissing extends Error {
  override name = 'LinesMissing';
}
