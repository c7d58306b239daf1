import { randomBytes } from 'node:crypto';
import { mkdir, mkdtemp, readdir, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { buffer } from 'node:stream/consumers';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { openDiskBlobs, type DiskBlobs } from './disk.ts';

let dir: string;
let blobs: DiskBlobs;
beforeEach(async () => {
  dir = await mkdtemp(join(tmpdir(), 'offpeak-dirs-'));
  blobs = await openDiskBlobs({ dir });
});
afterEach(async () => {
  await blobs.close();
  await rm(dir, { recursive: true });
});

async function* once(bytes: Uint8Array): AsyncGenerator<Uint8Array> {
  yield bytes;
}

/** Ids whose blobs share one directory. */
function neighbours(count: number): string[] {
  const home = dirname(blobs.pathOf('n0'));
  const ids = ['n0'];
  for (let n = 1; ids.length < count; n += 1) if (dirname(blobs.pathOf(`n${n}`)) === home) ids.push(`n${n}`);
  return ids;
}

const directories = async (): Promise<string[]> => {
  const found: string[] = [];
  for (const first of await readdir(dir))
    if (/^[0-9a-f]{2}$/.test(first)) found.push(...(await readdir(join(dir, first))));
  return found;
};

test('a directory goes with its last blob, and comes back with the next', async () => {
  const [a = '', b = ''] = neighbours(2);
  await blobs.put(a, once(Buffer.from('a')));
  await blobs.put(b, once(Buffer.from('b')));

  await blobs.delete(a);
  expect(await directories()).toHaveLength(1);
  await blobs.delete(b);
  expect(await directories()).toEqual([]);

  await blobs.put(a, once(Buffer.from('again')));
  expect((await buffer(blobs.read(a))).toString()).toBe('again');
});

test('empty directories of an earlier release go when blobs are listed, and what is not ours stays', async () => {
  await blobs.put('kept', once(Buffer.from('kept')));
  for (let n = 0; n < 50; n += 1) await mkdir(dirname(blobs.pathOf(`gone-${n}`)), { recursive: true });
  const foreign = join(dir, 'lost+found');
  await mkdir(foreign);

  const listed: string[] = [];
  for await (const id of blobs.list()) listed.push(id);

  expect(listed).toEqual(['kept']);
  expect(await directories()).toHaveLength(1);
  expect(await readdir(dir)).toContain('lost+found');
});

test('blobs that come while others go from the same directory are all there, whole', async () => {
  const ids = neighbours(6);
  const bytes = new Map(ids.map((id) => [id, randomBytes(2_000)]));

  await Promise.all(
    ids.map(async (id, index) => {
      for (let round = 0; round < 40; round += 1) {
        await blobs.put(id, once(bytes.get(id) ?? Buffer.alloc(0)));
        expect((await buffer(blobs.read(id))).equals(bytes.get(id) ?? Buffer.alloc(0))).toBe(true);
        // The last round leaves half of them.
        if (round < 39 || index % 2 === 0) await blobs.delete(id);
        for await (const _ of blobs.list()) break;
      }
    }),
  );

  const left = new Set<string>();
  for await (const id of blobs.list()) left.add(id);
  expect(left).toEqual(new Set(ids.filter((_, index) => index % 2 === 1)));
});
