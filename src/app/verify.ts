import type { Dirent } from 'node:fs';
import { readdir } from 'node:fs/promises';
import { join, relative } from 'node:path';
import type { AppConfig } from '../config/config.ts';
import { isBlobId, type FileRow } from '../contract/file.ts';
import { systemClock } from '../core/clock.ts';
import { DataDirError, readDataDir } from '../core/data-dir.ts';
import { readDiskBlobs, type DiskBlobs } from '../stores/blobs/disk.ts';
import { unnamed } from '../batch/upload/strays.ts';
import { BlobNotFound, BlobStoreError } from '../stores/blobs/port.ts';
import type { StateStore } from '../stores/state/ports.ts';
import { openPostgresReadOnly } from '../stores/state/postgres/open.ts';
import { openSqliteReadOnly } from '../stores/state/sqlite/read-only.ts';
import { mismatchOf, pepperFault } from './installation.ts';
import { bytesOf, labelOf, sqlitePath } from './storage.ts';

/** A file whose bytes are not those of its row. */
export interface DamagedFile {
  readonly id: string;
  /** Null: it is the part of an upload, or a deleted file that a live batch still reads. */
  readonly filename: string | null;
  readonly resource: string | null;
  readonly kind: 'missing' | 'changed' | 'unreadable';
  /** Where its bytes are, or should be. */
  readonly path: string;
  readonly reason: string;
}

export interface Verification {
  readonly dataDir: string;
  readonly database: string;
  /** Faults of the installation as a whole. */
  readonly faults: readonly string[];
  readonly files: number;
  readonly bytes: number;
  readonly damaged: readonly DamagedFile[];
  /** Blobs that the database does not name. */
  readonly strays: readonly string[];
  /** Strays that were set aside before. */
  readonly setAside: readonly string[];
  /** Files among the blobs that the service did not make. */
  readonly foreign: readonly string[];
}

export interface VerifyProgress {
  readonly files: number;
  readonly checked: number;
  readonly damaged: number;
}

const PAGE = 500;
/** The bytes of an upload come before its row, by less than this. */
const SECOND_LOOK_MS = 1_000;

/** Compares every row with its bytes and all bytes with the rows. It changes nothing, and needs no lock. */
export async function verify(
  config: Pick<AppConfig, 'dataDir' | 'database'>,
  onProgress: (progress: VerifyProgress) => void,
): Promise<Verification> {
  const dataDir = await readDataDir(config.dataDir);
  const state = await openState(config, dataDir);
  const blobs = readDiskBlobs({ dir: dataDir.blobsDir });
  try {
    const database = labelOf(config, dataDir);
    // Blobs are listed before the rows are read, and what is deleted meanwhile is looked for again.
    const found = await inventory(dataDir.blobsDir, blobs);
    const halves = { dataDir, blobs, state, database };
    const faults = [await mismatchOf(halves), await pepperFault(halves)];
    const { files, bytes, damaged } = await checkFiles({ state, blobs }, onProgress);
    return {
      dataDir: dataDir.path,
      database,
      faults: faults.filter((fault) => fault !== null),
      files,
      bytes,
      damaged: [
        ...damaged,
        ...(await checkParts({ state, blobs })),
        ...(await checkDeleted({ state, blobs })),
      ],
      strays: (await straysAmong(found.ids, { state, blobs })).map((id) => blobs.pathOf(id)),
      setAside: found.setAside,
      foreign: found.foreign,
    };
  } finally {
    await blobs.close();
    await state.close();
  }
}

async function openState(
  { database }: Pick<AppConfig, 'database'>,
  dataDir: { readonly path: string },
): Promise<StateStore> {
  if (database !== null) return openPostgresReadOnly({ url: database });
  const path = sqlitePath(dataDir);
  if ((await bytesOf(path)) === 0)
    throw new DataDirError(`${path} is not there, or empty. If the state is in PostgreSQL, give --database.`);
  const { state, faults } = await openSqliteReadOnly({ path });
  const [fault] = faults();
  if (fault === undefined) return state;
  await state.close();
  throw new DataDirError(`${path} is damaged: ${fault}. Restore it with the directory, from one backup.`);
}

interface Stores {
  readonly state: StateStore;
  readonly blobs: DiskBlobs;
}

async function checkFiles({ state, blobs }: Stores, onProgress: (progress: VerifyProgress) => void) {
  const damaged: DamagedFile[] = [];
  const count = await state.files.count();
  let [checked, bytes] = [0, 0];
  for (let beforeSeq: number | null = null; ;) {
    const files: readonly (FileRow & { readonly seq: number })[] = await state.files.all({
      beforeSeq,
      limit: PAGE,
    });
    for (const file of files) {
      const damage = await damageOf(blobs, file);
      // It may have been deleted since its row was read.
      if (damage && (await state.files.stored(file.blobId))) {
        const { id, filename, resourceId: resource } = file;
        damaged.push({ id, filename, resource, ...damage });
      }
      checked += 1;
      bytes += file.bytes;
      onProgress({ files: Math.max(count, checked), checked, damaged: damaged.length });
    }
    const last = files.at(-1);
    if (last === undefined || files.length < PAGE) return { files: checked, bytes, damaged };
    beforeSeq = last.seq;
  }
}

/** Parts of uploads that are not completed yet. */
async function checkParts({ state, blobs }: Stores): Promise<DamagedFile[]> {
  const damaged: DamagedFile[] = [];
  for (let afterId = ''; ;) {
    const parts = await state.files.parts({ afterId, limit: PAGE });
    for (const part of parts) {
      const damage = await damageOf(blobs, part);
      if (damage && (await state.files.stored(part.blobId)))
        damaged.push({ id: part.blobId, filename: null, resource: null, ...damage });
    }
    const last = parts.at(-1);
    if (last === undefined || parts.length < PAGE) return damaged;
    afterId = last.blobId;
  }
}

/** Inputs that were deleted while batches still read them. */
async function checkDeleted({ state, blobs }: Stores): Promise<DamagedFile[]> {
  const damaged: DamagedFile[] = [];
  for (const { inputFileId: id, inputBlobId, resourceId } of await state.batches.live()) {
    if (await state.files.get({ resourceId, actor: 'verify' }, id)) continue;
    const stored = await state.files.stored(inputBlobId);
    const damage = stored && (await damageOf(blobs, stored));
    if (damage) damaged.push({ id, filename: null, resource: resourceId, ...damage });
  }
  return damaged;
}

async function damageOf(
  blobs: DiskBlobs,
  { blobId: id, bytes, sha256 }: Pick<FileRow, 'blobId' | 'bytes' | 'sha256'>,
): Promise<Pick<DamagedFile, 'kind' | 'path' | 'reason'> | null> {
  try {
    await blobs.check({ id, bytes, sha256 });
    return null;
  } catch (error) {
    const path = blobs.pathOf(id);
    if (error instanceof BlobNotFound) return { kind: 'missing', path, reason: 'its bytes are not there' };
    if (!(error instanceof BlobStoreError)) throw error;
    return { kind: error.reason === 'damaged' ? 'changed' : 'unreadable', path, reason: error.message };
  }
}

/** Blobs that no row names, now and a moment later: an upload may have been under way. */
async function straysAmong(ids: readonly string[], { state, blobs }: Stores): Promise<string[]> {
  const first = await unnamed({ state }, ids);
  if (first.length === 0) return [];
  await systemClock.sleep(SECOND_LOOK_MS);
  const strays: string[] = [];
  for (const id of await unnamed({ state }, first)) if ((await blobs.size(id)) !== undefined) strays.push(id);
  return strays;
}

interface Inventory {
  readonly ids: string[];
  /** Paths of strays. */
  readonly setAside: string[];
  readonly foreign: string[];
}

/** The blobs of the directory, and the other files in it. */
async function inventory(blobsDir: string, blobs: DiskBlobs): Promise<Inventory> {
  const ids: string[] = [];
  const setAside: string[] = [];
  const foreign: string[] = [];
  const entries = await readdir(blobsDir, { recursive: true, withFileTypes: true }).catch(absent);
  for (const entry of entries) {
    const path = join(entry.parentPath, entry.name);
    const at = relative(blobsDir, path);
    if (OWN.test(at)) continue;
    const isBlob = entry.isFile() && isBlobId(entry.name);
    if (isBlob && blobs.pathOf(entry.name) === path) ids.push(entry.name);
    else if (isBlob && ASIDE.test(at)) setAside.push(path);
    else if (!(entry.isDirectory() && SHARD.test(at))) foreign.push(path);
  }
  return { ids, setAside, foreign };
}

const absent = (error: NodeJS.ErrnoException): Dirent[] => {
  if (error.code === 'ENOENT') return [];
  throw error;
};

const SHARD = /^[0-9a-f]{2}(\/[0-9a-f]{2})?$/;
const OWN = /^(installation(\.new)?|tmp(\/[0-9a-f-]{36})?|strays(\/\d{4}-\d{2}-\d{2})?)$/;
const ASIDE = /^strays\/\d{4}-\d{2}-\d{2}\/[^/]+$/;
