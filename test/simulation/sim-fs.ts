import { basename, dirname } from 'node:path';
import type { BlobFile, BlobFs } from '../../src/stores/blobs/fs.ts';
import type { Rng } from './rng.ts';
import { never } from './scheduler.ts';
import type { Life, Scheduler } from './scheduler.ts';

interface File {
  readonly kind: 'file';
  bytes: Buffer;
  /** What an fsync has put on the platter. */
  durable: Buffer;
  /** An fsync has failed: the system has dropped the bytes, and a later fsync says nothing of it. */
  dropped: boolean;
}

interface Dir {
  readonly kind: 'dir';
  readonly names: Map<string, Node>;
  durable: Map<string, Node>;
  /** Changes of names since the last fsync of the directory, oldest first. */
  unsynced: { readonly name: string; readonly node: Node | null }[];
}

type Node = File | Dir;

/** What happens to one call: null is nothing, a string is the code with which it fails. */
type FsFault = (op: FsOp, life: Life) => 'ENOSPC' | 'EIO' | 'EMFILE' | null;
export type FsOp = 'create' | 'append' | 'fsync' | 'rename' | 'fsyncDir' | 'mkdir' | 'read' | 'unlink';

export interface SimFsOptions {
  /** A directory that is durable from the start. */
  readonly dir: string;
  readonly rng: Rng;
  readonly scheduler: Scheduler;
  readonly fault: FsFault;
  /** How long a call takes, save the few slow ones. */
  readonly latencyMs: () => number;
  /** Called after each change on the way to a durable file; a crash may happen here. */
  readonly onOp: (op: FsOp, life: Life) => void;
}

const newDir = (): Dir => ({ kind: 'dir', names: new Map(), durable: new Map(), unsynced: [] });

/**
 * A disk with a volatile and a durable layer. A process that dies loses nothing of what it wrote; a power cut keeps what
 * was fsynced, a torn part of what was not, and of the unsynced changes of a directory only the first few, or none.
 */
export class SimFs {
  readonly #root = newDir();
  readonly #options: SimFsOptions;

  constructor(options: SimFsOptions) {
    this.#options = options;
    this.#makeDir(options.dir);
    persist(this.#root);
  }

  powerCut(): void {
    this.#cut(this.#root, new Set());
  }

  /** Every file below `dir` with its bytes, without any delay or fault: for the checks. */
  *walk(path = '/', dir: Dir = this.#root): Generator<{ path: string; bytes: Buffer }> {
    for (const [name, node] of dir.names) {
      const at = `${path === '/' ? '' : path}/${name}`;
      if (node.kind === 'dir') yield* this.walk(at, node);
      else yield { path: at, bytes: node.bytes };
    }
  }

  bytesAt(path: string): Buffer | undefined {
    const node = this.#find(path);
    return node?.kind === 'file' ? node.bytes : undefined;
  }

  /** The file system as one process sees it. */
  of(life: Life): BlobFs {
    const act = <T>(op: FsOp, effect: () => T): Promise<T> => this.#act(op, life, effect);
    return {
      mkdir: (path) => act('mkdir', () => this.#makeDir(path)),
      readdir: (path) => act('read', () => [...this.#dir(path).names.keys()]),
      create: (path) =>
        act('create', () => {
          const dir = this.#dir(dirname(path));
          if (dir.names.has(basename(path))) throw failure('EEXIST', path);
          const file: File = {
            kind: 'file',
            bytes: Buffer.alloc(0),
            durable: Buffer.alloc(0),
            dropped: false,
          };
          link(dir, basename(path), file);
          return this.#handle(file, life);
        }),
      open: (path) => act('read', () => this.#handle(this.#file(path), life)),
      stat: (path) =>
        act('read', () => {
          const { bytes } = this.#file(path);
          return { isFile: true, bytes: bytes.length, version: versionOf(bytes) };
        }),
      rename: (from, to) =>
        act('rename', () => {
          const file = this.#file(from);
          link(this.#dir(dirname(to)), basename(to), file);
          link(this.#dir(dirname(from)), basename(from), null);
        }),
      unlink: (path) =>
        act('unlink', () => {
          this.#file(path);
          link(this.#dir(dirname(path)), basename(path), null);
        }),
      rmdir: (path) =>
        act('unlink', () => {
          if (this.#dir(path).names.size > 0) throw failure('ENOTEMPTY', path);
          link(this.#dir(dirname(path)), basename(path), null);
        }),
      fsyncDir: (path) =>
        act('fsyncDir', () => {
          const dir = this.#dir(path);
          dir.durable = new Map(dir.names);
          dir.unsynced = [];
        }),
    };
  }

  #handle(file: File, life: Life): BlobFile {
    return {
      append: (bytes) =>
        this.#act('append', life, () => {
          file.bytes = Buffer.concat([file.bytes, bytes]);
        }),
      fsync: () =>
        this.#act(
          'fsync',
          life,
          () => {
            if (!file.dropped) file.durable = file.bytes;
          },
          () => {
            file.dropped = true;
          },
        ),
      read: (into, position) => this.#act('read', life, () => file.bytes.copy(into, 0, position)),
      close: () => (life.alive ? Promise.resolve() : never()),
    };
  }

  async #act<T>(op: FsOp, life: Life, effect: () => T, onFailure?: () => void): Promise<T> {
    const { scheduler, fault, latencyMs, onOp } = this.#options;
    if (!life.alive) return never();
    return scheduler.after(latencyMs(), life, () => {
      const code = fault(op, life);
      if (!life.alive) return never<T>();
      if (code) onFailure?.();
      if (code) throw failure(code, op);
      const value = effect();
      onOp(op, life);
      // The hook may have ended the process between the effect and its answer.
      return life.alive ? value : never<T>();
    });
  }

  #find(path: string): Node | undefined {
    let node: Node | undefined = this.#root;
    for (const name of path.split('/').filter(Boolean)) {
      if (node?.kind !== 'dir') return undefined;
      node = node.names.get(name);
    }
    return node;
  }

  #dir(path: string): Dir {
    const node = this.#find(path);
    if (node?.kind !== 'dir') throw failure('ENOENT', path);
    return node;
  }

  #file(path: string): File {
    const node = this.#find(path);
    if (node?.kind !== 'file') throw failure('ENOENT', path);
    return node;
  }

  #makeDir(path: string): void {
    let dir = this.#root;
    for (const name of path.split('/').filter(Boolean)) {
      let next = dir.names.get(name);
      if (!next) link(dir, name, (next = newDir()));
      if (next.kind !== 'dir') throw failure('ENOTDIR', path);
      dir = next;
    }
  }

  #cut(dir: Dir, seen: Set<Node>): void {
    const { rng } = this.#options;
    if (seen.has(dir)) return;
    seen.add(dir);
    // The journal of a file system keeps the order of changes, so some first part of them may have reached the disk.
    const kept = rng.chance(0.5) ? 0 : rng.int(0, dir.unsynced.length);
    const names = new Map(dir.durable);
    for (const { name, node } of dir.unsynced.slice(0, kept)) {
      if (node) names.set(name, node);
      else names.delete(name);
    }
    dir.names.clear();
    for (const [name, node] of names) dir.names.set(name, node);
    dir.durable = names;
    dir.unsynced = [];
    for (const node of names.values()) {
      if (node.kind === 'dir') this.#cut(node, seen);
      else if (!seen.has(node)) this.#tear(node, seen);
    }
  }

  #tear(file: File, seen: Set<Node>): void {
    const { rng } = this.#options;
    seen.add(file);
    const torn = file.bytes.subarray(0, rng.int(file.durable.length, file.bytes.length));
    file.bytes = rng.chance(0.5) ? file.durable : Buffer.from(torn);
    file.durable = file.bytes;
  }
}

const versions = new WeakMap<Buffer, string>();
let lastVersion = 0;

/** Every write replaces the buffer. */
function versionOf(bytes: Buffer): string {
  const version = versions.get(bytes) ?? String((lastVersion += 1));
  versions.set(bytes, version);
  return version;
}

function link(dir: Dir, name: string, node: Node | null): void {
  if (node) dir.names.set(name, node);
  else dir.names.delete(name);
  dir.unsynced.push({ name, node });
}

function persist(dir: Dir): void {
  dir.durable = new Map(dir.names);
  dir.unsynced = [];
  for (const node of dir.names.values()) if (node.kind === 'dir') persist(node);
}

const failure = (code: string, what: string): Error => Object.assign(new Error(`${code}: ${what}`), { code });
