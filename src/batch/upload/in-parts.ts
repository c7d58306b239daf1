import { createHash } from 'node:crypto';
import { ApiError, type Dialect } from '../../contract/error.ts';
import type { FilePurpose, FileRow } from '../../contract/file.ts';
import type { Scope } from '../../contract/scope.ts';
import {
  PART_BYTES_MAX,
  partBlobId,
  UPLOAD_LIFETIME_S,
  type PartRow,
  type UploadRow,
} from '../../contract/upload.ts';
import { type Clock, nowS } from '../../core/clock.ts';
import { newPartId, newUploadId, type UuidSource } from '../../core/ids.ts';
import { BlobNotFound, BlobStoreError, type BlobStore } from '../../stores/blobs/port.ts';
import type { FileLimits, PartOutcome, UploadLimits } from '../../stores/state/ports.ts';
import { toFilename } from './filename.ts';
import type { Intake } from './intake.ts';
import { removeBytes, type RemovalStores } from './removal.ts';

export interface NewUpload {
  readonly filename: string;
  readonly purpose: FilePurpose;
  /** The sum of the sizes of all parts. */
  readonly bytes: number;
  /** The file expires this long after its creation. Null: it never does. */
  readonly expiresAfterS: number | null;
  readonly dialect: Dialect;
}

export interface Completion {
  /** The file has the parts in this order. */
  readonly partIds: readonly string[];
  /** The MD5 of the whole file, in hex or base64. */
  readonly md5: string | null;
}

/** Stores the bytes of a file, and then has `insert` write its row. */
export type StoreFile = (
  scope: Scope,
  file: {
    readonly filename: string;
    readonly purpose: FilePurpose;
    readonly chunks: AsyncIterable<Uint8Array>;
    readonly expiresAfterS: number | null;
  },
  insert: (file: FileRow, limits: FileLimits) => Promise<'inserted' | 'limit'>,
) => Promise<FileRow>;

interface PartUploadsOptions {
  readonly state: RemovalStores['state'];
  readonly blobs: BlobStore;
  readonly clock: Clock;
  readonly uuid: UuidSource;
  readonly intake: Intake;
  readonly storeFile: StoreFile;
  readonly fileBytesMax: number;
}

/** Parts that were sent twice may take as much disk space again. */
const limitsFor = (fileBytesMax: number): UploadLimits => ({
  pendingMax: 100,
  partsMax: 1_000,
  partBytesMax: 2 * fileBytesMax,
});

export const PART_TOO_LARGE = `The part is larger than ${PART_BYTES_MAX} bytes, the limit for one. Send more and smaller parts.`;

/** Uploads in parts. Each method throws `ApiError` for what it refuses. */
export class PartUploads {
  readonly #options: PartUploadsOptions;
  readonly #limits: UploadLimits;
  constructor(options: PartUploadsOptions) {
    this.#options = options;
    this.#limits = limitsFor(options.fileBytesMax);
  }

  async start(
    scope: Scope,
    { filename, purpose, bytes, expiresAfterS, dialect }: NewUpload,
  ): Promise<UploadRow> {
    const { state, uuid } = this.#options;
    const createdAt = this.#nowS();
    const upload: UploadRow = {
      id: newUploadId(uuid),
      resourceId: scope.resourceId,
      filename: toFilename(filename, { purpose, dialect, param: 'filename' }),
      purpose,
      bytes,
      status: 'pending',
      createdAt,
      expiresAt: createdAt + UPLOAD_LIFETIME_S,
      fileExpiresAfterS: expiresAfterS,
      completion: null,
    };
    if ((await state.uploads.start(scope, upload, this.#limits)) === 'limit')
      throw tooManyUploads(this.#limits);
    return upload;
  }

  /** Resolves once the part is on stable storage. */
  async addPart(scope: Scope, uploadId: string, chunks: AsyncIterable<Uint8Array>): Promise<PartRow> {
    const { state, uuid, intake } = this.#options;
    // The caller hears this before the bytes are taken.
    const upload = await this.#find(scope, uploadId);
    if (upload.status !== 'pending') throw notPending(upload);
    const id = newPartId(uuid);
    const incoming = {
      blobId: partBlobId(id),
      chunks,
      bytesMax: PART_BYTES_MAX,
      tooLarge: { message: PART_TOO_LARGE, param: 'data' },
    };
    return intake.take(incoming, async ({ id: blobId, bytes, sha256 }) => {
      const atS = this.#nowS();
      const part: PartRow = { id, blobId, uploadId, bytes, sha256, createdAt: atS };
      const outcome = await state.uploads.addPart(scope, part, { ...this.#limits, atS });
      if (outcome === 'ended') throw notPending(await this.#find(scope, uploadId));
      if (outcome !== 'added') throw tooManyParts(outcome, this.#limits);
      return part;
    });
  }

  /** The same call again gets the same file, as its answer may have been lost. `file` is null when it was deleted since. */
  async complete(
    scope: Scope,
    uploadId: string,
    completion: Completion,
  ): Promise<{ readonly upload: UploadRow; readonly file: FileRow | null }> {
    const before = await this.#find(scope, uploadId);
    const file = before.status === 'pending' ? await this.#join(scope, before, completion) : undefined;
    const upload = await this.#find(scope, uploadId);
    if (file !== undefined) return { upload, file };
    if (upload.completion?.digest !== digestOf(completion)) throw notPending(upload);
    const known = await this.#options.state.files.get(scope, upload.completion.fileId);
    return { upload, file: known ?? null };
  }

  /** An upload that is cancelled already stays cancelled. */
  async cancel(scope: Scope, uploadId: string): Promise<UploadRow> {
    const { status } = await this.#find(scope, uploadId);
    if (status === 'pending') {
      const blobIds = await this.#options.state.uploads.cancel(scope, uploadId);
      await removeBytes(this.#options, blobIds ?? []);
    }
    const upload = await this.#find(scope, uploadId);
    if (upload.status !== 'cancelled') throw notPending(upload);
    return upload;
  }

  /** Returns the upload as it is now. It has expired when its time is over, even before a sweep has seen that. */
  async #find(scope: Scope, uploadId: string): Promise<UploadRow> {
    const upload = await this.#options.state.uploads.get(scope, uploadId);
    if (upload === undefined) throw uploadNotFound(uploadId);
    return upload.status === 'pending' && upload.expiresAt <= this.#nowS()
      ? { ...upload, status: 'expired' }
      : upload;
  }

  /** Returns undefined when somebody else ended the upload meanwhile. */
  async #join(scope: Scope, upload: UploadRow, completion: Completion): Promise<FileRow | undefined> {
    const { state, blobs, storeFile } = this.#options;
    const parts = partsInOrder(await state.uploads.parts(scope, upload.id), upload, completion);
    const { filename, purpose, fileExpiresAfterS: expiresAfterS } = upload;
    const joining = { filename, purpose, chunks: joined(blobs, parts, completion), expiresAfterS };
    let replaced: readonly string[] = [];
    try {
      const file = await storeFile(scope, joining, async (row, limits) => {
        const digest = digestOf(completion);
        const atS = this.#nowS();
        const outcome = await state.uploads.complete(scope, upload.id, { file: row, digest, limits, atS });
        if (outcome.kind === 'ended') throw notPending(upload);
        if (outcome.kind === 'limit') return 'limit';
        replaced = outcome.blobIds;
        return 'inserted';
      });
      await removeBytes(this.#options, replaced);
      return file;
    } catch (error) {
      // The parts are deleted when the upload ends, even while they are read here.
      const isOver = error instanceof ApiError && (await this.#find(scope, upload.id)).status !== 'pending';
      if (isOver) return undefined;
      throw error;
    }
  }

  #nowS(): number {
    return nowS(this.#options.clock);
  }
}

/** Two calls with the same digest ask for the same. */
const digestOf = ({ partIds, md5 }: Completion): string =>
  createHash('sha256')
    .update(JSON.stringify([partIds, md5]))
    .digest('hex');

function partsInOrder(
  parts: readonly PartRow[],
  { id, bytes }: UploadRow,
  { partIds }: Completion,
): PartRow[] {
  const byId = new Map(parts.map((part) => [part.id, part]));
  const seen = new Set<string>();
  const ordered = partIds.map((partId) => {
    const part = byId.get(partId);
    if (part === undefined) throw wrongParts(`the upload '${id}' has no part '${partId.slice(0, 100)}'`);
    if (seen.has(partId)) throw wrongParts(`the part '${partId}' is named twice`);
    seen.add(partId);
    return part;
  });
  const sum = ordered.reduce((total, part) => total + part.bytes, 0);
  if (sum === bytes) return ordered;
  throw wrongParts(
    `the parts have ${sum} bytes together, and the upload was started for ${bytes}. Name every part, or cancel it and start again`,
  );
}

/** Yields the bytes of the file. Throws when they are not those that were sent, so that nothing is stored. */
async function* joined(
  blobs: BlobStore,
  parts: readonly PartRow[],
  { md5 }: Completion,
): AsyncGenerator<Uint8Array> {
  const whole = createHash('md5');
  for (const part of parts) {
    const own = createHash('sha256');
    try {
      for await (const chunk of blobs.read(part.blobId) as AsyncIterable<Uint8Array>) {
        own.update(chunk);
        if (md5 !== null) whole.update(chunk);
        yield chunk;
      }
    } catch (error) {
      if (error instanceof BlobNotFound || isDamage(error)) throw damagedPart(part, error);
      throw error;
    }
    if (own.digest('hex') !== part.sha256) throw damagedPart(part);
  }
  if (md5 === null) return;
  const digest = whole.digest();
  if (md5.toLowerCase() === digest.toString('hex') || md5 === digest.toString('base64')) return;
  throw new ApiError(
    'invalidValue',
    `Invalid value for 'md5': the parts in this order have the MD5 ${digest.toString('hex')}. Check the order, or send the parts again.`,
    { param: 'md5' },
  );
}

const isDamage = (error: unknown): boolean => error instanceof BlobStoreError && error.reason === 'damaged';

const damagedPart = ({ id }: PartRow, cause?: unknown): ApiError =>
  new ApiError(
    'uploadPartDamaged',
    `The bytes of the part '${id}' were damaged on the disk of the service. Send that part again, and complete with its new id.`,
    { param: 'part_ids', cause },
  );

const uploadNotFound = (id: string): ApiError =>
  new ApiError('uploadNotFound', `No upload with the id '${id.slice(0, 100)}' exists in this resource.`, {
    param: 'id',
  });

function notPending({ id, status }: UploadRow): ApiError {
  const why = {
    pending: 'has just ended',
    completed: 'is completed already',
    cancelled: 'was cancelled',
    expired: `has expired, ${UPLOAD_LIFETIME_S / 3_600} hours after it was started`,
  }[status];
  return new ApiError('uploadNotPending', `The upload '${id}' ${why}. Start another one.`, { param: 'id' });
}

const wrongParts = (what: string): ApiError =>
  new ApiError('invalidValue', `Invalid value for 'part_ids': ${what}.`, { param: 'part_ids' });

const tooManyUploads = ({ pendingMax }: UploadLimits): ApiError =>
  new ApiError(
    'uploadQuotaExceeded',
    `This resource has ${pendingMax} uploads that are neither completed nor cancelled, which is the most. Complete or cancel some; each expires by itself ${UPLOAD_LIFETIME_S / 3_600} hours after its start.`,
  );

const tooManyParts = (
  outcome: Exclude<PartOutcome, 'added' | 'ended'>,
  { partsMax, partBytesMax }: UploadLimits,
): ApiError =>
  new ApiError(
    'uploadQuotaExceeded',
    outcome === 'too_many_parts'
      ? `An upload has at most ${partsMax} parts, also counting those that are not used. Send larger ones.`
      : `The parts of an upload have at most ${partBytesMax} bytes together, also counting those that are not used. Cancel it and start again.`,
  );
