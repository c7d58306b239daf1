import type { Readable } from 'node:stream';

/** The bytes of files, under ids that the server made. A blob appears whole and durable, or not at all (P1, P11). */
export interface BlobStore {
  /**
   * Resolves when the bytes are durable under `id`, in place of an older blob. Chunks are copied, so their owner may reuse
   * them. Rejects with what the source threw, `BlobTooLarge`, or `BlobStoreError`; then nothing is left behind.
   */
  put(id: string, chunks: AsyncIterable<Uint8Array>, options?: PutOptions): Promise<StoredBlob>;
  /** Reads `[start, start + length)`, to the end of the blob when `length` is omitted. Fails with `BlobNotFound`. */
  read(id: string, range?: { readonly start: number; readonly length?: number }): Readable;
  /** Reads exactly `length` bytes. Rejects with `BlobNotFound`, or `BlobStoreError` when the blob is shorter. */
  readBytes(id: string, range: { readonly start: number; readonly length: number }): Promise<Uint8Array>;
  size(id: string): Promise<number | undefined>;
  /**
   * Resolves when the bytes are those that were stored. It reads them all, unless the file is untouched since they were stored
   * or checked last; then it only asks for the version. Rejects with `BlobNotFound`, or `BlobStoreError` when it is damaged.
   */
  check(blob: StoredBlob): Promise<void>;
  /** The blob may be absent. */
  delete(id: string): Promise<void>;
  /** The ids of all blobs, for finding strays. */
  list(): AsyncIterable<string>;
  /** Removes what interrupted puts left. Called at start, before the first put. */
  sweep(): Promise<void>;
  /** Moves a blob out of the way of readers, to be brought back or removed later. False: there is no such blob. */
  setAside(stray: Stray): Promise<boolean>;
  listAside(): AsyncIterable<Stray>;
  /** Makes the stray a blob again. False: a blob of that id is there, or the stray is gone. */
  bringBack(stray: Stray): Promise<boolean>;
  removeAside(stray: Stray): Promise<void>;
}

/** A blob that was set aside on this day. */
export interface Stray {
  readonly id: string;
  /** A date, such as `2026-11-28`. */
  readonly day: string;
}

export interface PutOptions {
  readonly bytesMax?: number;
}

export interface StoredBlob {
  readonly id: string;
  readonly bytes: number;
  /** Lower-case hex. */
  readonly sha256: string;
}

export class BlobNotFound extends Error {
  override name = 'BlobNotFound';
}
export class BlobTooLarge extends Error {
  override name = 'BlobTooLarge';
}
/**
 * `disk_full`, `busy` (no descriptor or memory was free): a later try may succeed. `damaged`: the bytes of this blob are not
 * those that were stored; others are fine. `io`: fsync or the device failed, and the process must end (P9).
 */
export class BlobStoreError extends Error {
  override name = 'BlobStoreError';
  readonly reason: 'disk_full' | 'busy' | 'read_only' | 'io' | 'damaged';
  constructor(message: string, reason: BlobStoreError['reason'], options?: ErrorOptions) {
    super(message, options);
    this.reason = reason;
  }
}
