import type { Batch } from '../../contract/batch.ts';
import { attemptBlobId } from '../../contract/file.ts';
import type { UuidSource } from '../../core/ids.ts';
import type { Log } from '../../core/log.ts';
import type { BlobStore } from '../../stores/blobs/port.ts';
import type { ClaimedSegment, LineResult } from '../../stores/state/ports.ts';
import { isTransient } from '../transient.ts';
import { AlongOutput } from './along-output.ts';

export interface AlongOptions {
  /** The output of a smaller batch is written in no time when it ends. */
  readonly linesMin: number;
  /** Each has a file open. */
  readonly batchesMax: number;
  /** Results that wait for those before them, over all batches. */
  readonly keptBytesMax: number;
  /** So much is handed on at a time. */
  readonly pieceBytes: number;
}

const DEFAULTS: AlongOptions = {
  linesMin: 2_000,
  batchesMax: 4,
  keptBytesMax: 32 * 1024 * 1024,
  pieceBytes: 256 * 1024,
};

export interface AlongDeps {
  readonly blobs: BlobStore;
  readonly uuid: UuidSource;
  readonly log: Log;
  /** The disk can no longer be trusted: the process must end. */
  readonly onFatal: (error: unknown) => void;
  readonly options?: Partial<AlongOptions>;
}

/**
 * Writes the outputs of large batches while they run, from the results that this process has just made durable, so that
 * at the end only the rest is left to write. It is a shortcut and nothing else: what it has is in the store too, and
 * whatever is odd (a restart, another process, a line that holds up all that follow) leaves more to be read from there.
 */
export class OutputsAlong {
  readonly #deps: AlongDeps;
  readonly #options: AlongOptions;
  readonly #outputs = new Map<number, AlongOutput>();

  constructor(deps: AlongDeps) {
    this.#deps = deps;
    this.#options = { ...DEFAULTS, ...deps.options };
  }

  /** Call before the first line of the batch is sent. A batch that others have begun is not followed. */
  follow(batch: Batch): void {
    const { total, completed, failed } = batch.counts;
    if (total < this.#options.linesMin || completed + failed > 0) return;
    if (this.#outputs.has(batch.seq) || this.#outputs.size >= this.#options.batchesMax) return;
    const { blobs, uuid } = this.#deps;
    const output = new AlongOutput({
      pieceBytes: this.#options.pieceBytes,
      put: (bytes) => blobs.put(attemptBlobId(batch.outputFileId, uuid()), bytes),
      onFailure: (error) => this.#failed(batch, error),
    });
    this.#outputs.set(batch.seq, output);
  }

  /** A result is durable. */
  readonly recorded = (segment: ClaimedSegment, result: LineResult): void => {
    const output = this.#outputs.get(result.batchSeq);
    if (output === undefined) return;
    output.add(segment, result);
    let keptBytes = 0;
    for (const one of this.#outputs.values()) keptBytes += one.keptBytes;
    if (keptBytes > this.#options.keptBytesMax) this.#relieve();
  };

  /** The output so far; it is the caller's to finish or to discard. Undefined: nothing was written. */
  take(batchSeq: number): AlongOutput | undefined {
    const output = this.#outputs.get(batchSeq);
    this.#outputs.delete(batchSeq);
    return output?.isBegun ? output : undefined;
  }

  /** The batch is no longer this process's. */
  async drop(batchSeq: number): Promise<void> {
    await this.take(batchSeq)?.discard();
  }

  /** The one that keeps most keeps no more. */
  #relieve(): void {
    const [first] = [...this.#outputs].sort(([, a], [, b]) => b.keptBytes - a.keptBytes);
    if (first === undefined) return;
    const [batchSeq, output] = first;
    output.stop();
    if (!output.isBegun) this.#outputs.delete(batchSeq);
  }

  #failed({ id, seq }: Batch, error: unknown): void {
    this.#outputs.delete(seq);
    if (!isTransient(error)) return this.#deps.onFatal(error);
    this.#deps.log.event('output.not_along', { batch: id, error: String(error) });
  }
}
