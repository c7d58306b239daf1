/** A real directory with a real database, and what can be wrong with it. */
import { mkdir, mkdtemp, readdir, readFile, rm, stat, symlink, truncate, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { createTestDatabase, type TestDatabase } from '../../test/support/postgres.ts';
import { silentLog } from '../core/log.ts';
import { change, resourceOf } from '../../test/support/state-store.ts';
import { uploaderOver } from '../../test/support/uploader.ts';
import { closeStorage, openStorage, type Storage } from './storage.ts';
import { verify } from './verify.ts';

const scope = { resourceId: 'default', actor: 'test' };

let dataDir: string;
let database: string | null;
let onPostgres: TestDatabase | undefined;
let running: Storage | undefined;
beforeEach(async () => {
  dataDir = await mkdtemp(join(tmpdir(), 'offpeak-verify-'));
  database = null;
  onPostgres = undefined;
});
afterEach(async () => {
  await stop();
  await onPostgres?.drop();
  await rm(dataDir, { recursive: true });
});

async function start(): Promise<Storage> {
  const config = { dataDir, database, adopt: false, diskReserveBytes: 0, ballastBytes: 0 };
  const onFatal = (error: unknown) => {
    throw error;
  };
  return (running = await openStorage(config, { log: silentLog, onFatal }));
}

async function stop(): Promise<void> {
  const storage = running;
  running = undefined;
  if (storage) await closeStorage(storage);
}

async function withFiles(count: number): Promise<string[]> {
  const { state, blobs } = await start();
  await state.resources.put(resourceOf('default'), change);
  const uploader = uploaderOver({ state, blobs });
  const ids: string[] = [];
  for (let n = 0; n < count; n++) {
    const chunks = [Buffer.from(`bytes of file ${n}`)] as never;
    ids.push(
      (
        await uploader.uploadFile(scope, {
          filename: `${n}.jsonl`,
          purpose: 'batch',
          chunks,
          expiresAfterS: null,
        })
      ).id,
    );
  }
  return ids;
}

const pathOf = (id: string): string => running!.blobs.pathOf(id);

/** Every file below the directory, with its bytes and times. */
async function everything(): Promise<unknown> {
  const entries = await readdir(dataDir, { recursive: true, withFileTypes: true });
  const files = entries.filter((entry) => entry.isFile() && !entry.name.endsWith('-shm'));
  return Promise.all(
    files.map(async (entry) => {
      const path = join(entry.parentPath, entry.name);
      return [path, (await stat(path)).mtimeMs, await readFile(path, 'base64')];
    }),
  );
}

const look = () => verify({ dataDir, database }, () => {});

describe.each(['SQLite', 'PostgreSQL'])('verify on %s', (kind) => {
  beforeEach(async () => {
    if (kind === 'PostgreSQL') database = (onPostgres = await createTestDatabase()).url;
  });

  test('finds nothing wrong in a sound installation, with the service running or not, and changes nothing', async () => {
    await withFiles(3);
    const progress: number[] = [];

    const beside = await verify({ dataDir, database }, ({ checked }) => progress.push(checked));
    await stop();
    const before = await everything();
    const alone = await look();

    expect(beside).toMatchObject({
      files: 3,
      bytes: 3 * 15,
      faults: [],
      damaged: [],
      strays: [],
      foreign: [],
    });
    expect(alone).toEqual(beside);
    expect(progress).toEqual([1, 2, 3]);
    expect(await everything()).toEqual(before);
  });

  test('names every damaged file, every stray, and what is not ours', async () => {
    const [whole, gone, short, changed, link] = await withFiles(5);
    expect(whole).toBeDefined();
    await rm(pathOf(gone!));
    await truncate(pathOf(short!), 3);
    await writeFile(pathOf(changed!), 'BYTES OF FILE 3');
    await rm(pathOf(link!));
    await symlink('/dev/zero', pathOf(link!));
    await running!.blobs.put('file-0123', [Buffer.from('stray')] as never);
    await running!.blobs.put('file-4567', [Buffer.from('aside')] as never);
    await running!.blobs.setAside({ id: 'file-4567', day: '2026-11-20' });
    await mkdir(join(dataDir, 'blobs', 'lost+found'));
    await writeFile(join(dataDir, 'blobs', 'tmp', 'notes.txt'), 'foreign');
    await mkdir(join(dataDir, 'blobs', 'strays', '2026-11-20', 'mine'));

    const found = await look();

    const kinds = new Map(found.damaged.map(({ id, kind: what }) => [id, what]));
    expect(kinds).toEqual(
      new Map([
        [gone, 'missing'],
        [short, 'changed'],
        [changed, 'changed'],
        [link, 'changed'],
      ]),
    );
    expect(found.damaged[0]).toMatchObject({ path: pathOf(link!), filename: '4.jsonl', resource: 'default' });
    expect(found.strays).toEqual([pathOf('file-0123')]);
    expect(found.setAside).toEqual([join(dataDir, 'blobs', 'strays', '2026-11-20', 'file-4567')]);
    expect(new Set(found.foreign)).toEqual(
      new Set([
        join(dataDir, 'blobs', 'lost+found'),
        join(dataDir, 'blobs', 'tmp', 'notes.txt'),
        join(dataDir, 'blobs', 'strays', '2026-11-20', 'mine'),
        pathOf(link!),
      ]),
    );
  });

  test('reports every file as missing when the volume with the blobs is not mounted', async () => {
    const ids = await withFiles(2);
    await stop();
    await rm(join(dataDir, 'blobs'), { recursive: true });

    const { faults, damaged } = await look();

    expect(faults).toEqual([expect.stringMatching(/has no files; .* names 2 files, of which 0 are/)]);
    expect(new Set(damaged.map(({ id, kind: what }) => `${what} ${id}`))).toEqual(
      new Set(ids.map((id) => `missing ${id}`)),
    );
  });

  test('reports halves that do not belong together, and a pepper that is not that of the keys', async () => {
    await withFiles(1);
    await running!.state.resources.setAdminKeyDigest('digest', change);
    await stop();
    await writeFile(join(dataDir, 'blobs', 'installation'), '00000000-0000-4000-8000-000000000000\n');
    await writeFile(join(dataDir, 'pepper'), Buffer.alloc(32, 7));

    const { faults } = await look();

    expect(faults).toEqual([
      expect.stringContaining('do not belong together'),
      expect.stringContaining(`${join(dataDir, 'pepper')} is not the one`),
    ]);
  });
});

test('a directory or a database that is not there is named', async () => {
  await expect(verify({ dataDir: join(dataDir, 'none'), database }, () => {})).rejects.toThrow(
    `${join(dataDir, 'none')} is not there`,
  );
  await expect(look()).rejects.toThrow(/offpeak\.db is not there.*--database/);
  expect(await readdir(dataDir)).toEqual([]);
});

test('a damaged database is reported', async () => {
  await withFiles(40);
  await stop();
  const path = join(dataDir, 'offpeak.db');
  const bytes = await readFile(path);
  // Everything but the first pages, which name the tables.
  bytes.fill(0xff, bytes.length - 20_000);
  await writeFile(path, bytes);

  await expect(look()).rejects.toThrow(/offpeak\.db.*(damaged|malformed)/);
});
