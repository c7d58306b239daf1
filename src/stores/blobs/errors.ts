import { BlobNotFound, BlobStoreError } from './port.ts';

const REASONS: Readonly<Record<string, BlobStoreError['reason']>> = {
  ENOSPC: 'disk_full',
  EDQUOT: 'disk_full',
  EROFS: 'read_only',
  EACCES: 'read_only',
  EPERM: 'read_only',
  EMFILE: 'busy',
  ENFILE: 'busy',
  ENOMEM: 'busy',
  // A link or a directory stands in the place of the file.
  ELOOP: 'damaged',
  EISDIR: 'damaged',
  ENXIO: 'damaged',
};

/** The system's code of an error, such as `ENOSPC`; '' when it has none. */
const codeOf = (error: unknown): string =>
  error instanceof Error && 'code' in error && typeof error.code === 'string' ? error.code : '';

/** Awaits a call of the file system and turns its failure into the store's error. A code that is not known is `io` (P9). */
export async function onDisk<T>(what: string, call: Promise<T>): Promise<T> {
  try {
    return await call;
  } catch (error) {
    const code = codeOf(error);
    throw new BlobStoreError(`${what}: ${code || 'failed'}`, REASONS[code] ?? 'io', { cause: error });
  }
}

/** Does what `onDisk` does, for a file that may be absent. */
export async function onBlob<T>(what: string, call: Promise<T>): Promise<T> {
  try {
    return await call;
  } catch (error) {
    if (['ENOENT', 'ENOTDIR'].includes(codeOf(error)))
      throw new BlobNotFound(`${what}: there is no such file`, { cause: error });
    return onDisk(what, Promise.reject(error));
  }
}

/** Invariant: a failed fsync is never tried again. Otherwise bytes that the kernel has dropped count as stored. */
export async function onFsync(what: string, call: Promise<void>): Promise<void> {
  try {
    await call;
  } catch (error) {
    // The directory was removed, as it was empty. There is nothing to sync.
    if (codeOf(error) === 'ENOENT') throw new BlobNotFound('There is no such blob.', { cause: error });
    throw new BlobStoreError(`${what}: ${codeOf(error) || 'failed'}`, 'io', { cause: error });
  }
}
