import { execFileSync } from 'node:child_process';
import { once } from 'node:events';
import { chmod, link, lstat, mkdir, readdir, stat, symlink } from 'node:fs/promises';
import { createServer } from 'node:net';
import { Readable } from 'node:stream';
import { describe, expect, test } from 'vitest';
import { OwnDirectory } from '../../../test/support/own-directory.ts';
import { identityOf, probeTarget, refuseSameTwice, targetAt, writeTarget } from './target.ts';

const place = new OwnDirectory();
const writeTo = async (name: string, text: string) => {
  const target = await targetAt(place.path(name));
  await probeTarget(target);
  await writeTarget(target, Readable.from([Buffer.from(text)]));
};

describe('writing to a target', () => {
  test('a new file appears whole, with nothing beside it', async () => {
    await writeTo('out.jsonl', 'answers\n');

    expect(await place.read('out.jsonl')).toBe('answers\n');
    expect(await readdir(place.dir)).toEqual(['out.jsonl']);
  });

  test('a file that is there is replaced and keeps its mode', async () => {
    await place.write('out.jsonl', 'old');
    await chmod(place.path('out.jsonl'), 0o640);

    await writeTo('out.jsonl', 'new\n');

    expect(await place.read('out.jsonl')).toBe('new\n');
    expect((await stat(place.path('out.jsonl'))).mode & 0o777).toBe(0o640);
  });

  test('the file behind a symbolic link is replaced, and the links stay', async () => {
    await mkdir(place.path('elsewhere'));
    await place.write('elsewhere/real.jsonl', 'old');
    await symlink('elsewhere/real.jsonl', place.path('one.jsonl'));
    await symlink('one.jsonl', place.path('two.jsonl'));

    await writeTo('two.jsonl', 'new\n');

    expect(await place.read('elsewhere/real.jsonl')).toBe('new\n');
    for (const name of ['one.jsonl', 'two.jsonl'])
      expect((await lstat(place.path(name))).isSymbolicLink()).toBe(true);
  });

  test('a symbolic link to a missing file creates that file', async () => {
    await symlink('later.jsonl', place.path('link.jsonl'));

    await writeTo('link.jsonl', 'new\n');

    expect((await lstat(place.path('later.jsonl'))).isFile()).toBe(true);
    expect((await lstat(place.path('link.jsonl'))).isSymbolicLink()).toBe(true);
  });

  test('a pipe is written into, once somebody reads it, and stays a pipe', async () => {
    execFileSync('mkfifo', [place.path('pipe')]);

    const written = writeTo('pipe', 'answers\n');
    const read = place.read('pipe');

    expect(await read).toBe('answers\n');
    await written;
    expect((await lstat(place.path('pipe'))).isFIFO()).toBe(true);
  });

  test('waiting for a reader of a pipe can be aborted', async () => {
    execFileSync('mkfifo', [place.path('pipe')]);
    const stopping = new AbortController();

    const written = writeTarget(await targetAt(place.path('pipe')), Readable.from(['x']), {
      signal: stopping.signal,
    });
    stopping.abort();

    await expect(written).rejects.toThrow(/cannot be written/);
  });

  test.each(['/dev/null', '/dev/zero'])('%s is written into and stays a device', async (device) => {
    await symlink(device, place.path('device'));

    await writeTo('device', 'answers\n');
    await writeTarget(await targetAt(device), Readable.from(['answers\n']));

    expect((await lstat(device)).isCharacterDevice()).toBe(true);
    expect((await lstat(place.path('device'))).isSymbolicLink()).toBe(true);
  });

  test.each(['-', '/dev/stdout', '/dev/fd/1', '/proc/self/fd/1'])('%s is standard output', async (path) => {
    expect(await targetAt(path)).toEqual({ kind: 'stdout', path: '-' });
  });

  test('content that ends with an error leaves the old file, and nothing beside it', async () => {
    await place.write('out.jsonl', 'old');
    const broken = Readable.from(
      (async function* () {
        yield 'half';
        throw new Error('the disk broke');
      })(),
    );

    await expect(writeTarget(await targetAt(place.path('out.jsonl')), broken)).rejects.toThrow(
      'the disk broke',
    );
    expect(await place.read('out.jsonl')).toBe('old');
    expect(await readdir(place.dir)).toEqual(['out.jsonl']);
  });

  test("a user's own file named .part is not touched", async () => {
    await place.write('out.jsonl.part', 'mine');

    await writeTo('out.jsonl', 'answers\n');

    expect(await place.read('out.jsonl.part')).toBe('mine');
  });
});

describe('refused before anything is written:', () => {
  test('a directory, a socket, an empty name, links in a circle', async () => {
    const server = createServer().listen(place.path('socket'));
    await once(server, 'listening');
    await symlink('b', place.path('a'));
    await symlink('a', place.path('b'));

    await expect(targetAt(place.dir)).rejects.toThrow(/it is a directory/);
    await expect(targetAt(place.path('socket'))).rejects.toThrow(/it is a socket/);
    await expect(targetAt('')).rejects.toThrow(/empty name/);
    await expect(targetAt(place.path('a'))).rejects.toThrow(/go round in a circle/);
    server.close();
  });

  test('a directory that is not there, that is a file, or that takes no files', async () => {
    await place.write('file', '');
    const probe = async (path: string) => probeTarget(await targetAt(path));

    await expect(probe(place.path('none/out.jsonl'))).rejects.toThrow(/there is no directory .*none/);
    await expect(probe(place.path('file/out.jsonl'))).rejects.toThrow(/a part of its path is a file/);
    await expect(probe('/proc/out.jsonl')).rejects.toMatchObject({ exitCode: 2 });
    await expect(probe(place.path('new/'))).rejects.toThrow(/there is no such directory/);
    expect(await readdir(place.dir)).toEqual(['file']);
  });

  test('two names of one file: the same path, a hard link, a symbolic link, one that is not there yet', async () => {
    await place.write('in.jsonl', 'input');
    await link(place.path('in.jsonl'), place.path('hard.jsonl'));
    await symlink('in.jsonl', place.path('soft.jsonl'));
    await symlink('new.jsonl', place.path('later.jsonl'));
    const input = { id: identityOf(await stat(place.path('in.jsonl'))) };

    for (const name of ['in.jsonl', 'hard.jsonl', 'soft.jsonl']) {
      const output = await targetAt(place.path(name));
      expect(() =>
        refuseSameTwice([
          ['The input', input],
          ['--output', output],
        ]),
      ).toThrow('The input and --output are the same file');
    }
    const [one, other] = [await targetAt(place.path('later.jsonl')), await targetAt(place.path('new.jsonl'))];
    expect(() =>
      refuseSameTwice([
        ['--output', one],
        ['--errors', other],
      ]),
    ).toThrow('--output and --errors are the same file');
  });

  test('one device may be named twice', async () => {
    const nothing = await targetAt('/dev/null');

    expect(() =>
      refuseSameTwice([
        ['--output', nothing],
        ['--errors', nothing],
      ]),
    ).not.toThrow();
  });
});
