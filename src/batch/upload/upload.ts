import { INPUT_BYTES_MAX } from '../../contract/batch.ts';
import { ApiError } from '../../contract/error.ts';
import type { FilePurpose, FileRow } from '../../contract/file.ts';
import type { Scope } from '../../contract/scope.ts';
import { type Clock, nowS } from '../../core/clock.ts';
import type { DiskGuard } from '../../core/disk-guard.ts';
import { newUploadedFileId, type UuidSource } from '../../core/ids.ts';
import type { Log } from '../../core/log.ts';
import type { BlobStore, StoredBlob } from '../../stores/blobs/port.ts';
import type { FileLimits, StateStore } from '../../stores/state/ports.ts';
import { toFilename } from './filename.ts';
import { PartUploads, type StoreFile } from './in-parts.ts';
import { Intake } from './intake.ts';
import { deleteFile, deleteExpired, expireUploads, finishRemovals, type RemovalStores } from './removal.ts';
import { bringStraysBack, removeOldStrays, setStraysAside, type Strays } from './strays.ts';

export interface Upload {
  readonly filename: string;
  readonly purpose: FilePurpose;
  readonly chunks: AsyncIterable<Uint8Array>;
  /** The file expires this long after its creation. Null: it never does. */
  readonly expiresAfterS: number | null;
  /** A refused name is told in the words of this dialect, which is Azure's when left out. */
  readonly dialect?: 'azure' | 'openai';
}

export interface UploaderOptions {
  readonly state: Pick<StateStore, 'files' | 'batches' | 'uploads'>;
  readonly blobs: BlobStore;
  readonly clock: Clock;
  readonly uuid: UuidSource;
  readonly diskGuard: Pick<DiskGuard, 'hasSpace' | 'noteFull' | 'dropBallast'>;
  readonly log: Log;
  readonly limits: FileLimits;
  readonly fileBytesMax?: number;
}

export interface Uploader {
  /** Takes files that come in parts. */
  readonly inParts: PartUploads;
  /** Streams the bytes to the store, then inserts the row. Throws `ApiError`, or what `chunks` threw. */
  uploadFile(scope: Scope, upload: Upload): Promise<FileRow>;
  /** Returns false when there is no such file. Bytes that a live batch still reads stay until it has ended. */
  deleteFile(scope: Scope, fileId: string): Promise<boolean>;
  /** Deletes the files past their expiry, and returns how many. Ends uploads in parts whose time is over. */
  deleteExpired(): Promise<number>;
  /** Deals with bytes that no file has. This is safe at any time. `strays: false` does not list every blob. */
  sweep(options?: { readonly strays: boolean }): Promise<Sweep>;
  /** Brings back what was set aside under another database and this one names. Call it before anything reads. */
  bringStraysBack(): Promise<Strays>;
}

export interface Sweep {
  /** How many blobs of deleted files had stayed behind and are removed. */
  readonly removed: number;
  readonly setAside: Strays;
  /** These were set aside days ago, and are removed now. */
  readonly dropped: Strays;
}

export function createUploader(options: UploaderOptions): Uploader {
  const { state, blobs, clock, uuid, diskGuard, log, limits, fileBytesMax = INPUT_BYTES_MAX } = options;
  const intake = new Intake({ blobs, diskGuard });

  const storeFile: StoreFile = async (scope, upload, insert) => {
    const id = newUploadedFileId(uuid);
    const incoming = {
      blobId: id,
      chunks: upload.chunks,
      bytesMax: fileBytesMax,
      tooLarge: { message: fileTooLarge(fileBytesMax), param: 'file' },
    };
    const file = await intake.take(incoming, async (stored) => {
      const row = toRow(scope, { ...stored, upload, createdAt: nowS(clock) });
      if ((await insert(row, limits)) === 'limit') throw quotaExceeded(row, limits);
      return row;
    });
    const { resourceId: resource, actor } = scope;
    log.event('file.uploaded', { file: id, bytes: file.bytes, resource, actor });
    return file;
  };

  return {
    uploadFile: async (scope, upload) => {
      const { purpose, dialect = 'azure' } = upload;
      const filename = toFilename(upload.filename, { purpose, dialect });
      const judged = {
        filename,
        purpose,
        chunks: upload.chunks,
        get expiresAfterS() {
          return upload.expiresAfterS;
        },
      };
      return storeFile(scope, judged, (file) => state.files.insert(scope, file, limits));
    },
    inParts: new PartUploads({ state, blobs, clock, uuid, intake, storeFile, fileBytesMax }),
    deleteFile: (scope, fileId) => deleteFile({ state, blobs }, scope, { fileId, atS: nowS(clock) }),
    async deleteExpired() {
      await expireUploads({ state, blobs }, nowS(clock));
      return deleteExpired({ state, blobs }, nowS(clock));
    },
    ...cleaning({ state, blobs }, { uploading: intake.underWay, clock }),
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

function toRow(
  { resourceId }: Scope,
  {
    id,
    bytes,
    sha256,
    createdAt,
    upload,
  }: StoredBlob & { createdAt: number; upload: Parameters<StoreFile>[1] },
): FileRow {
  // `expiresAfterS` is read here and no earlier: a form may name the expiry after the bytes.
  const { filename, purpose, expiresAfterS } = upload;
  const expiresAt = expiresAfterS === null ? null : createdAt + expiresAfterS;
  return { id, blobId: id, resourceId, filename, purpose, bytes, sha256, createdAt, expiresAt };
}

export const fileTooLarge = (bytesMax: number): string =>
  `The file is larger than ${bytesMax} bytes, the limit for one file. Split it into several files.`;

const quotaExceeded = (file: FileRow, limits: FileLimits): ApiError =>
  new ApiError(
    'fileQuotaExceeded',
    file.expiresAt === null
      ? `The quota for files without expiry is reached. The maximum is ${limits.withoutExpiryMax}.`
      : `The quota for files with expiry is reached. The maximum is ${limits.withExpiryMax}.`,
  );
