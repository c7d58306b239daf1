import { constants, fstatSync, openSync, write as writeTo, writeSync } from 'node:fs';
import { isatty } from 'node:tty';
import { promisify } from 'node:util';

const writeSome = promisify(writeTo);

const QUEUE_LENGTH_MAX = 1024 * 1024;
const CHUNK_LENGTH_MAX = 64 * 1024;
const RETRY_FIRST_MS = 10;
const RETRY_MAX_MS = 1_000;

export interface WriterOptions {
  /** Makes the line that says how many lines were dropped. */
  readonly droppedLine: (count: number) => string;
  /** The unit is characters. */
  readonly queueLengthMax?: number;
}

/**
 * Writes lines to standard output or standard error of a service, and never waits. The disk may be full, the pipe closed or
 * unread, the terminal stopped or gone: `write` returns at once and never throws. Lines are queued. When the queue is full,
 * further lines are dropped and counted, and the count is written in their place as soon as that is possible.
 */
export class NonBlockingWriter {
  readonly #descriptor: number;
  readonly #options: Required<WriterOptions>;
  #queue: string[] = [];
  #queuedLength = 0;
  #dropped = 0;
  /** The part of the current chunk that the stream has not taken yet. */
  #rest: Uint8Array = Buffer.alloc(0);
  /** It resolves when everything is written. */
  #draining: Promise<void> | null = null;
  #isWriting = false;
  #retryMs = RETRY_FIRST_MS;

  constructor(stream: 1 | 2, options: WriterOptions) {
    this.#descriptor = withoutWaiting(stream);
    this.#options = { queueLengthMax: QUEUE_LENGTH_MAX, ...options };
  }

  /** `text` is one line or several, and ends with a newline. */
  write(text: string): void {
    const { queueLengthMax, droppedLine } = this.#options;
    // After a drop the queue must be half empty, so that counts and lines do not take turns.
    const lengthMax = this.#dropped > 0 ? queueLengthMax / 2 : queueLengthMax;
    if (this.#queuedLength + text.length > lengthMax) {
      this.#dropped += 1;
      return;
    }
    if (this.#dropped > 0) this.#enqueue(droppedLine(this.#dropped));
    this.#dropped = 0;
    this.#enqueue(text);
    this.#draining ??= this.#drain();
  }

  /** Resolves when everything is written, or after `ms`. */
  async flush(ms: number): Promise<void> {
    const { promise, resolve } = Promise.withResolvers<void>();
    const timer = setTimeout(resolve, ms);
    await Promise.race([this.#draining, promise]);
    clearTimeout(timer);
  }

  /** Writes as much as the stream takes at once, because the process ends. */
  flushNow(): void {
    try {
      if (!this.#isWriting) writeSync(this.#descriptor, this.#rest);
      writeSync(this.#descriptor, this.#queue.join(''));
    } catch {
      // Nobody can be told.
    }
  }

  #enqueue(text: string): void {
    this.#queue.push(text);
    this.#queuedLength += text.length;
  }

  async #drain(): Promise<void> {
    for (;;) {
      if (this.#rest.length === 0) this.#takeChunk();
      if (this.#rest.length === 0) break;
      try {
        this.#isWriting = true;
        const { bytesWritten } = await writeSome(this.#descriptor, this.#rest);
        this.#isWriting = false;
        this.#rest = this.#rest.subarray(bytesWritten);
        this.#retryMs = RETRY_FIRST_MS;
      } catch {
        this.#isWriting = false;
        await pause(this.#retryMs);
        this.#retryMs = Math.min(2 * this.#retryMs, RETRY_MAX_MS);
      }
    }
    this.#draining = null;
  }

  #takeChunk(): void {
    let count = 0;
    let length = 0;
    for (const text of this.#queue) {
      if (count > 0 && length + text.length > CHUNK_LENGTH_MAX) break;
      count += 1;
      length += text.length;
    }
    const chunk = this.#queue.splice(0, count).join('');
    this.#queuedLength -= chunk.length;
    if (count === 0 && this.#dropped > 0) {
      this.#rest = Buffer.from(this.#options.droppedLine(this.#dropped));
      this.#dropped = 0;
    } else this.#rest = Buffer.from(chunk);
  }
}

/** Returns a descriptor of the stream to which a write never waits for a reader. */
function withoutWaiting(stream: 1 | 2): number {
  const kind = fstatSync(stream);
  if (kind.isFIFO() || isatty(stream)) {
    try {
      // It is opened anew, so that other programs that have the stream are not affected, and do not affect this one.
      const { O_WRONLY, O_NONBLOCK, O_NOCTTY } = constants;
      return openSync(`/proc/self/fd/${stream}`, O_WRONLY | O_NONBLOCK | O_NOCTTY);
    } catch {
      // This is another system or another user's pipe, or no reader is left.
    }
  }
  // Node makes pipes and sockets non-blocking when it opens its own stream on them.
  if (kind.isFIFO() || kind.isSocket()) void (stream === 1 ? process.stdout : process.stderr);
  return stream;
}

/** Waits without keeping the process alive. */
const pause = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms).unref());
