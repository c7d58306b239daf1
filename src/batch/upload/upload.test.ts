import { createHash, randomBytes } from 'node:crypto';
import { mkdtemp, readdir, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { buffer } from 'node:stream/consumers';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { INPUT_BYTES_MAX } from '../../contract/batch.ts';
import type { FileRow } from '../../contract/file.ts';
import { type Clock, systemClock } from '../../core/clock.ts';
import { createDiskGuard, type DiskGuard } from '../../core/disk-guard.ts';
import { silentLog } from '../../core/log.ts';
import { openDiskBlobs, type DiskBlobs } from '../../stores/blobs/disk.ts';
import { type BlobFs, nodeBlobFs } from '../../stores/blobs/fs.ts';
import { type NewBatch, type StateStore, StoreError } from '../../stores/state/ports.ts';
import { change, resourceOf } from '../../../test/support/state-store.ts';
import { uploaderOver } from '../../../test/support/uploader.ts';
import { openSqliteInline } from '../../stores/state/sqlite/inline.ts';
import { runExpiry } from './expiry.ts';
import type { Upload, Uploader, UploaderOptions } from './upload.ts';

const scope = { resourceId: 'default', actor: 'test' };
const MIB = 1024 * 1024;

let dir: string;
let state: StateStore;
let blobs: DiskBlobs;
let diskGuard: DiskGuard;
let uploader: Uploader;
beforeEach(async () => {
  dir = await mkdtemp(join(tmpdir(), 'offpeak-upload-'));
  state = await openSqliteInline({ path: join(dir, 'state.db') });
  await state.resources.put(resourceOf('default'), change);
  await state.resources.put(resourceOf('other'), change);
  blobs = await openDiskBlobs({ dir: join(dir, 'blobs') });
  diskGuard = createDiskGuard({ dir, clock: systemClock, freeBytesMin: 0, ballastBytes: 0 });
  uploader = makeUploader();
});
afterEach(async () => {
  await blobs.close();
  await state.close();
  await rm(dir, { recursive: true });
});

const makeUploader = (options: Partial<UploaderOptions> = {}): Uploader =>
  uploaderOver({ state, blobs, diskGuard, ...options });

async function* pieces(bytes: Uint8Array): AsyncGenerator<Uint8Array> {
  for (let at = 0; at < bytes.byteLength; at += 64 * 1024) yield bytes.subarray(at, at + 64 * 1024);
}
const upload = (bytes: Uint8Array, more: Partial<Upload> = {}): Upload => ({
  filename: 'in.jsonl',
  purpose: 'batch',
  chunks: pieces(bytes),
  expiresAfterS: null,
  ...more,
});
const sha256 = (bytes: Uint8Array) => createHash('sha256').update(bytes).digest('hex');

async function storedIds(): Promise<string[]> {
  const ids: string[] = [];
  for await (const id of blobs.list()) ids.push(id);
  return ids.sort();
}
async function rows(): Promise<FileRow[]> {
  const page = await state.files.list(scope, { limit: 10_000, order: 'asc' });
  return page === 'unknown_after' ? [] : page.files;
}
const NOTHING_FOUND = { removed: 0, setAside: { count: 0, ids: [] }, dropped: { count: 0, ids: [] } };
/** Expects neither a row, nor bytes, nor a temporary file. */
async function expectNothing(): Promise<void> {
  expect(await rows()).toEqual([]);
  expect(await storedIds()).toEqual([]);
  expect(await readdir(join(dir, 'blobs', 'tmp'))).toEqual([]);
}

function newBatch(more: Partial<NewBatch>): NewBatch {
  return {
    id: 'batch_1',
    endpoint: '/chat/completions',
    dialect: 'azure',
    inputFileId: 'file-in',
    inputBlobId: more.inputFileId ?? 'file-in',
    outputFileId: 'file-out',
    errorFileId: 'file-err',
    deployment: null,
    enqueuedTokens: 0,
    createdAt: 1,
    expiresAt: 2,
    metadata: null,
    outputExpiresAfterS: null,
    errors: null,
    whenFull: 'fail',
    ...more,
  };
}

describe('an upload', () => {
  test('is a row and bytes that agree', async () => {
    const bytes = randomBytes(300_000);

    const file = await uploader.uploadFile(scope, upload(bytes, { expiresAfterS: 3_600 }));

    expect(file).toMatchObject({
      resourceId: 'default',
      filename: 'in.jsonl',
      purpose: 'batch',
      bytes: 300_000,
      sha256: sha256(bytes),
      expiresAt: file.createdAt + 3_600,
    });
    expect(file.id).toMatch(/^file-[0-9a-f]{32}$/);
    expect(await state.files.get(scope, file.id)).toEqual(file);
    expect((await buffer(blobs.read(file.id))).equals(bytes)).toBe(true);
  });

  test('of no bytes is a file too: the batch will say what is wrong with it', async () => {
    expect(await uploader.uploadFile(scope, upload(Buffer.alloc(0)))).toMatchObject({
      bytes: 0,
      expiresAt: null,
    });
  });

  test('may run beside forty-nine others', async () => {
    const inputs = Array.from({ length: 50 }, (_, n) => randomBytes(1_000 + n * 10_007));

    const files = await Promise.all(inputs.map((bytes) => uploader.uploadFile(scope, upload(bytes))));

    expect(files.map((file) => file.sha256)).toEqual(inputs.map(sha256));
    expect((await rows()).map(({ id }) => id).sort()).toEqual(await storedIds());
  });
});

describe('the size limit', () => {
  async function* zeros(length: number): AsyncGenerator<Uint8Array> {
    const block = Buffer.alloc(MIB);
    for (let left = length; left > 0; left -= MIB) yield block.subarray(0, Math.min(MIB, left));
  }

  test('is 200 MiB: one byte more is refused and leaves nothing', async () => {
    const tooLarge = upload(Buffer.alloc(0), { chunks: zeros(INPUT_BYTES_MAX + 1) });
    const largest = upload(Buffer.alloc(0), { chunks: zeros(INPUT_BYTES_MAX) });

    await expect(uploader.uploadFile(scope, tooLarge)).rejects.toMatchObject({
      code: 'fileTooLarge',
      message: expect.stringContaining('209715200'),
    });
    await expectNothing();
    expect((await uploader.uploadFile(scope, largest)).bytes).toBe(209_715_200);
  });

  test('stops reading the source where it is passed', async () => {
    let sent = 0;
    async function* endless() {
      for (;;) yield Buffer.alloc((sent += 1000) && 1000);
    }
    const small = makeUploader({ fileBytesMax: 5_500 });

    await expect(
      small.uploadFile(scope, upload(Buffer.alloc(0), { chunks: endless() })),
    ).rejects.toMatchObject({ code: 'fileTooLarge' });

    expect(sent).toBe(6_000);
  });
});

describe('the number of files', () => {
  test('without expiry is limited, and one more leaves nothing', async () => {
    const few = makeUploader({ limits: { withoutExpiryMax: 1, withExpiryMax: 1 } });
    const only = await few.uploadFile(scope, upload(Buffer.from('{}')));

    await expect(few.uploadFile(scope, upload(Buffer.from('{}')))).rejects.toMatchObject({
      code: 'fileQuotaExceeded',
      message: 'The quota for files without expiry is reached. The maximum is 1.',
    });

    expect(await storedIds()).toEqual([only.id]);
    await expect(
      few.uploadFile(scope, upload(Buffer.from('{}'), { expiresAfterS: 3_600 })),
    ).resolves.toMatchObject({ bytes: 2 });
    await expect(
      few.uploadFile({ ...scope, resourceId: 'other' }, upload(Buffer.from('{}'))),
    ).resolves.toMatchObject({ bytes: 2 });
  });

  test('is never passed by uploads at once', async () => {
    const few = makeUploader({ limits: { withoutExpiryMax: 0, withExpiryMax: 20 } });

    const outcomes = await Promise.allSettled(
      Array.from({ length: 50 }, () =>
        few.uploadFile(scope, upload(randomBytes(2_000), { expiresAfterS: 3_600 })),
      ),
    );

    const refused = outcomes.filter((outcome) => outcome.status === 'rejected');
    expect(refused).toHaveLength(30);
    expect(refused.map(({ reason }) => reason.message)).toEqual(
      refused.map(() => 'The quota for files with expiry is reached. The maximum is 20.'),
    );
    expect(await storedIds()).toHaveLength(20);
    expect((await rows()).map(({ id }) => id).sort()).toEqual(await storedIds());
  });
});

describe('a name', () => {
  test.each([
    ['test.jsonl', 'test.jsonl'],
    ['TEST.JSONL', 'TEST.JSONL'],
    ['../../etc/passwd.jsonl', 'passwd.jsonl'],
    ['C:\\Users\\나\\배치 입력.jsonl', '배치 입력.jsonl'],
    ['/absolute/.jsonl', '.jsonl'],
    ['a\r\nSet-Cookie: x.jsonl', 'a__Set-Cookie: x.jsonl'],
    ['nul\0byte\u007f\u0085\u2028.jsonl', 'nul_byte___.jsonl'],
    ['gpj.\u202elnosj.jsonl', 'gpj._lnosj.jsonl'],
    ['"quoted";<b>.jsonl', '"quoted";<b>.jsonl'],
    ['\ud800.jsonl', '\ufffd.jsonl'],
    [`${'n'.repeat(300)}.jsonl`, `${'n'.repeat(249)}.jsonl`],
    [`${'n'.repeat(248)}😀😀.jsonl`, `${'n'.repeat(248)}\ufffd.jsonl`],
  ])('%j is kept as %j', async (given, kept) => {
    const file = await uploader.uploadFile(scope, upload(Buffer.from('{}'), { filename: given }));

    expect(file.filename).toBe(kept);
    expect(await storedIds()).toEqual([file.id]);
    expect((await readdir(dir)).filter((name) => !name.startsWith('state.db'))).toEqual(['blobs']);
  });

  test.each(['in.json', 'in.csv', 'in.jsonl.exe', 'in.jsonl.gz', '.txt', 'dir/in.txt'])(
    '%j is refused, and nothing is read or stored',
    async (filename) => {
      let read = false;
      async function* source() {
        read = true;
        yield Buffer.from('{}');
      }
      const given = upload(Buffer.alloc(0), { filename, chunks: source() });

      await expect(uploader.uploadFile(scope, { ...given, dialect: 'openai' })).rejects.toMatchObject({
        code: 'invalidValue',
        message: 'Invalid file format for Batch API. Must be .jsonl',
        param: 'file',
      });
      await expect(uploader.uploadFile(scope, given)).rejects.toThrow(
        'fileName contains an invalid filename: wrong suffix.',
      );
      expect(read).toBe(false);
      await expectNothing();
    },
  );
});

test('a source that fails leaves nothing, and its error reaches the caller as it was', async () => {
  const gone = new Error('the client went away');
  async function* source() {
    yield randomBytes(1_500_000);
    throw gone;
  }

  await expect(uploader.uploadFile(scope, upload(Buffer.alloc(0), { chunks: source() }))).rejects.toBe(gone);

  await expectNothing();
});

describe('a full disk', () => {
  const guardOf = (freeBytes: () => number, clock: Clock = systemClock): DiskGuard => {
    const disk = {
      freeBytes: async () => freeBytes(),
      makeBallast: async () => {},
      dropBallast: async () => {},
    };
    return createDiskGuard({ dir, clock, disk, freeBytesMin: 256 * MIB, ballastBytes: 64 * MIB });
  };
  const movingClock = (): Clock => {
    let ms = 0;
    return { ...systemClock, mono: () => (ms += 2_000) };
  };

  test('refuses before a byte is read', async () => {
    const full = guardOf(() => 100 * MIB);
    let read = false;
    async function* source() {
      read = true;
      yield Buffer.from('{}');
    }

    await expect(
      makeUploader({ diskGuard: full }).uploadFile(scope, upload(Buffer.alloc(0), { chunks: source() })),
    ).rejects.toMatchObject({ code: 'diskFull', retryAfterS: 60 });

    expect(read).toBe(false);
    await expectNothing();
  });

  test('stops an upload that would use up what is kept for results', async () => {
    let free = 300 * MIB;
    const filling = guardOf(() => free, movingClock());
    let sent = 0;
    async function* source() {
      for (;;) {
        yield Buffer.alloc(MIB);
        sent += MIB;
        free -= MIB;
      }
    }

    await expect(
      makeUploader({ diskGuard: filling }).uploadFile(scope, upload(Buffer.alloc(0), { chunks: source() })),
    ).rejects.toMatchObject({ code: 'diskFull' });

    expect(sent).toBeLessThanOrEqual(64 * MIB);
    await expectNothing();
  });

  test.each([
    ['ENOSPC', 'diskFull'],
    ['EDQUOT', 'diskFull'],
    ['EROFS', 'notReady'],
    ['EMFILE', 'notReady'],
  ])('or one that fails with %s gives %s, and the guard learns of the first', async (code, expected) => {
    const fs: BlobFs = {
      ...nodeBlobFs,
      create: async (path) => ({
        ...(await nodeBlobFs.create(path)),
        append: () => Promise.reject(Object.assign(new Error('injected'), { code })),
      }),
    };
    const failing = await openDiskBlobs({ dir: join(dir, 'blobs'), fs });
    const guard = guardOf(() => 1_000 * MIB);
    const failingUploader = makeUploader({ blobs: failing, diskGuard: guard });

    await expect(failingUploader.uploadFile(scope, upload(randomBytes(10)))).rejects.toMatchObject({
      code: expected,
      retryAfterS: 60,
    });

    expect(await guard.hasSpace()).toBe(expected !== 'diskFull');
    await expectNothing();
  });

  test("that breaks is not the caller's fault: the error stays what it is", async () => {
    const fs: BlobFs = {
      ...nodeBlobFs,
      fsyncDir: (path) =>
        path.endsWith('blobs') || path === dir
          ? nodeBlobFs.fsyncDir(path)
          : Promise.reject(Object.assign(new Error('injected'), { code: 'EIO' })),
    };
    const failing = makeUploader({ blobs: await openDiskBlobs({ dir: join(dir, 'blobs'), fs }) });

    await expect(failing.uploadFile(scope, upload(randomBytes(10)))).rejects.toMatchObject({
      name: 'BlobStoreError',
      reason: 'io',
    });
    await expectNothing();
  });
});

describe('when the row cannot be written', () => {
  const refusing = (reason: StoreError['reason'], { committed }: { committed: boolean }): Uploader =>
    makeUploader({
      state: {
        batches: state.batches,
        uploads: state.uploads,
        files: {
          ...state.files,
          async insert(...args) {
            if (committed) await state.files.insert(...args);
            throw new StoreError('injected', reason);
          },
        },
      },
    });

  test.each([
    ['disk_full', 'diskFull'],
    ['busy', 'notReady'],
  ] as const)('for %s, the bytes are deleted', async (reason, code) => {
    const failing = refusing(reason, { committed: false });

    await expect(failing.uploadFile(scope, upload(randomBytes(10)))).rejects.toMatchObject({ code });

    expect(await diskGuard.hasSpace()).toBe(reason !== 'disk_full');
    await expectNothing();
  });

  test('and the database is lost in mid-commit, the bytes stay exactly as long as the row does', async () => {
    const committed = refusing('connection', { committed: true });
    const lost = refusing('connection', { committed: false });

    await expect(committed.uploadFile(scope, upload(randomBytes(10)))).rejects.toThrow('Try again later');
    await expect(lost.uploadFile(scope, upload(randomBytes(10)))).rejects.toThrow('Try again later');

    expect(await storedIds()).toHaveLength(2);
    expect(await uploader.sweep()).toMatchObject({ setAside: { count: 1 } });
    expect(await storedIds()).toEqual((await rows()).map(({ id }) => id));
  });
});

describe('deleting', () => {
  test('removes row and bytes, once', async () => {
    const file = await uploader.uploadFile(scope, upload(randomBytes(10)));

    expect(await uploader.deleteFile(scope, file.id)).toBe(true);

    await expectNothing();
    expect(await uploader.deleteFile(scope, file.id)).toBe(false);
  });

  test("another resource's file is as impossible as an absent one", async () => {
    const file = await uploader.uploadFile(scope, upload(randomBytes(10)));

    expect(await uploader.deleteFile({ ...scope, resourceId: 'other' }, file.id)).toBe(false);

    expect(await storedIds()).toEqual([file.id]);
  });

  test('leaves the bytes to a live batch until it has ended', async () => {
    const file = await uploader.uploadFile(scope, upload(randomBytes(10)));
    const created = await state.batches.create(scope, newBatch({ inputFileId: file.id }), {
      room: null,
    });

    expect(await uploader.deleteFile(scope, file.id)).toBe(true);
    expect(await rows()).toEqual([]);
    expect(await uploader.sweep()).toEqual(NOTHING_FOUND);
    expect(await storedIds()).toEqual([file.id]);

    const seq = created.kind === 'created' ? created.batch.seq : -1;
    await state.batches.fail(seq, { from: 'validating', atS: 3, errors: { data: [], omitted: 0 } });
    expect(await uploader.sweep()).toEqual({ ...NOTHING_FOUND, removed: 1 });
    await expectNothing();
  });
});

describe('the sweep', () => {
  test('sets bytes aside that nothing knows, and nothing else', async () => {
    const file = await uploader.uploadFile(scope, upload(randomBytes(10)));
    await state.batches.create(scope, newBatch({}), { room: null });
    const known = [file.id, 'file-in', 'file-out', 'file-err'];
    for (const id of [...known.slice(1), 'file-stray1', 'file-stray2'])
      await blobs.put(id, pieces(randomBytes(9)));

    expect(await uploader.sweep()).toMatchObject({
      setAside: { count: 2, ids: expect.arrayContaining(['file-stray1', 'file-stray2']) },
    });

    expect(await storedIds()).toEqual(known.sort());
  });

  test('takes many at once', async () => {
    for (let n = 0; n < 550; n += 50) {
      await Promise.all(
        Array.from({ length: 50 }, (_, m) => blobs.put(`file-${n + m}`, pieces(Buffer.from('x')))),
      );
    }

    expect((await uploader.sweep()).setAside).toMatchObject({ count: 550, ids: { length: 20 } });

    await expectNothing();
  });

  test('between the bytes of an upload and its row takes nothing', async () => {
    const swept = makeUploader({
      state: {
        batches: state.batches,
        uploads: state.uploads,
        files: {
          ...state.files,
          async insert(...args) {
            expect(await swept.sweep()).toEqual(NOTHING_FOUND);
            return state.files.insert(...args);
          },
        },
      },
    });

    const file = await swept.uploadFile(scope, upload(randomBytes(10)));

    expect(await storedIds()).toEqual([file.id]);
  });

  test('while a batch publishes its files takes none of them', async () => {
    const created = await state.batches.create(scope, newBatch({}), { room: null });
    const seq = created.kind === 'created' ? created.batch.seq : -1;
    await state.batches.cancel(scope, 'batch_1', 3);
    const { id: blobId, ...stored } = await blobs.put('file-out_attempt', pieces(randomBytes(10)));
    const output: FileRow = {
      id: 'file-out',
      blobId,
      resourceId: 'default',
      filename: 'out.jsonl',
      purpose: 'batch_output',
      ...stored,
      createdAt: 4,
      expiresAt: null,
    };
    const publish = () =>
      state.batches.publish(seq, {
        from: 'cancelling',
        to: 'cancelled',
        atS: 4,
        completed: 0,
        failed: 0,
        files: [output],
      });
    const swept = makeUploader({
      state: {
        batches: state.batches,
        uploads: state.uploads,
        files: {
          ...state.files,
          async existing(ids) {
            const found = await state.files.existing(ids);
            expect(await publish()).toBe(true);
            return found;
          },
        },
      },
    });

    expect(await swept.sweep()).toEqual(NOTHING_FOUND);

    expect(await storedIds()).toEqual(['file-out_attempt']);
    expect((await rows()).map(({ id }) => id)).toEqual(['file-out']);
  });

  test('beside uploads and deletes takes nothing from them', async () => {
    let working = true;
    const sweeping = (async () => {
      for (let sweeps = 0; ; sweeps++) {
        if (!working) return sweeps;
        await uploader.sweep();
      }
    })();

    const kept = await Promise.all(
      Array.from({ length: 8 }, async (_, worker) => {
        const files: FileRow[] = [];
        for (let n = 0; n < 15; n++) {
          const file = await uploader.uploadFile(scope, upload(randomBytes(20_000)));
          if ((n + worker) % 3 === 0) await uploader.deleteFile(scope, file.id);
          else files.push(file);
        }
        return files;
      }),
    );
    working = false;

    expect(await sweeping).toBeGreaterThan(1);
    for (const file of kept.flat()) expect(sha256(await buffer(blobs.read(file.id)))).toBe(file.sha256);
    expect((await rows()).map(({ id }) => id).sort()).toEqual(await storedIds());
  });
});

describe('expiry', () => {
  /** A clock that the test moves. Sleepers wake in turn. */
  function manualClock() {
    let nowMs = 1_000_000_000_000;
    let wake: (() => void) | undefined;
    let asleep: (() => void) | undefined;
    const clock: Clock = {
      now: () => nowMs,
      mono: () => nowMs,
      sleep: (delayMs, signal) =>
        new Promise((resolve, reject) => {
          wake = () => {
            nowMs += delayMs;
            resolve();
          };
          signal?.addEventListener('abort', () => reject(signal.reason));
          asleep?.();
        }),
    };
    return {
      clock,
      /** Resolves when the next sleep begins. */
      round: (run?: () => void) =>
        new Promise<void>((resolve) => {
          asleep = resolve;
          (run ?? wake)?.();
        }),
    };
  }

  const keep = { batchesMs: null, filesMs: null, auditMs: null };

  test('deletes rows and bytes when their second has come, and only those', async () => {
    const { clock, round } = manualClock();
    const timed = makeUploader({ clock });
    const soon = await timed.uploadFile(scope, upload(randomBytes(10), { expiresAfterS: 3_600 }));
    const later = await timed.uploadFile(scope, upload(randomBytes(10), { expiresAfterS: 7_201 }));
    const never = await timed.uploadFile(scope, upload(randomBytes(10)));
    const stopping = new AbortController();
    let running: Promise<void> | undefined;

    await round(() => {
      running = runExpiry(
        {
          uploader: timed,
          stores: { state, blobs },
          keep,
          clock,
          log: silentLog,
          straysDir: '',
          everyMs: 3_600_000,
        },
        stopping.signal,
      );
    });
    expect(await storedIds()).toEqual([soon.id, later.id, never.id].sort());
    await round();
    expect(await storedIds()).toEqual([later.id, never.id].sort());
    await round();
    expect(await storedIds()).toEqual([later.id, never.id].sort());
    await round();
    expect(await storedIds()).toEqual([never.id]);
    expect((await rows()).map(({ id }) => id)).toEqual([never.id]);

    stopping.abort();
    await running;
  });

  test('goes on after a store was away, and ends with a broken one', async () => {
    const { clock, round } = manualClock();
    const faults = [new StoreError('away', 'connection'), undefined, new StoreError('broken', 'io')];
    const failing = {
      sweep: () => uploader.sweep(),
      deleteExpired: async () => {
        const fault = faults.shift();
        if (fault) throw fault;
        return uploader.deleteExpired();
      },
    };
    let running: Promise<void> | undefined;

    await round(() => {
      running = runExpiry(
        { uploader: failing, stores: { state, blobs }, keep, clock, log: silentLog, straysDir: '' },
        new AbortController().signal,
      );
    });
    await round();
    void round();

    await expect(running).rejects.toThrow('broken');
  });
});
