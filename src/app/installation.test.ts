/** Real directories and real databases, in every order in which they can come together. */
import { cp, mkdir, mkdtemp, readdir, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { createTestDatabase, type TestDatabase } from '../../test/support/postgres.ts';
import { DataDirError } from '../core/data-dir.ts';
import { createLog, silentLog, type Log } from '../core/log.ts';
import { change, resourceOf } from '../../test/support/state-store.ts';
import { uploaderOver } from '../../test/support/uploader.ts';
import { missingFiles } from './installation.ts';
import { closeStorage, openStorage, type Storage } from './storage.ts';

const scope = { resourceId: 'default', actor: 'test' };

let root: string;
const databases: TestDatabase[] = [];
const open = new Set<Storage>();
beforeEach(async () => {
  root = await mkdtemp(join(tmpdir(), 'offpeak-installation-'));
});
afterEach(async () => {
  for (const storage of open) await close(storage);
  for (const database of databases.splice(0)) await database.drop();
  await rm(root, { recursive: true });
});

interface Where {
  readonly dir: string;
  /** Null: the embedded one of the directory. */
  readonly database: string | null;
}

async function start(
  { dir, database }: Where,
  { adopt = false, log = silentLog }: { adopt?: boolean; log?: Log } = {},
): Promise<Storage> {
  const config = { dataDir: join(root, dir), database, adopt, diskReserveBytes: 0, ballastBytes: 0 };
  const onFatal = (error: unknown) => {
    throw error;
  };
  const storage = await openStorage(config, { log, onFatal });
  open.add(storage);
  return storage;
}

async function close(storage: Storage): Promise<void> {
  open.delete(storage);
  await closeStorage(storage);
}

const uploaderOf = ({ state, blobs }: Storage) => uploaderOver({ state, blobs });

/** An installation with one file; what it is started with again, and the id of the file. */
async function installed(where: Where): Promise<string> {
  const storage = await start(where);
  await storage.state.resources.put(resourceOf('default'), change);
  const { id } = await uploaderOf(storage).uploadFile(scope, {
    filename: 'in.jsonl',
    purpose: 'batch',
    chunks: [Buffer.from('what people own')] as never,
    expiresAfterS: null,
  });
  await close(storage);
  return id;
}

/** As the release before left it: without an id in either half. */
async function forgetId({ dir, database }: Where): Promise<void> {
  const storage = await start({ dir, database });
  await storage.state.installation.set('installation_id', '');
  await close(storage);
  await rm(join(root, dir, 'blobs', 'installation'));
  await withoutSetting({ dir, database });
}

async function withoutSetting({ dir, database }: Where): Promise<void> {
  const statement = "delete from settings where name in ('installation_id', 'pepper_check')";
  if (database === null) {
    const { DatabaseSync } = await import('node:sqlite');
    const db = new DatabaseSync(join(root, dir, 'offpeak.db'));
    db.exec(statement);
    db.close();
    return;
  }
  const { Client } = (await import('pg')).default;
  const client = new Client({ connectionString: database });
  await client.connect();
  await client.query(statement);
  await client.end();
}

async function tablesOf(database: string): Promise<unknown[]> {
  const { Client } = (await import('pg')).default;
  const client = new Client({ connectionString: database });
  await client.connect();
  const { rows } = await client.query(
    "select relname from pg_class where relnamespace = 'public'::regnamespace",
  );
  await client.end();
  return rows;
}

/** Everything in the directory's blob folder, with its bytes. */
async function contentOf(dir: string): Promise<Record<string, string>> {
  const blobs = join(root, dir, 'blobs');
  const entries = await readdir(blobs, { recursive: true, withFileTypes: true }).catch(() => []);
  const files = entries.filter((entry) => entry.isFile()).map((entry) => join(entry.parentPath, entry.name));
  return Object.fromEntries(
    await Promise.all(files.map(async (path) => [path, await readFile(path, 'utf8')] as const)),
  );
}

/** What a start says that is refused; it names both halves and the ways on, and leaves all as it was. */
async function refusal(where: Where): Promise<string> {
  const before = await contentOf(where.dir);

  const refused = await start(where).catch((error: unknown) => error);

  expect(refused).toBeInstanceOf(DataDirError);
  const { message } = refused as Error;
  const ways = ['--adopt', '--data-dir', '--database', 'restore', 'docs/operations.md'];
  for (const part of [join(root, where.dir), ...ways]) expect(message).toContain(part);
  expect(message).not.toContain('secret');
  expect(await contentOf(where.dir)).toEqual(before);
  return message;
}

/** It starts, takes nothing for a stray, and has the file whole. */
async function serves(where: Where, id: string): Promise<boolean> {
  const storage = await start(where);
  const uploader = uploaderOf(storage);
  await uploader.bringStraysBack();
  expect(await uploader.sweep()).toMatchObject({ setAside: { count: 0 }, removed: 0 });
  const stored = await storage.state.files.stored(id);
  await storage.blobs.check({ ...stored!, id });
  await close(storage);
  return true;
}

async function postgres(): Promise<string> {
  const database = await createTestDatabase();
  databases.push(database);
  return database.url;
}

describe.each(['SQLite', 'PostgreSQL'])('an installation on %s', (kind) => {
  const own = async (dir = 'own'): Promise<Where> => ({
    dir,
    database: kind === 'SQLite' ? null : await postgres(),
  });

  test('has its id in both halves from its first start, for its owner alone, and starts again', async () => {
    const where = await own();
    const id = await installed(where);

    const mark = join(root, 'own', 'blobs', 'installation');
    expect((await stat(mark)).mode & 0o777).toBe(0o600);
    const storage = await start(where);
    expect(await readFile(mark, 'utf8')).toBe(`${await storage.state.installation.get('installation_id')}\n`);
    await close(storage);
    expect(await serves(where, id)).toBe(true);
  });

  test('of the release before gets its id without a question, also when a file was lost', async () => {
    const where = await own();
    const id = await installed(where);
    const storage = await start(where);
    await storage.state.files.insert(
      scope,
      { ...(await storage.state.files.get(scope, id))!, id: 'file-lost', blobId: 'file-lost' },
      { withoutExpiryMax: 9, withExpiryMax: 9 },
    );
    await close(storage);
    await forgetId(where);

    expect(await serves(where, id)).toBe(true);
    expect(await serves(where, id)).toBe(true);
  });

  test('that is empty, of the release before, gets its id too', async () => {
    const where = await own();
    await close(await start(where));
    await forgetId(where);

    await close(await start(where));

    expect(await readFile(join(root, 'own', 'blobs', 'installation'), 'utf8')).toMatch(/^[0-9a-f-]{36}\n$/);
    await close(await start(where));
  });

  test('is not started on an empty directory in place of its own', async () => {
    const where = await own();
    const id = await installed(where);
    // The embedded database comes from the backup, and the volume with the files is not mounted.
    const elsewhere = { ...where, dir: 'empty' };
    if (kind === 'SQLite') await cp(join(root, 'own', 'offpeak.db'), join(root, 'empty', 'offpeak.db'));

    expect(await refusal(elsewhere)).toMatch(
      /no installation id and has no files.*names 1 files, of which 0 are/s,
    );
    expect(await refusal(elsewhere)).toContain('names 1 files');
    expect(await serves(where, id)).toBe(true);
  });

  test("is not started on another installation's directory", async () => {
    const where = await own();
    const id = await installed(where);
    const other = await own('other');
    const otherId = await installed(other);
    const crossed = { ...where, dir: 'other' };
    if (kind === 'SQLite') {
      await cp(join(root, 'other', 'offpeak.db'), join(root, 'saved.db'));
      await cp(join(root, 'own', 'offpeak.db'), join(root, 'other', 'offpeak.db'));
    }

    expect(await refusal(crossed)).toMatch(
      /is installation [0-9a-f-]{36} and has files.*is installation [0-9a-f-]{36} and names/s,
    );

    if (kind === 'SQLite') await cp(join(root, 'saved.db'), join(root, 'other', 'offpeak.db'));
    expect(await serves(where, id)).toBe(true);
    expect(await serves(other, otherId)).toBe(true);
  });

  test('whose blobs alone are gone is not started', async () => {
    const where = await own();
    await installed(where);
    await rm(join(root, 'own', 'blobs'), { recursive: true });

    expect(await refusal(where)).toMatch(/has no installation id and has no files/);
  });

  test('is not started on a fresh database', async () => {
    const where = await own();
    const id = await installed(where);
    const fresh = { ...where, database: await postgres() };

    expect(await refusal(fresh)).toMatch(/has nothing of Offpeak in it/);
    expect(await tablesOf(fresh.database)).toEqual([]);
    expect(await serves(where, id)).toBe(true);
  });

  test("is not started on another installation's database that is still empty", async () => {
    const where = await own();
    const id = await installed(where);
    const other = { dir: 'other', database: await postgres() };
    await close(await start(other));

    expect(await refusal({ ...where, database: other.database })).toMatch(
      /is installation .* names no files/,
    );
    expect(await serves(where, id)).toBe(true);
  });

  test('goes on with an older backup of its database: what that lacks is kept, and comes back with the right one', async () => {
    const where = { dir: 'own', database: null };
    await installed(where);
    await cp(join(root, 'own', 'offpeak.db'), join(root, 'older.db'));
    const younger = await installed(where);
    await cp(join(root, 'own', 'offpeak.db'), join(root, 'right.db'));

    await cp(join(root, 'older.db'), join(root, 'own', 'offpeak.db'));
    const storage = await start(where);
    expect(await uploaderOf(storage).sweep()).toMatchObject({ setAside: { count: 1, ids: [younger] } });
    expect(await uploaderOf(storage).sweep()).toMatchObject({ setAside: { count: 0 } });
    await close(storage);

    await cp(join(root, 'right.db'), join(root, 'own', 'offpeak.db'));
    expect(await serves(where, younger)).toBe(true);
  });

  test('goes on with an older copy of its directory, of which the younger files are missing', async () => {
    const where = await own();
    await installed(where);
    await cp(join(root, 'own', 'blobs'), join(root, 'older'), { recursive: true });
    const younger = await installed(where);
    await rm(join(root, 'own', 'blobs'), { recursive: true });
    await cp(join(root, 'older'), join(root, 'own', 'blobs'), { recursive: true });

    expect(await missingFiles(await start(where))).toEqual({ count: 1, ids: [younger] });
  });

  test('goes on with a backup of before it had an id', async () => {
    const where = await own();
    const id = await installed(where);
    await withoutSetting(where);

    expect(await serves(where, id)).toBe(true);
  });

  test('that is adopted is one from then on: nothing is removed, and the former half is refused', async () => {
    const where = await own();
    const id = await installed(where);
    const fresh = { ...where, database: await postgres() };
    const warned: string[] = [];

    const log = createLog(({ level, event }) => void (level === 'warn' && warned.push(event)));
    const adopted = await start(fresh, { adopt: true, log });
    expect(await uploaderOf(adopted).sweep()).toMatchObject({ setAside: { ids: [id] } });
    await close(adopted);

    expect(warned).toEqual(['installation.adopted']);
    expect(Object.values(await contentOf('own'))).toContain('what people own');
    await close(await start(fresh));
    expect(await refusal(where)).toContain('is installation');
    // A mistake, then: the first database is right after all, and has all again.
    await close(await start(where, { adopt: true }));
    expect(await serves(where, id)).toBe(true);
  });
});

describe('an embedded database', () => {
  test('that was removed is not made anew beside its files', async () => {
    const where = { dir: 'own', database: null };
    await installed(where);
    await rm(join(root, 'own', 'offpeak.db'));

    expect(await refusal(where)).toMatch(/offpeak\.db is not there, or empty/);
    expect(await readdir(join(root, 'own'))).not.toContain('offpeak.db');
  });

  test('is not made beside the files of a PostgreSQL installation', async () => {
    const where = { dir: 'own', database: await postgres() };
    const id = await installed(where);

    expect(await refusal({ dir: 'own', database: null })).toMatch(
      /If the state is in PostgreSQL, give --database/,
    );
    expect(await readdir(join(root, 'own'))).not.toContain('offpeak.db');
    expect(await serves(where, id)).toBe(true);
  });

  test('that is not a database is reported with the next step, and stays', async () => {
    const where = { dir: 'own', database: null };
    await installed(where);
    const path = join(root, 'own', 'offpeak.db');
    await writeFile(path, 'not a database '.repeat(1_000));

    await expect(start(where)).rejects.toThrow(/opening .*offpeak\.db failed: .*Restore it and the files/);
    expect(await readFile(path, 'utf8')).toMatch(/^not a database/);
  });

  test('that is missing beside its write-ahead log is asked for, and the log stays', async () => {
    const where = { dir: 'own', database: null };
    await installed(where);
    await rm(join(root, 'own', 'offpeak.db'));
    await writeFile(join(root, 'own', 'offpeak.db-wal'), 'last changes');

    await expect(start(where)).rejects.toThrow(/offpeak\.db-wal, which holds its last changes/);
    expect(await readFile(join(root, 'own', 'offpeak.db-wal'), 'utf8')).toBe('last changes');
  });
});

test('an id that cannot be read is reported with its file and the next step', async () => {
  const where = { dir: 'own', database: null };
  await installed(where);
  const mark = join(root, 'own', 'blobs', 'installation');
  await rm(mark);
  await mkdir(mark);

  const refused = start(where);

  await expect(refused).rejects.toBeInstanceOf(DataDirError);
  await expect(refused).rejects.toThrow(`${mark}, which tells which installation`);
});

describe('the pepper', () => {
  const where = { dir: 'own', database: null };
  const pepper = () => join(root, 'own', 'pepper');
  const withKey = async () => {
    await installed(where);
    const storage = await start(where);
    await storage.state.resources.setAdminKeyDigest('digest', change);
    await close(storage);
  };

  test.each([
    ['missing', () => rm(pepper())],
    ['not the one', () => writeFile(pepper(), Buffer.alloc(32, 7))],
  ])('that is %s keeps the service from starting, as no key would fit', async (said, harm) => {
    await withKey();
    const right = await readFile(pepper());
    await harm();

    const refused = start(where);

    await expect(refused).rejects.toThrow(`${pepper()} is ${said}`);
    await expect(refused).rejects.toThrow('--adopt');
    await writeFile(pepper(), right);
    await close(await start(where));
  });

  test('that is lost is replaced when the operator says so, and the keys go with it', async () => {
    await withKey();
    await rm(pepper());

    const storage = await start(where, { adopt: true });

    expect(storage.pepper).toHaveLength(32);
    expect(await storage.state.installation.hasKeys()).toBe(false);
    await close(storage);
    await close(await start(where));
  });

  test('that does not fit another database is reported before --adopt drops the keys', async () => {
    await withKey();
    const other = { dir: 'other', database: null };
    await installed(other);
    await cp(join(root, 'own', 'offpeak.db'), join(root, 'other', 'offpeak.db'));

    expect(await refusal(other)).toContain('All keys of the database are dropped');
    await cp(pepper(), join(root, 'other', 'pepper'));
    expect(await refusal(other)).not.toContain('keys');
  });

  test('of an installation without keys is made without a question', async () => {
    await installed(where);
    await rm(pepper());

    const storage = await start(where);

    expect(storage.pepper).toEqual(await readFile(pepper()));
  });
});
