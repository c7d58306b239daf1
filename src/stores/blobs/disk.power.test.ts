import { randomBytes } from 'node:crypto';
import { basename, dirname } from 'node:path';
import { buffer } from 'node:stream/consumers';
import { expect, test } from 'vitest';
import { openDiskBlobs } from './disk.ts';
import type { BlobFile, BlobFs } from './fs.ts';

interface Node {
  /** Of a directory. */
  readonly names: Map<string, Node>;
  durableNames: Map<string, Node>;
  syncedBy: number;
  /** Of a file. */
  bytes: Buffer;
  durableBytes: Buffer;
}

const newNode = (): Node => ({
  names: new Map(),
  durableNames: new Map(),
  syncedBy: 0,
  bytes: Buffer.alloc(0),
  durableBytes: Buffer.alloc(0),
});

/** A disk that, in a power cut, keeps what was fsynced and nothing else: the least that a real one may do. */
class HarshDisk {
  readonly #root: Node;
  #fsyncs = 0;
  constructor(root: Node = newNode()) {
    this.#root = root;
  }

  /** The disk as the next start finds it. */
  afterPowerCut(): HarshDisk {
    const survive = (node: Node): Node => {
      const names = new Map([...node.durableNames].map(([name, child]) => [name, survive(child)]));
      return {
        names,
        durableNames: new Map(names),
        syncedBy: 0,
        bytes: node.durableBytes,
        durableBytes: node.durableBytes,
      };
    };
    return new HarshDisk(survive(this.#root));
  }

  readonly fs: BlobFs = {
    mkdir: async (path) => {
      let node = this.#root;
      for (const name of path.split('/').filter(Boolean)) {
        const next = node.names.get(name) ?? newNode();
        node.names.set(name, next);
        node = next;
      }
    },
    readdir: async (path) => [...this.#find(path).names.keys()],
    create: async (path) => {
      const node = newNode();
      this.#find(dirname(path)).names.set(basename(path), node);
      return fileOf(node);
    },
    open: async (path) => fileOf(this.#find(path)),
    stat: async (path) => ({ isFile: true, bytes: this.#find(path).bytes.length, version: '' }),
    rename: async (from, to) => {
      this.#find(dirname(to)).names.set(basename(to), this.#find(from));
      this.#find(dirname(from)).names.delete(basename(from));
    },
    unlink: async (path) => void this.#find(dirname(path)).names.delete(basename(path)),
    rmdir: async (path) => {
      if (this.#find(path).names.size > 0) throw Object.assign(new Error('ENOTEMPTY'), { code: 'ENOTEMPTY' });
      this.#find(dirname(path)).names.delete(basename(path));
    },
    fsyncDir: async (path) => {
      const node = this.#find(path);
      const names = new Map(node.names);
      // Other calls go on while the disk is at work; what they change is not in this fsync, and it may take long.
      const began = ++this.#fsyncs;
      for (let turn = 0; turn < (this.#fsyncs * 7) % 40; turn++) await new Promise(setImmediate);
      // One that began earlier and ends later takes nothing back.
      if (began < node.syncedBy) return;
      node.syncedBy = began;
      node.durableNames = names;
    },
  };

  #find(path: string): Node {
    let node: Node | undefined = this.#root;
    for (const name of path.split('/').filter(Boolean)) node = node?.names.get(name);
    if (!node) throw Object.assign(new Error(`ENOENT: ${path}`), { code: 'ENOENT' });
    return node;
  }
}

const fileOf = (node: Node): BlobFile => ({
  append: async (bytes) => void (node.bytes = Buffer.concat([node.bytes, bytes])),
  fsync: async () => {
    const { bytes } = node;
    await new Promise(setImmediate);
    node.durableBytes = bytes;
  },
  read: async (into, position) => node.bytes.copy(into, 0, position),
  close: async () => {},
});

async function* once(bytes: Uint8Array): AsyncGenerator<Uint8Array> {
  yield bytes;
}

test('every acknowledged blob survives a power cut at the moment of its acknowledgement', async () => {
  const disk = new HarshDisk();
  const store = await openDiskBlobs({ dir: '/data/blobs', fs: disk.fs });
  // `/data` itself is its maker's to sync.
  await disk.fs.fsyncDir('/');
  // 300 ids fall into shared directories often enough to meet one that another put is still making.
  await Promise.all(
    Array.from({ length: 300 }, async (_, n) => {
      const bytes = randomBytes(1_000 + n);

      await store.put(`file-${n}`, once(bytes));
      const after = await openDiskBlobs({ dir: '/data/blobs', fs: disk.afterPowerCut().fs });

      expect((await buffer(after.read(`file-${n}`))).equals(bytes)).toBe(true);
    }),
  );
});

test('a blob that is put while its directory is removed survives a power cut', async () => {
  const disk = new HarshDisk();
  const store = await openDiskBlobs({ dir: '/data/blobs', fs: disk.fs });
  await disk.fs.fsyncDir('/');
  const home = dirname(store.pathOf('n0'));
  const ids = ['n0'];
  for (let n = 1; ids.length < 4; n++) if (dirname(store.pathOf(`n${n}`)) === home) ids.push(`n${n}`);

  await Promise.all(
    ids.map(async (id) => {
      for (let round = 0; round < 30; round++) {
        const bytes = randomBytes(100);
        await store.put(id, once(bytes));
        const after = await openDiskBlobs({ dir: '/data/blobs', fs: disk.afterPowerCut().fs });
        expect((await buffer(after.read(id))).equals(bytes)).toBe(true);
        await store.delete(id);
      }
    }),
  );
});

test('a put into a directory that an earlier process had only begun to make survives a power cut', async () => {
  const disk = new HarshDisk();
  const bytes = randomBytes(1_000);
  const first = await openDiskBlobs({ dir: '/data/blobs', fs: disk.fs });
  await disk.fs.fsyncDir('/');
  await disk.fs.mkdir(dirname(first.pathOf('file-1')));

  const second = await openDiskBlobs({ dir: '/data/blobs', fs: disk.fs });
  await second.put('file-1', once(bytes));

  const after = await openDiskBlobs({ dir: '/data/blobs', fs: disk.afterPowerCut().fs });
  expect((await buffer(after.read('file-1'))).equals(bytes)).toBe(true);
});

test('a blob that was replaced is the old or the new one after a power cut, never a mixture', async () => {
  const disk = new HarshDisk();
  const store = await openDiskBlobs({ dir: '/data/blobs', fs: disk.fs });
  await disk.fs.fsyncDir('/');
  const [before, after] = [Buffer.alloc(5_000, 'a'), Buffer.alloc(7_000, 'b')];
  await store.put('file-1', once(before));
  let putting = true;
  const seen = new Set<string>();

  const put = store.put('file-1', once(after)).finally(() => (putting = false));
  while (putting) {
    const cut = await openDiskBlobs({ dir: '/data/blobs', fs: disk.afterPowerCut().fs });
    seen.add((await buffer(cut.read('file-1'))).toString());
  }
  await put;

  expect([...seen].every((bytes) => [before.toString(), after.toString()].includes(bytes))).toBe(true);
  expect(seen.has(before.toString())).toBe(true);
});
