import type { Readable } from 'node:stream';

/** Bytes of files under server-made ids. A blob appears whole and durable, or not at all (P1, P11). */
export interface BlobStore {
  /**
   * Streams `chunks` into a temporary file, fsyncs, renames, fsyncs the directory. Replaces an older blob of that id.
   * Chunks are copied, so their owner may reuse them. Rejects with what the source threw, `BlobTooLarge`, or `BlobStoreError`; then nothing is left behind.
   */
  put(id: string, chunks: AsyncIterable<Uint8Array>, options?: PutOptions): Promise<StoredBlob>;
  /** Bytes `[start, start + length)`; the end of the blob when `length` is omitted. Rejects with `BlobNotFound`. */
  read(id: string, range?: { readonly start: number; readonly length?: number }): Readable;
  /** Exactly `length` bytes. Rejects with `BlobNotFound`, or `BlobStoreError` when the blob is shorter. */
  readBytes(id: string, range: { readonly start: number; readonly length: number }): Promise<Uint8Array>;
  size(id: string): Promise<number | undefined>;
  /**
   * Resolves when the bytes are those that were stored. Reads them all, save where nothing has touched the file since they
   * were stored or checked last. Rejects with `BlobNotFound`, or `BlobStoreError` when the blob is damaged.
   */
  check(blob: StoredBlob): Promise<void>;
  /** Absent is fine. */
  delete(id: string): Promise<void>;
  /** Ids of every stored blob, for finding strays. */
  list(): AsyncIterable<string>;
  /** Removes what interrupted puts left. Call at start, before the first put. */
  sweep(): Promise<void>;
  /** Moves a blob out of the way of readers, to be brought back or removed later. False: there is none that may be moved. */
  setAside(stray: Stray): Promise<boolean>;
  listAside(): AsyncIterable<Stray>;
  /** Makes it a blob again. False: one of that id is there, or the stray is gone. */
  bringBack(stray: Stray): Promise<boolean>;
  removeAside(stray: Stray): Promise<void>;
}

/** A blob that was set aside on this day. */
export interface Stray {
  readonly id: string;
  /** `2026-11-28`. */
  readonly day: string;
}

export interface PutOptions {
  readonly bytesMax?: number;
  /** Where bytes lie on this machine is told as they are written, so that another thread may read these already. */
  readonly onGrowth?: OnGrowth;
}

/** The first `bytes` of the file at `path` are there. It is renamed when it is whole. */
export type OnGrowth = (path: string, bytes: number) => void;

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
 * `disk_full`, `busy` (no descriptor or memory was free): try later. `damaged`: the bytes of this blob are not those that
 * were stored; others are fine. `io`: fsync or the device failed; the process must end (P9).
 */
export class BlobStoreError extends Error {
  override name = 'BlobStoreError';
  readonly reason: 'disk_full' | 'busy' | 'read_only' | 'io' | 'damaged';
  constructor(message: string, reason: BlobStoreError['reason'], options?: ErrorOptions) {
    super(message, options);
    this.reason = reason;
  }
}
