import { INPUT_BYTES_MAX } from '../../contract/batch.ts';
import { ApiError } from '../../contract/error.ts';
import type { FilePurpose, FileRow } from '../../contract/file.ts';
import type { Scope } from '../../contract/scope.ts';
import { type Clock, nowS } from '../../core/clock.ts';
import type { DiskGuard } from '../../core/disk-guard.ts';
import { newUploadId, type UuidSource } from '../../core/ids.ts';
import type { Log } from '../../core/log.ts';
import {
  BlobStoreError,
  type BlobStore,
  BlobTooLarge,
  type OnGrowth,
  type StoredBlob,
} from '../../stores/blobs/port.ts';
import { type FileLimits, type StateStore, StoreError } from '../../stores/state/ports.ts';
import { saveInspection, type InspectAheadOptions } from './ahead.ts';
import { toFilename } from './filename.ts';
import { deleteFile, deleteExpired, finishRemovals, type RemovalStores } from './removal.ts';
import { bringStraysBack, removeOldStrays, setStraysAside, type Strays } from './strays.ts';

export interface Upload {
  readonly filename: string;
  readonly purpose: FilePurpose;
  readonly chunks: AsyncIterable<Uint8Array>;
  /** Counted from the creation; null: never. */
  readonly expiresAfterS: number | null;
  /** Whose words a refused name gets; Azure's when not given. */
  readonly dialect?: 'azure' | 'openai';
}

export interface UploaderOptions {
  readonly state: Pick<StateStore, 'files' | 'batches'>;
  readonly blobs: BlobStore;
  readonly clock: Clock;
  readonly uuid: UuidSource;
  readonly diskGuard: Pick<DiskGuard, 'hasRoom' | 'noteFull' | 'dropBallast'>;
  readonly log: Log;
  /** Inspects files while they are uploaded, so that a create need not wait for that. */
  readonly inspectAhead?: InspectAheadOptions;
  readonly limits?: Partial<FileLimits & { readonly fileBytesMax: number }>;
}

export interface Uploader {
  /** Streams the bytes to the store, then inserts the row. Throws `ApiError`, or what `chunks` threw. */
  uploadFile(scope: Scope, upload: Upload): Promise<FileRow>;
  /** False: there is no such file. Bytes that a live batch still reads stay until it has ended. */
  deleteFile(scope: Scope, fileId: string): Promise<boolean>;
  /** Deletes the files past their expiry; returns how many. */
  deleteExpired(): Promise<number>;
  /** Deals with bytes that no file has. Safe at any time. `strays`: false leaves out the look at every blob. */
  sweep(options?: { readonly strays: boolean }): Promise<Sweep>;
  /** Before anything reads: what was set aside under another database, and this one names. */
  bringStraysBack(): Promise<Strays>;
}

export interface Sweep {
  /** Bytes of deleted files that had stayed behind. */
  readonly removed: number;
  readonly setAside: Strays;
  /** Set aside days ago, and gone now. */
  readonly dropped: Strays;
}

const RETRY_AFTER_S = 60;
/** How many bytes an upload may take between two looks at the disk. */
const LOOK_EVERY_BYTES = 16 * 1024 * 1024;

export function createUploader(options: UploaderOptions): Uploader {
  const { state, blobs, clock, uuid, diskGuard, log, inspectAhead } = options;
  const {
    fileBytesMax = INPUT_BYTES_MAX,
    withoutExpiryMax = 500,
    withExpiryMax = 10_000,
  } = options.limits ?? {};
  /** Ids whose bytes may be stored while their row is not: no strays. */
  const uploading = new Set<string>();

  const storeBytes = async (
    id: string,
    chunks: AsyncIterable<Uint8Array>,
    onGrowth: OnGrowth | undefined,
  ): Promise<StoredBlob> => {
    try {
      return await blobs.put(id, whileRoom(chunks, diskGuard), { bytesMax: fileBytesMax, onGrowth });
    } catch (error) {
      throw await refusalOf(error, { fileBytesMax, diskGuard });
    }
  };
  const insertRow = async (scope: Scope, file: FileRow): Promise<void> => {
    try {
      const outcome = await state.files.insert(scope, file, { withoutExpiryMax, withExpiryMax });
      if (outcome === 'limit') throw quotaExceeded(file, { withoutExpiryMax, withExpiryMax });
    } catch (error) {
      // After other failures the row may exist after all: the sweep will know.
      if (isRefusal(error)) await blobs.delete(file.id);
      throw await refusalOf(error, { fileBytesMax, diskGuard });
    }
  };

  return {
    async uploadFile(scope, upload) {
      const filename = toFilename(upload.filename, {
        purpose: upload.purpose,
        dialect: upload.dialect ?? 'azure',
      });
      if (!(await diskGuard.hasRoom())) throw diskFull();
      const id = newUploadId(uuid);
      uploading.add(id);
      const pass = inspectAhead?.inspect(id);
      try {
        const { bytes, sha256 } = await storeBytes(id, upload.chunks, pass?.grow);
        const createdAt = nowS(clock);
        const file: FileRow = {
          id,
          blobId: id,
          resourceId: scope.resourceId,
          filename,
          purpose: upload.purpose,
          bytes,
          sha256,
          createdAt,
          expiresAt: upload.expiresAfterS === null ? null : createdAt + upload.expiresAfterS,
        };
        await insertRow(scope, file);
        const { resourceId: resource, actor } = scope;
        log.event('file.uploaded', { file: id, bytes: file.bytes, resource, actor });
        if (pass && inspectAhead)
          void saveInspection(pass, { scope, fileId: id }, { ...inspectAhead, state, log });
        return file;
      } catch (error) {
        pass?.drop();
        throw error;
      } finally {
        uploading.delete(id);
      }
    },
    deleteFile: (scope, fileId) => deleteFile({ state, blobs }, scope, { fileId, atS: nowS(clock) }),
    deleteExpired: () => deleteExpired({ state, blobs }, nowS(clock)),
    ...cleaning({ state, blobs }, { uploading, clock }),
  };
}

const cleaning = (
  stores: RemovalStores,
  { uploading, clock }: { readonly uploading: ReadonlySet<string>; readonly clock: Clock },
): Pick<Uploader, 'sweep' | 'bringStraysBack'> => ({
  sweep: async ({ strays } = { strays: true }) => ({
    removed: await finishRemovals(stores),
    setAside: strays
      ? await setStraysAside(stores, { uploading, nowMs: clock.now() })
      : { count: 0, ids: [] },
    dropped: await removeOldStrays(stores, clock.now()),
  }),
  bringStraysBack: () => bringStraysBack(stores),
});

async function* whileRoom(
  chunks: AsyncIterable<Uint8Array>,
  diskGuard: UploaderOptions['diskGuard'],
): AsyncGenerator<Uint8Array> {
  let unchecked = 0;
  for await (const chunk of chunks) {
    unchecked += chunk.byteLength;
    if (unchecked >= LOOK_EVERY_BYTES) {
      if (!(await diskGuard.hasRoom())) throw diskFull();
      unchecked = 0;
    }
    yield chunk;
  }
}

const isRefusal = (error: unknown): boolean =>
  error instanceof ApiError ||
  (error instanceof StoreError && (error.reason === 'disk_full' || error.reason === 'busy'));

/** What the caller is told; errors that are not for a caller (`io`: the process must end) stay as they are. */
async function refusalOf(
  error: unknown,
  { fileBytesMax, diskGuard }: { fileBytesMax: number; diskGuard: UploaderOptions['diskGuard'] },
): Promise<unknown> {
  if (error instanceof BlobTooLarge) {
    const message = `The file is larger than ${fileBytesMax} bytes, the limit for one file. Split it into several files.`;
    return new ApiError('fileTooLarge', message, { param: 'file', cause: error });
  }
  if (!(error instanceof BlobStoreError || error instanceof StoreError)) return error;
  if (error.reason === 'disk_full') {
    // A blob that does not fit has left its space; a row that does not fit found none.
    if (error instanceof StoreError) await diskGuard.dropBallast();
    else diskGuard.noteFull();
    return diskFull(error);
  }
  if (error.reason === 'busy' || error.reason === 'read_only' || error.reason === 'connection') {
    const message = 'The file could not be stored just now. Try again later.';
    return new ApiError('notReady', message, { retryAfterS: RETRY_AFTER_S, cause: error });
  }
  return error;
}

const diskFull = (cause?: Error): ApiError =>
  new ApiError(
    'diskFull',
    'The disk of the service is nearly full, so it takes no files now. Try again later.',
    {
      retryAfterS: RETRY_AFTER_S,
      cause,
    },
  );

const quotaExceeded = (file: FileRow, limits: FileLimits): ApiError =>
  new ApiError(
    'fileQuotaExceeded',
    file.expiresAt === null
      ? `The quota for files without expiry is reached. The maximum is ${limits.withoutExpiryMax}.`
      : `The quota for files with expiry is reached. The maximum is ${limits.withExpiryMax}.`,
  );
