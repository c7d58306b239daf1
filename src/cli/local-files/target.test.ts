import { execFileSync } from 'node:child_process';
import { once } from 'node:events';
import {
  chmod,
  link,
  lstat,
  mkdir,
  mkdtemp,
  readdir,
  readFile,
  rm,
  stat,
  symlink,
  writeFile,
} from 'node:fs/promises';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Readable } from 'node:stream';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { identityOf, probeTarget, refuseSameTwice, targetAt, writeTarget } from './target.ts';

let dir: string;
beforeEach(async () => {
  dir = await mkdtemp(join(tmpdir(), 'offpeak-target-'));
});
afterEach(() => rm(dir, { recursive: true }));

const at = (name: string) => join(dir, name);
const writeTo = async (name: string, text: string) => {
  const target = await targetAt(at(name));
  await probeTarget(target);
  await writeTarget(target, Readable.from([Buffer.from(text)]));
};

describe('what is written to', () => {
  test('a new file appears whole, with nothing beside it', async () => {
    await writeTo('out.jsonl', 'answers\n');

    expect(await readFile(at('out.jsonl'), 'utf8')).toBe('answers\n');
    expect(await readdir(dir)).toEqual(['out.jsonl']);
  });

  test('a file that is there is replaced and keeps its mode', async () => {
    await writeFile(at('out.jsonl'), 'old');
    await chmod(at('out.jsonl'), 0o640);

    await writeTo('out.jsonl', 'new\n');

    expect(await readFile(at('out.jsonl'), 'utf8')).toBe('new\n');
    expect((await stat(at('out.jsonl'))).mode & 0o777).toBe(0o640);
  });

  test('the file behind a symbolic link is replaced, and the links stay', async () => {
    await mkdir(at('elsewhere'));
    await writeFile(at('elsewhere/real.jsonl'), 'old');
    await symlink('elsewhere/real.jsonl', at('one.jsonl'));
    await symlink('one.jsonl', at('two.jsonl'));

    await writeTo('two.jsonl', 'new\n');

    expect(await readFile(at('elsewhere/real.jsonl'), 'utf8')).toBe('new\n');
    for (const name of ['one.jsonl', 'two.jsonl'])
      expect((await lstat(at(name))).isSymbolicLink()).toBe(true);
  });

  test('a symbolic link to nothing makes the file that it names', async () => {
    await symlink('later.jsonl', at('link.jsonl'));

    await writeTo('link.jsonl', 'new\n');

    expect((await lstat(at('later.jsonl'))).isFile()).toBe(true);
    expect((await lstat(at('link.jsonl'))).isSymbolicLink()).toBe(true);
  });

  test('a pipe is written into, once somebody reads it, and stays a pipe', async () => {
    execFileSync('mkfifo', [at('pipe')]);

    const written = writeTo('pipe', 'answers\n');
    const read = readFile(at('pipe'), 'utf8');

    expect(await read).toBe('answers\n');
    await written;
    expect((await lstat(at('pipe'))).isFIFO()).toBe(true);
  });

  test('waiting for a reader of a pipe ends when it is asked to', async () => {
    execFileSync('mkfifo', [at('pipe')]);
    const stopping = new AbortController();

    const written = writeTarget(await targetAt(at('pipe')), Readable.from(['x']), {
      signal: stopping.signal,
    });
    stopping.abort();

    await expect(written).rejects.toThrow(/cannot be written/);
  });

  test.each(['/dev/null', '/dev/zero'])('%s is written into and stays a device', async (device) => {
    await symlink(device, at('device'));

    await writeTo('device', 'answers\n');
    await writeTarget(await targetAt(device), Readable.from(['answers\n']));

    expect((await lstat(device)).isCharacterDevice()).toBe(true);
    expect((await lstat(at('device'))).isSymbolicLink()).toBe(true);
  });

  test.each(['-', '/dev/stdout', '/dev/fd/1', '/proc/self/fd/1'])('%s is standard output', async (path) => {
    expect(await targetAt(path)).toEqual({ kind: 'stdout', path: '-' });
  });

  test('content that breaks off leaves what was there, and nothing else', async () => {
    await writeFile(at('out.jsonl'), 'old');
    const broken = Readable.from(
      (async function* () {
        yield 'half';
        throw new Error('the disk broke');
      })(),
    );

    await expect(writeTarget(await targetAt(at('out.jsonl')), broken)).rejects.toThrow('the disk broke');
    expect(await readFile(at('out.jsonl'), 'utf8')).toBe('old');
    expect(await readdir(dir)).toEqual(['out.jsonl']);
  });

  test("a user's own file named .part is not touched", async () => {
    await writeFile(at('out.jsonl.part'), 'mine');

    await writeTo('out.jsonl', 'answers\n');

    expect(await readFile(at('out.jsonl.part'), 'utf8')).toBe('mine');
  });
});

describe('what cannot be written is found before', () => {
  test('a directory, a socket, an empty name, links in a circle', async () => {
    const server = createServer().listen(at('socket'));
    await once(server, 'listening');
    await symlink('b', at('a'));
    await symlink('a', at('b'));

    await expect(targetAt(dir)).rejects.toThrow(/it is a directory/);
    await expect(targetAt(at('socket'))).rejects.toThrow(/it is a socket/);
    await expect(targetAt('')).rejects.toThrow(/empty name/);
    await expect(targetAt(at('a'))).rejects.toThrow(/go round in a circle/);
    server.close();
  });

  test('a directory that is not there, that is a file, or that takes no files', async () => {
    await writeFile(at('file'), '');
    const probe = async (path: string) => probeTarget(await targetAt(path));

    await expect(probe(at('none/out.jsonl'))).rejects.toThrow(/there is no directory .*none/);
    await expect(probe(at('file/out.jsonl'))).rejects.toThrow(/a part of its path is a file/);
    await expect(probe('/proc/out.jsonl')).rejects.toMatchObject({ exitCode: 2 });
    await expect(probe(at('new/'))).rejects.toThrow(/there is no such directory/);
    expect(await readdir(dir)).toEqual(['file']);
  });

  test('two names of one file: the same path, a hard link, a symbolic link, one that is not there yet', async () => {
    await writeFile(at('in.jsonl'), 'input');
    await link(at('in.jsonl'), at('hard.jsonl'));
    await symlink('in.jsonl', at('soft.jsonl'));
    await symlink('new.jsonl', at('later.jsonl'));
    const input = { id: identityOf(await stat(at('in.jsonl'))) };

    for (const name of ['in.jsonl', 'hard.jsonl', 'soft.jsonl']) {
      const output = await targetAt(at(name));
      expect(() =>
        refuseSameTwice([
          ['The input', input],
          ['--output', output],
        ]),
      ).toThrow('The input and --output are the same file');
    }
    const [one, other] = [await targetAt(at('later.jsonl')), await targetAt(at('new.jsonl'))];
    expect(() =>
      refuseSameTwice([
        ['--output', one],
        ['--errors', other],
      ]),
    ).toThrow('--output and --errors are the same file');
  });

  test('one device twice is fine: nothing is replaced', async () => {
    const nothing = await targetAt('/dev/null');

    expect(() =>
      refuseSameTwice([
        ['--output', nothing],
        ['--errors', nothing],
      ]),
    ).not.toThrow();
  });
});
