import { createHash, randomBytes, randomUUID } from 'node:crypto';
import { mkdir, mkdtemp, readdir, rm, stat, symlink, truncate, utimes, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { buffer } from 'node:stream/consumers';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { openDiskBlobs, type DiskBlobs } from './disk.ts';
import { nodeBlobFs, type BlobFs } from './fs.ts';
import { BlobNotFound, BlobStoreError, BlobTooLarge } from './port.ts';

let dir: string;
let blobs: DiskBlobs;
beforeEach(async () => {
  dir = await mkdtemp(join(tmpdir(), 'offpeak-blobs-'));
  blobs = await openDiskBlobs({ dir });
});
afterEach(async () => {
  await blobs.close();
  await rm(dir, { recursive: true });
});

const sha256 = (bytes: Uint8Array) => createHash('sha256').update(bytes).digest('hex');

async function* inPieces(bytes: Uint8Array, pieceBytes = 64 * 1024): AsyncGenerator<Uint8Array> {
  for (let at = 0; at < bytes.byteLength; at += pieceBytes) yield bytes.subarray(at, at + pieceBytes);
}

async function listed(): Promise<string[]> {
  const ids: string[] = [];
  for await (const id of blobs.list()) ids.push(id);
  return ids.sort();
}
const filesIn = async (path: string) =>
  (await readdir(path, { recursive: true, withFileTypes: true })).filter((entry) => entry.isFile());

describe('what is put', () => {
  test.each([0, 1, 65_535, 1024 * 1024, 1024 * 1024 + 1, 5_000_001])(
    'comes back equal, with its size and digest (%d bytes)',
    async (length) => {
      const bytes = randomBytes(length);

      const stored = await blobs.put('file-1', inPieces(bytes));

      expect(stored).toEqual({ id: 'file-1', bytes: length, sha256: sha256(bytes) });
      expect(await blobs.size('file-1')).toBe(length);
      expect((await buffer(blobs.read('file-1'))).equals(bytes)).toBe(true);
    },
  );

  test('is whole whatever the sizes of the pieces', async () => {
    const bytes = randomBytes(3_000_000);

    for (const pieceBytes of [7, 1024 * 1024 - 1, 1024 * 1024, 2_500_000]) {
      await blobs.put('file-1', inPieces(bytes, pieceBytes));
      expect((await buffer(blobs.read('file-1'))).equals(bytes)).toBe(true);
    }
  });

  test('is not harmed by a source that reuses its buffer', async () => {
    const bytes = randomBytes(4_000_000);
    const reused = Buffer.alloc(100_000);
    async function* source() {
      for (let at = 0; at < bytes.length; at += reused.length) {
        bytes.copy(reused, 0, at);
        yield reused;
      }
      reused.fill(0);
    }

    await blobs.put('file-1', source());

    expect((await buffer(blobs.read('file-1'))).equals(bytes)).toBe(true);
  });

  test('replaces what was there, also for readers by range', async () => {
    await blobs.put('file-1', inPieces(Buffer.from('before')));
    expect(Buffer.from(await blobs.readBytes('file-1', { start: 0, length: 6 })).toString()).toBe('before');

    await blobs.put('file-1', inPieces(Buffer.from('after!')));

    expect(Buffer.from(await blobs.readBytes('file-1', { start: 0, length: 6 })).toString()).toBe('after!');
    expect(await listed()).toEqual(['file-1']);
  });

  test('is for the owner only', async () => {
    await blobs.put('file-1', inPieces(Buffer.from('secret')));

    const entries = await readdir(dir, { recursive: true, withFileTypes: true });
    for (const entry of entries) {
      const { mode } = await stat(join(entry.parentPath, entry.name));
      expect([entry.name, mode & 0o777]).toEqual([entry.name, entry.isFile() ? 0o600 : 0o700]);
    }
    expect((await stat(blobs.pathOf('file-1'))).size).toBe(6);
  });

  test('may be put by fifty at once', async () => {
    const inputs = Array.from({ length: 50 }, (_, n) => ({ id: `file-${n}`, bytes: randomBytes(n * 9_973) }));

    await Promise.all(inputs.map(({ id, bytes }) => blobs.put(id, inPieces(bytes, 1_000))));

    for (const { id, bytes } of inputs) expect((await buffer(blobs.read(id))).equals(bytes)).toBe(true);
    expect(await listed()).toEqual(inputs.map(({ id }) => id).sort());
    expect(await readdir(join(dir, 'tmp'))).toEqual([]);
  });
});

describe('a refused put leaves nothing', () => {
  test('when there is one byte too many; the limit itself is fine', async () => {
    const put = (length: number) =>
      blobs.put('file-1', inPieces(randomBytes(length)), { bytesMax: 3_000_000 });

    await expect(put(3_000_001)).rejects.toThrow(BlobTooLarge);
    expect(await filesIn(dir)).toEqual([]);
    expect((await put(3_000_000)).bytes).toBe(3_000_000);
  });

  test("when the source fails, and the failure is the source's own", async () => {
    const gone = new Error('the client went away');
    async function* source() {
      yield randomBytes(2_500_000);
      throw gone;
    }

    await expect(blobs.put('file-1', source())).rejects.toBe(gone);

    expect(await filesIn(dir)).toEqual([]);
    expect(await blobs.size('file-1')).toBeUndefined();
  });

  test('and closes its file only when the last write has ended', async () => {
    let writing = 0;
    let writingAtClose: number | undefined;
    const fs: BlobFs = {
      ...nodeBlobFs,
      async create(path) {
        const file = await nodeBlobFs.create(path);
        return {
          ...file,
          append: async (bytes) => {
            writing++;
            for (let turn = 0; turn < 20; turn++) await new Promise(setImmediate);
            await file.append(bytes).finally(() => writing--);
          },
          close: () => {
            writingAtClose = writing;
            return file.close();
          },
        };
      },
    };
    const store = await openDiskBlobs({ dir, fs });

    const put = store.put('file-1', inPieces(randomBytes(1_200_000)), { bytesMax: 1_100_000 });

    await expect(put).rejects.toThrow(BlobTooLarge);
    expect(writingAtClose).toBe(0);
  });

  test('and closes the source', async () => {
    let closed = false;
    async function* source() {
      try {
        for (;;) yield randomBytes(1_000_000);
      } finally {
        closed = true;
      }
    }

    await expect(blobs.put('file-1', source(), { bytesMax: 10 })).rejects.toThrow(BlobTooLarge);

    expect(closed).toBe(true);
  });
});

describe('reading', () => {
  const bytes = randomBytes(1_500_000);
  beforeEach(() => blobs.put('file-1', inPieces(bytes)));

  test.each([
    { start: 0, length: 0 },
    { start: 0, length: 1 },
    { start: 262_143, length: 2 },
    { start: 1_000_000, length: 500_000 },
    { start: 1_499_999, length: 1 },
  ])('gives exactly the bytes from $start, $length of them', async (range) => {
    const wanted = bytes.subarray(range.start, range.start + range.length);

    expect((await buffer(blobs.read('file-1', range))).equals(wanted)).toBe(true);
    expect(Buffer.from(await blobs.readBytes('file-1', range)).equals(wanted)).toBe(true);
  });

  test('goes to the end when no length is given', async () => {
    expect((await buffer(blobs.read('file-1', { start: 1_400_000 }))).equals(bytes.subarray(1_400_000))).toBe(
      true,
    );
    expect(await buffer(blobs.read('file-1', { start: 1_500_000 }))).toHaveLength(0);
  });

  test('never gives fewer bytes than asked for', async () => {
    const beyond = { start: 1_400_000, length: 100_001 };

    await expect(blobs.readBytes('file-1', beyond)).rejects.toMatchObject({ reason: 'damaged' });
    await expect(buffer(blobs.read('file-1', beyond))).rejects.toMatchObject({ reason: 'damaged' });
    await truncate(blobs.pathOf('file-1'), 10);
    await expect(blobs.readBytes('file-1', { start: 5, length: 6 })).rejects.toThrow(BlobStoreError);
  });

  test('says so when there is no such blob', async () => {
    await expect(buffer(blobs.read('file-2'))).rejects.toThrow(BlobNotFound);
    await expect(blobs.readBytes('file-2', { start: 0, length: 1 })).rejects.toThrow(BlobNotFound);
    expect(await blobs.size('file-2')).toBeUndefined();
  });

  test('goes on while the blob is deleted, and fails afterwards', async () => {
    await blobs.readBytes('file-1', { start: 0, length: 1 });
    const reading = blobs.read('file-1');
    const iterator = reading[Symbol.asyncIterator]();
    const { value: first } = await iterator.next();

    await blobs.delete('file-1');

    const pieces = [first];
    for await (const piece of { [Symbol.asyncIterator]: () => iterator }) pieces.push(piece);
    expect(Buffer.concat(pieces).equals(bytes)).toBe(true);
    await expect(blobs.readBytes('file-1', { start: 0, length: 1 })).rejects.toThrow(BlobNotFound);
    await blobs.delete('file-1');
  });
});

describe('open files', () => {
  /** Counts what is open. */
  function counting(): { fs: BlobFs; open: () => number; most: () => number } {
    let open = 0;
    let most = 0;
    const fs: BlobFs = {
      ...nodeBlobFs,
      async open(path) {
        const file = await nodeBlobFs.open(path);
        most = Math.max(most, ++open);
        let closed = false;
        return {
          ...file,
          read: async (into, position) => {
            for (let turn = 0; turn < 5; turn++) await new Promise(setImmediate);
            if (closed) throw new Error('read of a closed file');
            return file.read(into, position);
          },
          close: async () => {
            closed = true;
            open--;
            await file.close();
          },
        };
      },
    };
    return { fs, open: () => open, most: () => most };
  }

  test('are kept between reads, up to a bound, and closed in the end', async () => {
    const { fs, open, most } = counting();
    const bounded = await openDiskBlobs({ dir, fs, openFilesMax: 3 });
    for (let n = 0; n < 8; n++) await bounded.put(`file-${n}`, inPieces(Buffer.from(`blob ${n}`)));

    for (let round = 0; round < 2; round++) {
      for (let n = 0; n < 8; n++) {
        expect(Buffer.from(await bounded.readBytes(`file-${n}`, { start: 0, length: 6 })).toString()).toBe(
          `blob ${n}`,
        );
      }
    }
    expect(open()).toBe(3);
    expect(most()).toBe(4);
    await bounded.delete('file-7');
    expect(open()).toBe(2);
    await bounded.close();
    expect(open()).toBe(0);
  });

  test('are shared by many readers at once and never closed under one', async () => {
    const { fs, open } = counting();
    const bounded = await openDiskBlobs({ dir, fs, openFilesMax: 2 });
    for (let n = 0; n < 6; n++) await bounded.put(`file-${n}`, inPieces(Buffer.alloc(1_000_000, n)));

    await Promise.all(
      Array.from({ length: 120 }, async (_, n) => {
        if (n % 40 === 39) await bounded.delete('file-5');
        const reading = bounded.readBytes(`file-${n % 5}`, { start: n, length: 900_000 });
        expect(Buffer.from(await reading).every((byte) => byte === n % 5)).toBe(true);
      }),
    );

    expect(open()).toBeLessThanOrEqual(2);
    await bounded.close();
    expect(open()).toBe(0);
  });

  test('of a deleted blob are closed only when its readers have finished', async () => {
    const { fs, open } = counting();
    const store = await openDiskBlobs({ dir, fs });
    const bytes = randomBytes(1_000);
    await store.put('file-1', inPieces(bytes));
    await store.readBytes('file-1', { start: 0, length: 1 });

    const readings = [100, 200, 300].map((length) => store.readBytes('file-1', { start: 0, length }));
    await store.delete('file-1');

    expect((await Promise.all(readings)).map(({ length }) => length)).toEqual([100, 200, 300]);
    expect(open()).toBe(0);
  });

  test('of an abandoned download are closed', async () => {
    const { fs, open } = counting();
    const store = await openDiskBlobs({ dir, fs });
    await store.put('file-1', inPieces(randomBytes(2_000_000)));

    const begun = store.read('file-1');
    const unread = store.read('file-1');
    const closed = [begun, unread].map((stream) => new Promise((resolve) => stream.on('close', resolve)));

    for await (const _ of begun) break;
    unread.destroy();
    await Promise.all(closed);

    expect(open()).toBe(0);
  });
});

test.each([
  '',
  '.',
  '..',
  '../file-1',
  'a/b',
  'a\\b',
  '/etc/passwd',
  'a\0',
  'é',
  'x'.repeat(129),
  'file-1\n',
])('the id %j touches nothing', async (id) => {
  await expect(blobs.put(id, inPieces(Buffer.from('x')))).rejects.toThrow(BlobNotFound);
  await expect(buffer(blobs.read(id))).rejects.toThrow(BlobNotFound);
  await expect(blobs.readBytes(id, { start: 0, length: 1 })).rejects.toThrow(BlobNotFound);
  expect(await blobs.size(id)).toBeUndefined();
  await blobs.delete(id);
  expect(() => blobs.pathOf(id)).toThrow(BlobNotFound);
  expect(await filesIn(dir)).toEqual([]);
});

test('the sweep removes what interrupted puts left, and nothing else', async () => {
  await blobs.put('file-1', inPieces(Buffer.from('kept')));
  await writeFile(join(dir, 'tmp', randomUUID()), 'hal');
  // None of these is a half of ours.
  await writeFile(join(dir, 'tmp', 'notes.txt'), 'foreign');
  const [folder, link] = [randomUUID(), randomUUID()];
  await mkdir(join(dir, 'tmp', folder));
  await symlink('/etc/hostname', join(dir, 'tmp', link));

  await blobs.sweep();

  expect(new Set(await readdir(join(dir, 'tmp')))).toEqual(new Set(['notes.txt', folder, link]));
  expect((await buffer(blobs.read('file-1'))).toString()).toBe('kept');
});

describe('a check', () => {
  const stored = async (text: string) => blobs.put('file-1', inPieces(Buffer.from(text)));

  test('finds bytes that were shortened, emptied, changed in place, replaced or lost', async () => {
    const blob = await stored('as it was stored');
    const path = blobs.pathOf('file-1');
    const damage: [string, () => Promise<unknown>][] = [
      ['damaged', () => truncate(path, 5)],
      ['damaged', () => truncate(path, 0)],
      ['damaged', () => writeFile(path, 'AS IT WAS STORED')],
      ['damaged', () => rm(path).then(() => mkdir(path))],
      ['damaged', () => rm(path, { recursive: true }).then(() => symlink('/etc/hostname', path))],
    ];

    for (const [reason, harm] of damage) {
      await harm();
      await expect(blobs.check(blob)).rejects.toMatchObject({ reason });
    }
    await rm(path);
    await expect(blobs.check(blob)).rejects.toBeInstanceOf(BlobNotFound);

    await writeFile(path, 'as it was stored');
    await blobs.check(blob);
  });

  test('finds a change that hides behind the old size and time', async () => {
    const blob = await stored('as it was stored');
    const path = blobs.pathOf('file-1');
    const { atime, mtime } = await stat(path);

    await writeFile(path, 'AS IT WAS STORED');
    await utimes(path, atime, mtime);

    await expect(blobs.check(blob)).rejects.toMatchObject({ reason: 'damaged' });
  });

  test('reads nothing again while nothing touches the file', async () => {
    let opened = 0;
    const fs: BlobFs = { ...nodeBlobFs, open: (path) => (opened++, nodeBlobFs.open(path)) };
    const counting = await openDiskBlobs({ dir, fs });
    const blob = await stored('as it was stored');

    for (let n = 0; n < 5; n++) await counting.check(blob);

    expect(opened).toBe(1);
  });

  test('is not needed for a link or directory in the place of a blob: a reader does not hang, and reports damage', async () => {
    const { pathOf } = blobs;
    await stored('x');
    await rm(pathOf('file-1'));
    await symlink('/dev/zero', pathOf('file-1'));
    await expect(buffer(blobs.read('file-1'))).rejects.toMatchObject({ reason: 'damaged' });
    await rm(pathOf('file-1'));
    await mkdir(pathOf('file-1'));
    await expect(buffer(blobs.read('file-1'))).rejects.toMatchObject({ reason: 'damaged' });
    await expect(blobs.readBytes('file-1', { start: 0, length: 1 })).rejects.toMatchObject({
      reason: 'damaged',
    });
  });
});

describe('a blob that is set aside', () => {
  const stray = { id: 'file-1', day: '2026-11-28' };

  test('is no blob any more, lies under its day, and comes back whole', async () => {
    await blobs.put('file-1', inPieces(Buffer.from('kept')));

    expect(await blobs.setAside(stray)).toBe(true);

    expect(await listed()).toEqual([]);
    await expect(buffer(blobs.read('file-1'))).rejects.toBeInstanceOf(BlobNotFound);
    expect(await readdir(join(dir, 'strays', '2026-11-28'))).toEqual(['file-1']);
    for await (const found of blobs.listAside()) expect(found).toEqual(stray);

    expect(await blobs.bringBack(stray)).toBe(true);
    expect((await buffer(blobs.read('file-1'))).toString()).toBe('kept');
    expect(await blobs.bringBack(stray)).toBe(false);
  });

  test('replaces no other, and what is no file of ours is not moved', async () => {
    await blobs.put('file-1', inPieces(Buffer.from('first')));
    await blobs.setAside(stray);
    await blobs.put('file-1', inPieces(Buffer.from('second')));

    expect(await blobs.setAside(stray)).toBe(false);
    expect(await blobs.bringBack(stray)).toBe(false);

    expect((await buffer(blobs.read('file-1'))).toString()).toBe('second');
    await rm(blobs.pathOf('file-1'));
    await symlink('/etc/hostname', blobs.pathOf('file-1'));
    expect(await blobs.setAside({ ...stray, day: '2026-11-29' })).toBe(false);
  });
});
