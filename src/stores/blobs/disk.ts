import { createHash } from 'node:crypto';
import { dirname, join } from 'node:path';
import { Readable } from 'node:stream';
import { assert } from '../../core/assert.ts';
import { systemUuid, type UuidSource } from '../../core/ids.ts';
import { BlockWriter } from './block-writer.ts';
import { DurableDirs } from './durable-dirs.ts';
import { onBlob, onDisk, onFsync } from './errors.ts';
import { nodeBlobFs, type BlobFile, type BlobFs, type BlobStat } from './fs.ts';
import { OpenFiles } from './open-files.ts';
import {
  BlobNotFound,
  BlobStoreError,
  BlobTooLarge,
  type BlobStore,
  type PutOptions,
  type StoredBlob,
  type Stray,
} from './port.ts';

export interface DiskBlobsOptions {
  readonly dir: string;
  readonly fs?: BlobFs;
  /** Names temporary files. */
  readonly uuid?: UuidSource;
  /** Files kept open between calls of `readBytes`. */
  readonly openFilesMax?: number;
  /** How many bytes one write has. */
  readonly blockBytes?: number;
}

export async function openDiskBlobs(options: DiskBlobsOptions): Promise<DiskBlobs> {
  const { dir, fs = nodeBlobFs, uuid = systemUuid, openFilesMax = 64, blockBytes = BLOCK_BYTES } = options;
  await onDisk('make the blob directory', fs.mkdir(join(dir, 'tmp')));
  await onFsync('fsync above the blob directory', fs.fsyncDir(dirname(dir)));
  return new DiskBlobs({ dir, fs, uuid, openFilesMax, blockBytes });
}

/** Opens the blobs for reading only. It makes nothing, and leaves empty directories where they are. */
export const readDiskBlobs = ({ dir }: Pick<DiskBlobsOptions, 'dir'>): DiskBlobs =>
  new DiskBlobs({
    dir,
    fs: { ...nodeBlobFs, rmdir: () => Promise.reject(new Error('opened for reading only')) },
    uuid: systemUuid,
    openFilesMax: 1,
    blockBytes: BLOCK_BYTES,
  });

const BLOB_ID = /^[A-Za-z0-9_-]{1,128}$/;
const SHARD = /^[0-9a-f]{2}$/;
const DAY = /^\d{4}-\d{2}-\d{2}$/;
const TEMPORARY = /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/;
/** The results of checks are kept for at most this many blobs. Others are read again. */
const CHECKED_MAX = 20_000;
/** An empty directory may be removed while a blob is renamed into it. That is rare, and hardly happens twice in a row. */
const RENAMES_MAX = 10;
const BLOCK_BYTES = 1024 * 1024;
const READ_CHUNK_BYTES = 256 * 1024;

/**
 * Blobs as files under `dir`. A file is in one of three places:
 *
 * - `tmp/<uuid>`: it is being written. `put` syncs its bytes, renames it into its shard and syncs the shard. `sweep` removes
 *   what a crash left here.
 * - `ab/cd/<id>`, where `abcd` begins a hash of the id: it is a blob, whole and durable.
 * - `strays/<day>/<id>`: it was set aside, because no row names it.
 *
 * Shards and days are made when they are needed and removed when they are empty, at any time: a rename makes its directory
 * again when it finds none. Files with other names belong to somebody else, and stay.
 */
export class DiskBlobs implements BlobStore {
  readonly #dir: string;
  readonly #tmpDir: string;
  readonly #straysDir: string;
  readonly #fs: BlobFs;
  readonly #uuid: UuidSource;
  readonly #dirs: DurableDirs;
  readonly #openFiles: OpenFiles;
  readonly #blockBytes: number;
  /** Files whose bytes are known to have this hash, as long as their version is this one. */
  readonly #checked = new Map<string, { readonly version: string; readonly sha256: string }>();

  /** Returns the path for a worker thread, which reads the bytes itself. */
  readonly pathOf = (id: string): string => {
    if (!BLOB_ID.test(id)) throw new BlobNotFound('No blob can have such an id.');
    const hash = createHash('sha256').update(id).digest('hex');
    return join(this.#dir, hash.slice(0, 2), hash.slice(2, 4), id);
  };

  constructor({ dir, fs, uuid, openFilesMax, blockBytes }: Required<DiskBlobsOptions>) {
    this.#dir = dir;
    this.#tmpDir = join(dir, 'tmp');
    this.#straysDir = join(dir, 'strays');
    this.#fs = fs;
    this.#uuid = uuid;
    this.#blockBytes = blockBytes;
    this.#dirs = new DurableDirs(fs, dir);
    this.#openFiles = new OpenFiles((id) => this.#open(id), openFilesMax);
  }

  async put(id: string, chunks: AsyncIterable<Uint8Array>, options: PutOptions = {}): Promise<StoredBlob> {
    const path = this.pathOf(id);
    const temp = join(this.#tmpDir, this.#uuid());
    let at = temp;
    try {
      const written = await this.#writeTemp(temp, chunks, options);
      await this.#rename(temp, path);
      at = path;
      await onFsync('fsync of a blob directory', this.#fs.fsyncDir(dirname(path)));
      this.#noteChecked(id, await onDisk('stat', this.#fs.stat(path)), written.sha256);
      return { id, ...written };
    } catch (error) {
      // This failure is the one to report. If the file cannot be removed now, the next start does it.
      await this.#fs.unlink(at).catch(() => {});
      throw error;
    } finally {
      await this.#openFiles.forget(id);
    }
  }

  read(id: string, range: { readonly start: number; readonly length?: number } = { start: 0 }): Readable {
    return Readable.from(this.#chunks(id, range), { objectMode: false, highWaterMark: READ_CHUNK_BYTES });
  }

  readBytes(id: string, { start, length }: { start: number; length: number }): Promise<Uint8Array> {
    return this.#openFiles.use(id, async (file) => {
      const bytes = Buffer.allocUnsafeSlow(length);
      const got = await onDisk('read', file.read(bytes, start));
      if (got < length) throw truncated(this.pathOf(id), { wanted: start + length, got: start + got });
      return bytes;
    });
  }

  async size(id: string): Promise<number | undefined> {
    if (!BLOB_ID.test(id)) return undefined;
    const stat = await this.#statOf(this.pathOf(id));
    return stat?.isFile ? stat.bytes : undefined;
  }

  async check({ id, bytes, sha256 }: StoredBlob): Promise<void> {
    const path = this.pathOf(id);
    const stat = await onBlob(`stat ${path}`, this.#fs.stat(path));
    if (!stat.isFile) throw damaged(`${path} is no regular file`);
    if (stat.bytes !== bytes) throw damaged(`${path} has ${stat.bytes} bytes and was stored with ${bytes}`);
    const checked = this.#checked.get(id);
    if (checked?.version === stat.version && checked.sha256 === sha256) return;
    // The name may lead to another file now than to the one that is kept open.
    await this.#openFiles.forget(id);
    const hash = createHash('sha256');
    for await (const chunk of this.#chunks(id, { start: 0 })) hash.update(chunk);
    if (hash.digest('hex') !== sha256)
      throw damaged(`the bytes of ${path} have changed since they were stored`);
    this.#noteChecked(id, stat, sha256);
  }

  async delete(id: string): Promise<void> {
    try {
      const path = this.pathOf(id);
      await onBlob('delete', this.#fs.unlink(path));
      await this.#dropIfEmpty(dirname(path));
    } catch (error) {
      if (!(error instanceof BlobNotFound)) throw error;
    }
    this.#checked.delete(id);
    await this.#openFiles.forget(id);
  }

  async *list(): AsyncGenerator<string> {
    for (const first of await this.#shards(this.#dir)) {
      for (const second of await this.#shards(join(this.#dir, first))) {
        const dir = join(this.#dir, first, second);
        const names = await this.#namesIn(dir);
        if (names.length === 0) await this.#dropIfEmpty(dir);
        yield* names.filter((name) => BLOB_ID.test(name));
      }
    }
  }

  async sweep(): Promise<void> {
    for (const name of await onDisk(`list ${this.#tmpDir}`, this.#fs.readdir(this.#tmpDir))) {
      const path = join(this.#tmpDir, name);
      if (TEMPORARY.test(name) && (await this.#isFile(path))) await onDisk('delete', this.#fs.unlink(path));
    }
  }

  async setAside(stray: Stray): Promise<boolean> {
    const moved = await this.#move(this.pathOf(stray.id), this.#asidePathOf(stray));
    if (moved) await this.#openFiles.forget(stray.id);
    return moved;
  }

  async *listAside(): AsyncGenerator<Stray> {
    for (const day of await this.#namesIn(this.#straysDir)) {
      if (!DAY.test(day)) continue;
      for (const id of await this.#namesIn(join(this.#straysDir, day)))
        if (BLOB_ID.test(id)) yield { id, day };
    }
  }

  bringBack(stray: Stray): Promise<boolean> {
    return this.#move(this.#asidePathOf(stray), this.pathOf(stray.id));
  }

  async removeAside(stray: Stray): Promise<void> {
    const path = this.#asidePathOf(stray);
    if (await this.#isFile(path)) await onDisk('delete', this.#fs.unlink(path));
    await this.#dropIfEmpty(dirname(path));
  }

  /** Closes the files kept open. */
  close(): Promise<void> {
    return this.#openFiles.close();
  }

  #asidePathOf({ id, day }: Stray): string {
    assert(DAY.test(day) && BLOB_ID.test(id), 'a stray has a day and the id of a blob');
    return join(this.#straysDir, day, id);
  }

  /** Moves a regular file to a name that is free. */
  async #move(from: string, to: string): Promise<boolean> {
    if (!(await this.#isFile(from)) || (await this.#statOf(to)) !== undefined) return false;
    await this.#rename(from, to);
    await onFsync('fsync of a blob directory', this.#fs.fsyncDir(dirname(to)));
    await onFsync('fsync of a blob directory', this.#fs.fsyncDir(dirname(from))).catch((error: unknown) => {
      // The directory was removed meanwhile, as it was empty.
      if (!(error instanceof BlobNotFound)) throw error;
    });
    return true;
  }

  /** Invariant: on return the directory of `to` is durable. Without it a power cut could lose the blob with its directory. */
  async #rename(from: string, to: string): Promise<void> {
    const dir = dirname(to);
    for (let attempt = 1; ; attempt += 1) {
      try {
        await this.#dirs.ensure(dir);
        await onBlob('rename', this.#fs.rename(from, to));
        break;
      } catch (error) {
        if (!(error instanceof BlobNotFound)) throw error;
        if (attempt === RENAMES_MAX) throw new BlobStoreError('rename: ENOENT', 'io', { cause: error });
        this.#dirs.forget(dir);
      }
    }
    // Another call may have made the directory again, and may still be syncing it.
    await this.#dirs.ensure(dir);
  }

  /** A directory that is not empty, or cannot be removed, stays. */
  async #dropIfEmpty(dir: string): Promise<void> {
    this.#dirs.forget(dir);
    await this.#fs.rmdir(dir).catch(() => {
      // As a rule, the directory is not empty.
    });
  }

  /** A directory that is absent has no names. */
  async #namesIn(dir: string): Promise<string[]> {
    try {
      return await onBlob(`list ${dir}`, this.#fs.readdir(dir));
    } catch (error) {
      if (error instanceof BlobNotFound) return [];
      throw error;
    }
  }

  async #isFile(path: string): Promise<boolean> {
    return (await this.#statOf(path))?.isFile ?? false;
  }

  async #statOf(path: string): Promise<BlobStat | undefined> {
    try {
      return await onBlob('stat', this.#fs.stat(path));
    } catch (error) {
      if (error instanceof BlobNotFound) return undefined;
      throw error;
    }
  }

  #noteChecked(id: string, { version }: BlobStat, sha256: string): void {
    if (this.#checked.size >= CHECKED_MAX) this.#checked.clear();
    this.#checked.set(id, { version, sha256 });
  }

  async #open(id: string): Promise<BlobFile> {
    const path = this.pathOf(id);
    return onBlob(`open ${path}`, this.#fs.open(path));
  }

  async #writeTemp(
    path: string,
    chunks: AsyncIterable<Uint8Array>,
    { bytesMax = Infinity }: PutOptions,
  ): Promise<Written> {
    const file = await onDisk('create', this.#fs.create(path));
    try {
      const writer = new BlockWriter(file, this.#blockBytes);
      const stored = await copyInto(writer, chunks, bytesMax);
      await onFsync('fsync of a blob', file.fsync());
      return stored;
    } finally {
      await onDisk('close', file.close());
    }
  }

  async *#chunks(
    id: string,
    { start, length = Infinity }: { start: number; length?: number },
  ): AsyncGenerator<Uint8Array> {
    const file = await this.#open(id);
    try {
      const end = start + length;
      for (let at = start; at < end;) {
        const chunk = Buffer.allocUnsafeSlow(Math.min(READ_CHUNK_BYTES, end - at));
        const got = await onDisk('read', file.read(chunk, at));
        at += got;
        if (got > 0) yield chunk.subarray(0, got);
        if (got < chunk.byteLength && end === Infinity) return;
        if (got < chunk.byteLength) throw truncated(this.pathOf(id), { wanted: end, got: at });
      }
    } finally {
      await onDisk('close', file.close());
    }
  }

  async #shards(dir: string): Promise<string[]> {
    return (await this.#namesIn(dir)).filter((name) => SHARD.test(name));
  }
}

type Written = Omit<StoredBlob, 'id'>;

async function copyInto(
  writer: BlockWriter,
  chunks: AsyncIterable<Uint8Array>,
  bytesMax: number,
): Promise<Written> {
  const hash = createHash('sha256');
  let bytes = 0;
  try {
    for await (const chunk of chunks) {
      bytes += chunk.byteLength;
      if (bytes > bytesMax) throw new BlobTooLarge(`There are more than ${bytesMax} bytes.`);
      hash.update(chunk);
      await writer.add(chunk);
    }
    await writer.flush();
  } finally {
    await writer.settle();
  }
  return { bytes, sha256: hash.digest('hex') };
}

const damaged = (message: string) => new BlobStoreError(message, 'damaged');

const truncated = (path: string, { wanted, got }: { wanted: number; got: number }) =>
  damaged(`${path} ends at ${got}, and bytes up to ${wanted} were asked for`);
