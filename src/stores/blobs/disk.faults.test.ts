import { randomBytes } from 'node:crypto';
import { mkdtemp, readdir, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { buffer } from 'node:stream/consumers';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { openDiskBlobs, type DiskBlobs } from './disk.ts';
import { nodeBlobFs, type BlobFile, type BlobFs } from './fs.ts';
import { BlobStoreError } from './port.ts';

let dir: string;
beforeEach(async () => {
  dir = await mkdtemp(join(tmpdir(), 'offpeak-faults-'));
});
afterEach(() => rm(dir, { recursive: true }));

async function* pieces(bytes: Uint8Array): AsyncGenerator<Uint8Array> {
  for (let at = 0; at < bytes.byteLength; at += 100_000) yield bytes.subarray(at, at + 100_000);
}

interface Faults {
  readonly fs: BlobFs;
  /** From now on the `n`th call fails; a failing write still writes its first half. */
  failAt(n: number, code: string): void;
  /** The call that failed; undefined when none did. */
  failed(): string | undefined;
}

/** The real file system, of which one call fails. */
function faulty(): Faults {
  let left = Infinity;
  let code = '';
  let failed: string | undefined;
  const unlessDue = async <T>(name: string, call: () => Promise<T>): Promise<T> => {
    if (--left !== 0) return call();
    failed = name;
    throw Object.assign(new Error(`${code}: injected`), { code });
  };
  const faultyFile = (file: BlobFile): BlobFile => ({
    async append(bytes) {
      if (left === 1) await file.append(bytes.subarray(0, bytes.byteLength / 2));
      await unlessDue('append', () => file.append(bytes));
    },
    fsync: () => unlessDue('fsync', () => file.fsync()),
    read: (into, position) => unlessDue('read', () => file.read(into, position)),
    async close() {
      await file.close();
      await unlessDue('close', async () => {});
    },
  });
  const fs: BlobFs = {
    mkdir: (path) => unlessDue('mkdir', () => nodeBlobFs.mkdir(path)),
    readdir: (path) => unlessDue('readdir', () => nodeBlobFs.readdir(path)),
    create: (path) => unlessDue('create', async () => faultyFile(await nodeBlobFs.create(path))),
    open: (path) => unlessDue('open', async () => faultyFile(await nodeBlobFs.open(path))),
    stat: (path) => unlessDue('stat', () => nodeBlobFs.stat(path)),
    rename: (from, to) => unlessDue('rename', () => nodeBlobFs.rename(from, to)),
    unlink: (path) => unlessDue('unlink', () => nodeBlobFs.unlink(path)),
    rmdir: (path) => unlessDue('rmdir', () => nodeBlobFs.rmdir(path)),
    fsyncDir: (path) => unlessDue('fsyncDir', () => nodeBlobFs.fsyncDir(path)),
  };
  return {
    fs,
    failAt(n, withCode) {
      left = n;
      code = withCode;
      failed = undefined;
    },
    failed: () => failed,
  };
}

const reasonFor = (call: string, code: string) => {
  if (call === 'fsync' || call === 'fsyncDir') return 'io';
  return { ENOSPC: 'disk_full', EROFS: 'read_only', EMFILE: 'busy', EIO: 'io' }[code];
};

async function expectWhole(store: DiskBlobs, blobs: ReadonlyMap<string, Buffer>): Promise<void> {
  const ids = new Set<string>();
  for await (const id of store.list()) ids.add(id);
  expect(ids).toEqual(new Set(blobs.keys()));
  for (const [id, bytes] of blobs) expect((await buffer(store.read(id))).equals(bytes)).toBe(true);
}

test.each(['EIO', 'ENOSPC', 'EROFS', 'EMFILE'])(
  'whichever call of a put fails with %s, stored blobs stay, no half blob is seen, and nothing is left behind',
  async (code) => {
    const faults = faulty();
    const blobs = new Map<string, Buffer>();
    const failedCalls = new Set<string>();
    let store = await openDiskBlobs({ dir, fs: faults.fs });
    for (let n = 1; ; n++) {
      // Each round has an id of its own, and so directories of its own to make.
      const id = `file-${code}-${n}`;
      const bytes = randomBytes(1_100_000);
      faults.failAt(n, code);

      const outcome = await store.put(id, pieces(bytes)).catch((error: unknown) => error);

      const failed = faults.failed();
      faults.failAt(Infinity, '');
      expect(outcome instanceof BlobStoreError).toBe(failed !== undefined);
      if (failed === undefined) break;
      failedCalls.add(failed);
      expect(outcome).toMatchObject({ reason: reasonFor(failed, code), cause: { code } });
      expect(await readdir(join(dir, 'tmp'))).toEqual([]);
      await expectWhole(store, blobs);
      // The same store goes on unharmed, and so does the next process.
      await store.put(id, pieces(bytes));
      blobs.set(id, bytes);
      await expectWhole(store, blobs);
      await store.close();
      store = await openDiskBlobs({ dir, fs: faults.fs });
    }
    await store.close();
    expect(failedCalls).toEqual(
      new Set(['mkdir', 'fsyncDir', 'create', 'append', 'fsync', 'close', 'rename', 'stat']),
    );
  },
);

test('a temporary file that could not be removed is removed by the sweep', async () => {
  const fs: BlobFs = {
    ...nodeBlobFs,
    rename: () => Promise.reject(Object.assign(new Error('injected'), { code: 'ENOSPC' })),
    unlink: () => Promise.reject(Object.assign(new Error('injected'), { code: 'EROFS' })),
  };
  const broken = await openDiskBlobs({ dir, fs });
  await expect(broken.put('file-1', pieces(randomBytes(10)))).rejects.toMatchObject({ reason: 'disk_full' });
  expect(await readdir(join(dir, 'tmp'))).toHaveLength(1);

  const store = await openDiskBlobs({ dir });
  await store.sweep();

  expect(await readdir(join(dir, 'tmp'))).toEqual([]);
  await expectWhole(store, new Map());
});

test('a failed fsync is not tried again', async () => {
  let fsyncs = 0;
  const fs: BlobFs = {
    ...nodeBlobFs,
    async create(path) {
      const file = await nodeBlobFs.create(path);
      const fsync = () => {
        fsyncs++;
        return Promise.reject(Object.assign(new Error('injected'), { code: 'ENOSPC' }));
      };
      return { ...file, fsync };
    },
  };
  const store = await openDiskBlobs({ dir, fs });

  await expect(store.put('file-1', pieces(randomBytes(10)))).rejects.toMatchObject({ reason: 'io' });

  expect(fsyncs).toBe(1);
});

test.each(['EIO', 'EMFILE'])(
  'whichever call of a read fails with %s, the reader gets the error, and the next read is right',
  async (code) => {
    const faults = faulty();
    const store = await openDiskBlobs({ dir, fs: faults.fs });
    const bytes = randomBytes(700_000);
    await store.put('file-1', pieces(bytes));
    const reads = [
      () => buffer(store.read('file-1')),
      () => store.readBytes('file-1', { start: 0, length: bytes.length }),
    ];
    for (const read of reads) {
      for (let n = 1; ; n++) {
        faults.failAt(n, code);
        const outcome = await read().catch((error: unknown) => error);
        if (faults.failed() === undefined) break;
        expect(outcome).toMatchObject({ reason: reasonFor('', code) });
        faults.failAt(Infinity, '');
        expect(Buffer.from(await read()).equals(bytes)).toBe(true);
        await store.close();
      }
      await store.close();
    }
  },
);

test('a put and a read at once that fail do not leave an unhandled rejection', async () => {
  const unhandled: unknown[] = [];
  const note = (reason: unknown) => unhandled.push(reason);
  process.on('unhandledRejection', note);
  const faults = faulty();
  const store = await openDiskBlobs({ dir, fs: faults.fs });
  async function* slow() {
    yield randomBytes(1024 * 1024);
    // The write of the first block fails while the source is at work.
    for (let turn = 0; turn < 50; turn++) await new Promise(setImmediate);
    yield randomBytes(1024 * 1024);
  }
  await store.put('file-1', slow());
  faults.failAt(2, 'EIO');

  await expect(store.put('file-1', slow())).rejects.toMatchObject({ reason: 'io' });

  expect(faults.failed()).toBe('append');
  expect(unhandled).toEqual([]);
  process.off('unhandledRejection', note);
});
