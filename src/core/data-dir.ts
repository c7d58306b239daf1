import { randomBytes } from 'node:crypto';
import { constants } from 'node:fs';
import { chmod, mkdir, open, readdir, readFile, rename } from 'node:fs/promises';
import { dirname, join, resolve } from 'node:path';
import { DatabaseSync } from 'node:sqlite';

/** The directory that a server writes to. One server holds it at a time. */
export interface DataDir {
  readonly path: string;
  readonly blobsDir: string;
  /** 32 secret bytes that key the digests of api-keys. Undefined: there are none yet. */
  readonly pepper: Uint8Array | undefined;
  /** Makes a new pepper, in place of an older one. */
  makePepper(): Promise<Uint8Array>;
  /** Releases the directory. However the process ends, its end releases the directory too. */
  close(): void;
}

/** The operator must put this right. The message names the directory and says how. */
export class DataDirError extends Error {
  override name = 'DataDirError';
}

const LOCK_FILE = 'lock.db';
export const PEPPER_FILE = 'pepper';
const PEPPER_BYTES = 32;
/** A server that was just killed may need a moment to end. */
const LOCK_WAIT_MS = 500;

export async function openDataDir(dataDir: string): Promise<DataDir> {
  const path = resolve(dataDir);
  try {
    await makePrivate(path);
    const unlock = lock(path);
    try {
      await chmod(join(path, LOCK_FILE), 0o600);
      const blobsDir = join(path, 'blobs');
      await makeDurably(blobsDir);
      const pepperFile = join(path, PEPPER_FILE);
      const pepper = await readPepper(pepperFile);
      return { path, blobsDir, pepper, makePepper: () => makePepper(pepperFile), close: unlock };
    } catch (error) {
      unlock();
      throw error;
    }
  } catch (error) {
    throw explain(path, error);
  }
}

/** Reads the directory, also while a server holds it. */
export async function readDataDir(dataDir: string): Promise<Pick<DataDir, 'path' | 'blobsDir' | 'pepper'>> {
  const path = resolve(dataDir);
  try {
    await readdir(path);
    return { path, blobsDir: join(path, 'blobs'), pepper: await readPepper(join(path, PEPPER_FILE)) };
  } catch (error) {
    if (error instanceof DataDirError) throw error;
    const code = error instanceof Error && 'code' in error ? String(error.code) : String(error);
    const what = code === 'ENOENT' ? 'is not there' : `cannot be read by this user (${code})`;
    throw new DataDirError(`The data directory ${path} ${what}. Name the right one with --data-dir.`, {
      cause: error,
    });
  }
}

/** No other user of this host may read it. A directory with files of somebody else keeps its mode. */
async function makePrivate(path: string): Promise<void> {
  if (await makeDurably(path)) return;
  const names = await readdir(path);
  const ours = names.length === 0 || names.includes(LOCK_FILE);
  // A mounted volume may belong to another user. The files in it are still for their owner only.
  if (ours) await chmod(path, 0o700).catch(() => {});
}

/** Makes `path` and its parents, and makes their names durable. False: the directory was there. */
async function makeDurably(path: string): Promise<boolean> {
  const first = await mkdir(path, { recursive: true, mode: 0o700 });
  if (first === undefined) return false;
  for (let made = path; made.length >= first.length; made = dirname(made)) await fsyncDir(dirname(made));
  return true;
}

/**
 * The lock is an exclusive transaction of SQLite that never ends. The kernel releases it when the process ends, also by
 * kill -9, so no stale lock keeps a restart out. Invariant: nothing else in this process opens the file, since closing it
 * would release the lock.
 */
function lock(path: string): () => void {
  const db = new DatabaseSync(join(path, LOCK_FILE), { timeout: LOCK_WAIT_MS });
  try {
    db.exec('BEGIN EXCLUSIVE');
  } catch (error) {
    db.close();
    throw error;
  }
  const unlock = () => {
    process.off('exit', unlock);
    if (db.isOpen) db.close();
  };
  // This keeps `db` reachable. Garbage collection would close it and release the lock.
  process.on('exit', unlock);
  return unlock;
}

async function readPepper(file: string): Promise<Uint8Array | undefined> {
  const found = await readFile(file).catch((error: NodeJS.ErrnoException) => {
    if (error.code === 'ENOENT') return undefined;
    throw new DataDirError(`${file} cannot be read (${error.code}). Restore it from a backup.`, {
      cause: error,
    });
  });
  if (found === undefined || found.byteLength === PEPPER_BYTES) return found;
  throw new DataDirError(
    `${file} is damaged: it has ${found.byteLength} bytes and must have ${PEPPER_BYTES}. Restore it from a backup. ` +
      'Without one, remove it: the next start says how to go on with new keys.',
  );
}

async function makePepper(file: string): Promise<Uint8Array> {
  const pepper = randomBytes(PEPPER_BYTES);
  await writeDurably(file, pepper);
  return pepper;
}

/** Writes a file, by default for this user alone. After a power cut the file is whole, or as it was before. */
export async function writeDurably(file: string, content: string | Uint8Array, mode = 0o600): Promise<void> {
  const handle = await open(`${file}.new`, 'w', mode);
  try {
    await handle.writeFile(content);
    await handle.chmod(mode);
    await handle.sync();
  } finally {
    await handle.close();
  }
  await rename(`${file}.new`, file);
  await fsyncDir(dirname(file));
}

async function fsyncDir(dir: string): Promise<void> {
  const handle = await open(dir, constants.O_RDONLY | constants.O_DIRECTORY);
  try {
    await handle.sync();
  } finally {
    await handle.close();
  }
}

const SQLITE_BUSY = 5;
const SQLITE_READONLY = 8;
const SQLITE_FULL = 13;
const SQLITE_CANTOPEN = 14;

function explain(path: string, error: unknown): Error {
  if (!(error instanceof Error)) return new DataDirError(String(error));
  if (error instanceof DataDirError) return error;
  const code = 'code' in error && typeof error.code === 'string' ? error.code : '';
  const sqlite = 'errcode' in error && typeof error.errcode === 'number' ? error.errcode & 0xff : 0;
  return new DataDirError(adviceFor(path, { code, sqlite, message: error.message }), { cause: error });
}

function adviceFor(path: string, fault: { code: string; sqlite: number; message: string }): string {
  if (fault.sqlite === SQLITE_BUSY) {
    return (
      `Another Offpeak server is using the data directory ${path}. ` +
      'Stop it first, or give this one a directory of its own with --data-dir.'
    );
  }
  if (
    fault.sqlite === SQLITE_CANTOPEN ||
    fault.sqlite === SQLITE_READONLY ||
    ['EACCES', 'EPERM', 'EROFS'].includes(fault.code)
  ) {
    return (
      `The data directory ${path} cannot be written by this user (${fault.code || fault.message}). ` +
      'Make it writable, or name another with --data-dir.'
    );
  }
  if (fault.code === 'ENOTDIR' || fault.code === 'EEXIST') {
    return `The data directory ${path} is, or lies under, something that is not a directory. Name another with --data-dir.`;
  }
  if (fault.code === 'ENOSPC' || fault.sqlite === SQLITE_FULL) {
    return `The disk of the data directory ${path} is full. Free some space, or name another with --data-dir.`;
  }
  return `The data directory ${path} cannot be used: ${fault.message}. Put that right, or name another with --data-dir.`;
}
