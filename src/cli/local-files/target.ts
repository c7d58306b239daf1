import { randomBytes } from 'node:crypto';
import { createWriteStream, type Stats } from 'node:fs';
import {
  access,
  chmod,
  constants,
  copyFile,
  lstat,
  open,
  readlink,
  realpath,
  rename,
  rm,
  stat,
} from 'node:fs/promises';
import { basename, dirname, join, resolve } from 'node:path';
import type { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { setTimeout as sleep } from 'node:timers/promises';
import { CliError, EXIT } from '../process/exit.ts';
import { codeOf, reasonOf } from '../process/system-error.ts';
import { note } from '../terminal/print.ts';

/**
 * Where a command writes. `stdout` and `stream` (a pipe or a device) are written into and never replaced. A `file` is replaced
 * whole, by a rename. A symbolic link stays, and the file to which it points is replaced.
 */
export type Target =
  | { readonly kind: 'stdout'; readonly path: '-' }
  | { readonly kind: 'stream'; readonly path: string; readonly id: string; readonly isPipe: boolean }
  | {
      readonly kind: 'file';
      /** The path that the user gave. */
      readonly path: string;
      /** The path behind all links, which is replaced. */
      readonly realPath: string;
      /** The file that is there now; null: none. */
      readonly there: { readonly id: string; readonly mode: number; readonly bytes: number } | null;
    };

/** Finds out what is at `path`, and writes nothing. Refuses what no output can go to. */
export async function targetAt(path: string): Promise<Target> {
  if (path === '') throw new CliError('A file to write to has an empty name.', EXIT.usage);
  if (path === '-' || (await isDescriptor(path, 1))) return { kind: 'stdout', path: '-' };
  const there = await statOf(path);
  if (there?.isDirectory()) throw refusal(path, 'it is a directory. Name a file');
  if (there?.isSocket()) throw refusal(path, 'it is a socket. Name a file, a pipe or -');
  if (there?.isBlockDevice()) throw refusal(path, 'it is a disk. Name a file, a pipe or -');
  if (there && (!there.isFile() || (await isDescriptor(path)))) {
    return { kind: 'stream', path, id: identityOf(there), isPipe: there.isFIFO() };
  }
  if (there === null && /[/\\]$/.test(path)) throw refusal(path, 'there is no such directory');
  const realPath = await followed(path);
  return {
    kind: 'file',
    path,
    realPath,
    there: there && { id: identityOf(there), mode: there.mode & 0o777, bytes: there.size },
  };
}

/** Finds out whether a target can be written, before anything is sent or paid for. It leaves nothing behind. */
export async function probeTarget(target: Target): Promise<void> {
  try {
    if (target.kind === 'stdout') return;
    if (target.kind === 'stream' && target.isPipe) return await access(target.path, constants.W_OK);
    // A terminal or a device may be there and refuse to open.
    if (target.kind === 'stream') return await (await open(target.path, 'a')).close();
    if (target.there) await access(target.realPath, constants.W_OK);
    const part = partIn(dirname(target.realPath));
    await (await open(part, 'wx')).close();
    await rm(part, { force: true });
  } catch (error) {
    const where = target.kind === 'file' ? dirname(target.realPath) : target.path;
    const reason =
      codeOf(error) === 'ENOENT' ? `there is no directory ${where}` : `${reasonOf(error)} (${where})`;
    throw refusal(target.path, reason, error);
  }
}

/** Refuses two names of one file. Each target has the flag or the role that named it. The same device twice is fine. */
export function refuseSameTwice(
  named: readonly (readonly [string, Target | { readonly id: string }])[],
): void {
  const seen = new Map<string, string>();
  for (const [name, target] of named) {
    for (const id of identitiesOf(target)) {
      const other = seen.get(id);
      if (other !== undefined && other !== name) {
        throw new CliError(`${other} and ${name} are the same file. Name different ones.`, EXIT.usage);
      }
      seen.set(id, name);
    }
  }
}

function identitiesOf(target: Target | { readonly id: string }): string[] {
  if (!('kind' in target)) return [target.id];
  if (target.kind === 'stdout') return [];
  if (target.kind === 'stream') return target.isPipe ? [target.id] : [];
  return [target.realPath, ...(target.there ? [target.there.id] : [])];
}

/** The target does not have everything. */
export class UnwrittenError extends CliError {
  override name = 'UnwrittenError';
}

/** The reader of a pipe went away before everything was written. */
export class ReaderGone extends UnwrittenError {
  override name = 'ReaderGone';
}

/** Writes `content`. A file appears whole and durable, or not at all; until then it is in `partDir`, by default beside it. */
export async function writeTarget(
  target: Target,
  content: Readable,
  { partDir, signal }: { readonly partDir?: string; readonly signal?: AbortSignal } = {},
): Promise<void> {
  try {
    if (target.kind === 'stdout') await pipeline(content, process.stdout, { end: false, signal });
    else if (target.kind === 'stream') await writeInto(target, content, signal);
    else await replace(target, content, { partDir: partDir ?? dirname(target.realPath), signal });
  } catch (error) {
    // The source of the content failed, and its error says why.
    if (error instanceof CliError) throw error;
    const name = target.kind === 'stdout' ? 'standard output' : target.path;
    if (codeOf(error) === 'EPIPE') {
      throw new ReaderGone(`${name} was closed before everything was written.`, EXIT.failed, {
        cause: error,
      });
    }
    throw new UnwrittenError(`${name} cannot be written: ${reasonOf(error)}.`, EXIT.failed, { cause: error });
  }
}

const FIFO_POLL_MS = 50;
const FIFO_POLLS_QUIET = 40;

async function writeInto(
  { path, isPipe }: { readonly path: string; readonly isPipe: boolean },
  content: Readable,
  signal: AbortSignal | undefined,
): Promise<void> {
  // To open a pipe that nobody reads would block a thread, and with it the end of the process.
  const reader = isPipe ? await openOnceRead(path, signal) : null;
  try {
    await pipeline(content, createWriteStream(path, { flags: isPipe ? 'w' : 'a' }), { signal });
  } finally {
    await reader?.close();
  }
}

async function openOnceRead(path: string, signal: AbortSignal | undefined) {
  for (let polls = 0; ; polls++) {
    try {
      return await open(path, constants.O_WRONLY | constants.O_NONBLOCK);
    } catch (error) {
      if (codeOf(error) !== 'ENXIO') throw error;
      if (polls === FIFO_POLLS_QUIET) note(`${path}: waiting until somebody reads this pipe.`);
      await sleep(FIFO_POLL_MS, undefined, { signal });
    }
  }
}

async function replace(
  { realPath, there }: Extract<Target, { kind: 'file' }>,
  content: Readable,
  { partDir, signal }: { readonly partDir: string; readonly signal: AbortSignal | undefined },
): Promise<void> {
  const part = partIn(partDir);
  try {
    await pipeline(content, createWriteStream(part, { flush: true, flags: 'wx' }), { signal });
    if (there) await chmod(part, there.mode);
    await rename(part, realPath).catch((error: unknown) => overwrite(part, realPath, error));
    await syncDirectory(dirname(realPath));
  } catch (error) {
    await rm(part, { force: true });
    throw error;
  }
}

/** A file that is a mount of its own, as in containers, can only be written in place. */
async function overwrite(part: string, realPath: string, error: unknown): Promise<void> {
  if (!['EBUSY', 'EXDEV'].includes(codeOf(error))) throw error;
  await copyFile(part, realPath);
  const file = await open(realPath, 'r+');
  try {
    await file.sync();
  } finally {
    await file.close();
  }
  await rm(part);
}

/** A random name, so that no file of the user has it. */
const partIn = (dir: string): string => join(dir, `.offpeak-${randomBytes(6).toString('hex')}.part`);

export async function syncDirectory(path: string): Promise<void> {
  const directory = await open(path);
  try {
    await directory.sync();
  } finally {
    await directory.close();
  }
}

/** Every name of one file has the same identity, also a hard link. */
export const identityOf = ({ dev, ino }: Stats): string => `${dev}:${ino}`;

async function statOf(path: string): Promise<Stats | null> {
  try {
    return await stat(path);
  } catch (error) {
    if (codeOf(error) === 'ENOENT') return null;
    throw refusal(path, reasonOf(error), error);
  }
}

const LINKS_MAX = 40;

/** The path behind all links. The file itself need not exist. */
async function followed(path: string): Promise<string> {
  let at = resolve(path);
  for (let links = 0; links < LINKS_MAX; links++) {
    const parent = await realpath(dirname(at)).catch(() => dirname(at));
    at = join(parent, basename(at));
    const isLink = await lstat(at).then(
      (found) => found.isSymbolicLink(),
      () => false,
    );
    if (!isLink) return at;
    at = resolve(parent, await readlink(at));
  }
  throw refusal(path, 'its symbolic links go round in a circle');
}

/** Whether a path like `/dev/stdout` or `/dev/fd/3` stands for a descriptor that is open already. */
async function isDescriptor(path: string, only?: number): Promise<boolean> {
  const number = only ?? String.raw`\d+`;
  const direct = new RegExp(`^/(dev/fd|proc/(self|${process.pid})/fd)/${number}$`);
  const at = resolve(path);
  if (direct.test(at)) return true;
  if (!/^\/dev\/std(out|err)$/.test(at)) return false;
  const to = await readlink(at).catch(() => '');
  return direct.test(resolve('/dev', to));
}

const refusal = (path: string, reason: string, cause?: unknown): CliError =>
  new CliError(`${path} cannot be written: ${reason}.`, EXIT.usage, { cause });
