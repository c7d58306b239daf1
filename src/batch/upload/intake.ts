import { ApiError } from '../../contract/error.ts';
import type { DiskGuard } from '../../core/disk-guard.ts';
import { BlobStoreError, BlobTooLarge, type BlobStore, type StoredBlob } from '../../stores/blobs/port.ts';
import { StoreError } from '../../stores/state/ports.ts';

export interface IntakeOptions {
  readonly blobs: BlobStore;
  readonly diskGuard: Pick<DiskGuard, 'hasSpace' | 'noteFull' | 'dropBallast'>;
}

export interface Incoming {
  readonly blobId: string;
  readonly chunks: AsyncIterable<Uint8Array>;
  readonly bytesMax: number;
  /** A caller that sends more is told this. */
  readonly tooLarge: { readonly message: string; readonly param: string };
}

const RETRY_AFTER_S = 60;
/** The disk space is checked again after this many bytes of an upload. */
const CHECK_EVERY_BYTES = 16 * 1024 * 1024;

/** Takes bytes from callers. Invariant: the bytes are durable before their row is, or a row could name bytes that are lost. */
export class Intake {
  readonly #blobs: BlobStore;
  readonly #diskGuard: IntakeOptions['diskGuard'];
  readonly #underWay = new Set<string>();
  constructor({ blobs, diskGuard }: IntakeOptions) {
    this.#blobs = blobs;
    this.#diskGuard = diskGuard;
  }

  /** The bytes of these blobs may be stored before their row is. They are no strays. */
  get underWay(): ReadonlySet<string> {
    return this.#underWay;
  }

  /** Throws `ApiError`, or what `chunks` or `insertRow` threw. Then nothing is left behind. */
  async take<T>(incoming: Incoming, insertRow: (stored: StoredBlob) => Promise<T>): Promise<T> {
    const { blobId, chunks, bytesMax } = incoming;
    if (!(await this.#diskGuard.hasSpace())) throw diskFull();
    this.#underWay.add(blobId);
    try {
      const stored = await this.#blobs.put(blobId, whileSpace(chunks, this.#diskGuard), { bytesMax });
      try {
        return await insertRow(stored);
      } catch (error) {
        // After other failures the row may exist after all. The sweep will find out.
        if (isRefusal(error)) await this.#blobs.delete(blobId);
        throw error;
      }
    } catch (error) {
      throw await this.#refusalOf(error, incoming);
    } finally {
      this.#underWay.delete(blobId);
    }
  }

  /** Returns the error for the caller. Errors that are not for a caller stay as they are; after `io` the process must end. */
  async #refusalOf(error: unknown, { tooLarge }: Incoming): Promise<unknown> {
    if (error instanceof BlobTooLarge)
      return new ApiError('fileTooLarge', tooLarge.message, { param: tooLarge.param, cause: error });
    if (!(error instanceof BlobStoreError || error instanceof StoreError)) return error;
    if (error.reason === 'disk_full') {
      // A blob that does not fit has given its space back. A row that does not fit has found none.
      if (error instanceof StoreError) await this.#diskGuard.dropBallast();
      else this.#diskGuard.noteFull();
      return diskFull(error);
    }
    if (error.reason === 'busy' || error.reason === 'read_only' || error.reason === 'connection') {
      const message = 'The file could not be stored just now. Try again later.';
      return new ApiError('notReady', message, { retryAfterS: RETRY_AFTER_S, cause: error });
    }
    return error;
  }
}

async function* whileSpace(
  chunks: AsyncIterable<Uint8Array>,
  diskGuard: IntakeOptions['diskGuard'],
): AsyncGenerator<Uint8Array> {
  let unchecked = 0;
  for await (const chunk of chunks) {
    unchecked += chunk.byteLength;
    if (unchecked >= CHECK_EVERY_BYTES) {
      if (!(await diskGuard.hasSpace())) throw diskFull();
      unchecked = 0;
    }
    yield chunk;
  }
}

const isRefusal = (error: unknown): boolean =>
  error instanceof ApiError ||
  (error instanceof StoreError && (error.reason === 'disk_full' || error.reason === 'busy'));

const diskFull = (cause?: Error): ApiError =>
  new ApiError(
    'diskFull',
    'The disk of the service is nearly full, so it takes no files now. Try again later.',
    { retryAfterS: RETRY_AFTER_S, cause },
  );
