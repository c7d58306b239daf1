import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { chmod, mkdir, mkdtemp, readdir, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { text } from 'node:stream/consumers';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { DataDirError, openDataDir } from './data-dir.ts';

let parent: string;
let path: string;
const children: ChildProcess[] = [];
beforeEach(async () => {
  parent = await mkdtemp(join(tmpdir(), 'offpeak-data-'));
  path = join(parent, 'deep', 'data');
});
afterEach(async () => {
  for (const child of children.splice(0)) child.kill('SIGKILL');
  await rm(parent, { recursive: true });
});

const modeOf = async (file: string) => (await stat(file)).mode & 0o777;

/** A process that opens the directory, says so, and stays; or says what is wrong, and ends. */
function startHolder({ uid }: { uid?: number } = {}) {
  const script = `
    import { openDataDir } from '${new URL('data-dir.ts', import.meta.url).href}';
    ${uid === undefined ? '' : `process.setuid(${uid});`}
    // As a server that has no more use for the object, only for the directory.
    const open = async () => {
      const { pepper, makePepper } = await openDataDir(process.argv[1]);
      return pepper ?? makePepper();
    };
    try {
      const pepper = Buffer.from(await open()).toString('hex');
      for (let round = 0; round < 5; round++) await new Promise((resume) => setImmediate(resume)).then(gc);
      process.stdout.write('held ' + pepper);
      setInterval(() => {}, 1_000);
    } catch (error) {
      process.stdout.write(error.name + ': ' + error.message);
    }
  `;
  const child = spawn(process.execPath, ['--expose-gc', '--input-type=module', '-e', script, path], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  children.push(child);
  return child;
}

async function startedHolder(): Promise<ChildProcess> {
  const child = startHolder();
  const [said] = await once(child.stdout, 'data');
  expect(String(said)).toMatch(/^held [0-9a-f]{64}$/);
  return child;
}

async function kill(child: ChildProcess): Promise<void> {
  const exited = once(child, 'exit');
  child.kill('SIGKILL');
  await exited;
}

test('a new directory is made with its parents, for the owner only', async () => {
  const dataDir = await openDataDir(path);

  expect(dataDir).toMatchObject({ path, blobsDir: join(path, 'blobs') });
  expect(await modeOf(path)).toBe(0o700);
  expect(await modeOf(join(path, 'blobs'))).toBe(0o700);
  await dataDir.makePepper();
  for (const name of ['pepper', 'lock.db'])
    expect([name, await modeOf(join(path, name))]).toEqual([name, 0o600]);
  dataDir.close();
});

test('an empty directory that others may read is closed to them; one with other files keeps its mode', async () => {
  const shared = join(parent, 'shared');
  await mkdir(path, { recursive: true });
  await mkdir(shared);
  for (const dir of [path, shared]) await chmod(dir, 0o755);
  await writeFile(join(shared, 'someone.txt'), 'x');

  const opened = [await openDataDir(path), await openDataDir(shared)];

  expect(await modeOf(path)).toBe(0o700);
  expect(await modeOf(shared)).toBe(0o755);
  expect(await modeOf(join(shared, 'blobs'))).toBe(0o700);
  for (const dataDir of opened) dataDir.close();
});

describe('the pepper', () => {
  test('is made when it is asked for, once, and stays', async () => {
    const first = await openDataDir(path);
    expect(first.pepper).toBeUndefined();
    const made = await first.makePepper();
    first.close();
    const second = await openDataDir(path);
    second.close();

    expect(made).toHaveLength(32);
    expect(second.pepper).toEqual(Buffer.from(made));
    expect(new Set(made).size).toBeGreaterThan(8);
  });

  test('differs between directories', async () => {
    const one = await openDataDir(path);
    const other = await openDataDir(join(parent, 'other'));

    expect(await one.makePepper()).not.toEqual(await other.makePepper());
    one.close();
    other.close();
  });

  test('that is damaged is never replaced, since no key would fit any more', async () => {
    (await openDataDir(path)).close();
    await writeFile(join(path, 'pepper'), 'short');

    await expect(openDataDir(path)).rejects.toThrow(`${join(path, 'pepper')} is damaged`);

    expect(await readFile(join(path, 'pepper'), 'utf8')).toBe('short');
    await rm(join(path, 'pepper'));
    await mkdir(join(path, 'pepper'));
    await expect(openDataDir(path)).rejects.toThrow(`${join(path, 'pepper')} cannot be read (EISDIR)`);
    await rm(join(path, 'pepper'), { recursive: true });
    await writeFile(join(path, 'pepper'), Buffer.alloc(32, 1));
    (await openDataDir(path)).close();
  });

  test('whose making was interrupted is made anew', async () => {
    await mkdir(path, { recursive: true });
    await writeFile(join(path, 'pepper.new'), 'half');

    const dataDir = await openDataDir(path);

    expect(await dataDir.makePepper()).toHaveLength(32);
    expect(await readdir(path)).not.toContain('pepper.new');
    dataDir.close();
  });
});

describe('the lock', () => {
  const inUse = () =>
    `Another Offpeak server is using the data directory ${path}. Stop it first, or give this one a directory of its own`;

  test('keeps a second process out, and names the directory', async () => {
    await startedHolder();

    await expect(openDataDir(path)).rejects.toThrow(inUse());
    expect(await text(startHolder().stdout)).toContain(`DataDirError: ${inUse()}`);
  });

  test('keeps a second server of the same process out', async () => {
    const dataDir = await openDataDir(path);

    await expect(openDataDir(path)).rejects.toThrow(DataDirError);
    await expect(openDataDir(`${path}/../data/`)).rejects.toThrow(inUse());
    // A refused attempt must not have loosened the first one's hold.
    expect(await text(startHolder().stdout)).toContain(inUse());

    dataDir.close();
    (await openDataDir(path)).close();
  });

  test('is gone after kill -9, ten times over', async () => {
    for (let kills = 0; kills < 10; kills++) await kill(await startedHolder());

    const dataDir = await openDataDir(path);
    expect(dataDir.path).toBe(path);
    dataDir.close();
  });

  test('goes to exactly one of many that start at once', async () => {
    (await openDataDir(path)).close();
    const starts = Array.from({ length: 5 }, () => startHolder());

    const said = await Promise.all(
      starts.map(async (child) => String((await once(child.stdout, 'data'))[0])),
    );

    expect(said.filter((line) => line.startsWith('held'))).toHaveLength(1);
    expect(said.filter((line) => line.includes(inUse()))).toHaveLength(4);
  });

  test('is free after close', async () => {
    const dataDir = await openDataDir(path);
    dataDir.close();
    dataDir.close();

    const again = await openDataDir(path);
    expect(again.path).toBe(path);
    again.close();
  });
});

describe('a directory that cannot be used', () => {
  test('because it is a file is named', async () => {
    await writeFile(join(parent, 'deep'), 'a file');

    await expect(openDataDir(path)).rejects.toThrow(`The data directory ${path} is, or lies under`);
    await expect(openDataDir(join(parent, 'deep'))).rejects.toThrow('not a directory');
  });

  test('because it is read-only is named, with what to do', async () => {
    await mkdir(path, { recursive: true });
    await chmod(parent, 0o755);
    await chmod(path, 0o555);

    // To root nothing is read-only, so the process under test is somebody else.
    const said = await text(startHolder(process.getuid?.() === 0 ? { uid: 65_534 } : {}).stdout);

    expect(said).toContain(`DataDirError: The data directory ${path} cannot be written by this user`);
    expect(said).toContain('--data-dir');
    expect(await readdir(path)).toEqual([]);
    await chmod(path, 0o755);
  });

  test('because its lock is not one is named', async () => {
    await mkdir(path, { recursive: true });
    await writeFile(join(path, 'lock.db'), 'this is not a lock of ours'.repeat(100));

    await expect(openDataDir(path)).rejects.toThrow(`The data directory ${path} cannot be used`);
  });
});
