import { fileIdOf, type FileRow } from '../contract/file.ts';
import { BlobNotFound, BlobStoreError, type BlobStore, type StoredBlob } from '../stores/blobs/port.ts';
import type { FileStore } from '../stores/state/ports.ts';

/**
 * The bytes of one input are not those that were uploaded: its batch cannot go on, and all others can. The message is for
 * the operator and names the file on the disk.
 */
export class InputDamage extends Error {
  override name = 'InputDamage';
  readonly kind: 'missing' | 'changed';
  /** The requests in which it was noticed. Null: a check of the whole file noticed it. */
  readonly at: { readonly firstLine: number; readonly requests: number } | null;
  constructor(
    message: string,
    {
      kind,
      at = null,
      ...options
    }: ErrorOptions & Pick<InputDamage, 'kind'> & Partial<Pick<InputDamage, 'at'>>,
  ) {
    super(message, options);
    this.kind = kind;
    this.at = at;
  }
}

/** Runs `work` on bytes of an input. A failure that is damage is thrown as `InputDamage`. */
export async function readingInput<T>(work: () => Promise<T>): Promise<T> {
  try {
    return await work();
  } catch (error) {
    throw toInputDamage(error) ?? error;
  }
}

const toInputDamage = (cause: unknown): InputDamage | undefined => {
  if (cause instanceof BlobNotFound) return new InputDamage(cause.message, { kind: 'missing', cause });
  if (cause instanceof BlobStoreError && cause.reason === 'damaged')
    return new InputDamage(cause.message, { kind: 'changed', cause });
  return undefined;
};

/** The file that a batch reads, and its bytes. */
export type Input = Pick<FileRow, 'id' | 'blobId'>;

/** A sentence for callers, who have no use for a path. */
export function damageText(fileId: string, { kind, at }: Pick<InputDamage, 'kind' | 'at'>): string {
  if (kind === 'missing') return `The input file '${fileId}' is not there any more.`;
  const where = at === null ? '' : `, in the ${at.requests} requests from line ${at.firstLine} on`;
  return `The input file '${fileId}' is damaged: its bytes are not those that were uploaded${where}.`;
}

const STORED_MAX = 10_000;

/** Reads inputs. Invariant: a read returns the bytes that were uploaded, or rejects. Otherwise a batch sends other requests. */
export class Inputs {
  readonly #files: Pick<FileStore, 'stored'>;
  readonly #blobs: BlobStore;
  /** The key is the id of the blob. What is stored under an id never changes, so nothing here grows old. */
  readonly #stored = new Map<string, StoredBlob>();

  constructor({ files, blobs }: { readonly files: Pick<FileStore, 'stored'>; readonly blobs: BlobStore }) {
    this.#files = files;
    this.#blobs = blobs;
  }

  /** Rejects with `InputDamage`. It costs little while nothing has touched the file since the last check. */
  async check(blobId: string): Promise<void> {
    const stored = this.#stored.get(blobId) ?? (await this.#find(blobId));
    await readingInput(async () => {
      if (stored !== undefined) return this.#blobs.check(stored);
      // An earlier release deleted the file, and kept no record of its bytes.
      if ((await this.#blobs.size(blobId)) === undefined)
        throw new BlobNotFound(`the bytes of the deleted file ${fileIdOf(blobId)} are not there`);
    });
  }

  /** Returns exactly `length` bytes. */
  async readBytes(
    blobId: string,
    range: { readonly start: number; readonly length: number },
  ): Promise<Uint8Array> {
    await this.check(blobId);
    return readingInput(() => this.#blobs.readBytes(blobId, range));
  }

  async *read(blobId: string): AsyncGenerator<Buffer> {
    await this.check(blobId);
    try {
      yield* this.#blobs.read(blobId) as AsyncIterable<Buffer>;
    } catch (error) {
      throw toInputDamage(error) ?? error;
    }
  }

  async #find(blobId: string): Promise<StoredBlob | undefined> {
    const found = await this.#files.stored(blobId);
    if (found === undefined) return undefined;
    const { bytes, sha256 } = found;
    const stored = { id: blobId, bytes, sha256 };
    if (this.#stored.size >= STORED_MAX) this.#stored.clear();
    this.#stored.set(blobId, stored);
    return stored;
  }
}
