import { type ChildProcess, spawn } from 'node:child_process';
import { createHash } from 'node:crypto';
import { once } from 'node:events';
import { mkdtemp, readdir, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { buffer } from 'node:stream/consumers';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { systemClock } from '../../core/clock.ts';
import { openDiskBlobs } from '../../stores/blobs/disk.ts';
import { change, resourceOf } from '../../../test/support/state-store.ts';
import { uploaderOver } from '../../../test/support/uploader.ts';
import { openSqliteInline } from '../../stores/state/sqlite/inline.ts';

const scope = { resourceId: 'default', actor: 'test' };

let dir: string;
const children: ChildProcess[] = [];
beforeEach(async () => {
  dir = await mkdtemp(join(tmpdir(), 'offpeak-kill-'));
});
afterEach(async () => {
  for (const child of children.splice(0)) child.kill('SIGKILL');
  await rm(dir, { recursive: true });
});

async function openStores() {
  const state = await openSqliteInline({ path: join(dir, 'state.db') });
  const blobs = await openDiskBlobs({ dir: join(dir, 'blobs') });
  await state.resources.put(resourceOf('default'), change);
  const uploader = uploaderOver({ state, blobs });
  const close = async () => {
    await blobs.close();
    await state.close();
  };
  return { state, blobs, uploader, close };
}

/** This process uploads file after file, four at a time. It prints id and digest of each file that was acknowledged. */
const UPLOADING = `
import { randomBytes } from 'node:crypto';
import { openDiskBlobs } from '${new URL('../../stores/blobs/disk.ts', import.meta.url).href}';
import { openSqliteInline } from '${new URL('../../stores/state/sqlite/inline.ts', import.meta.url).href}';
import { createUploader } from '${new URL('upload.ts', import.meta.url).href}';
const dir = process.argv[1];
const uploader = createUploader({
  state: await openSqliteInline({ path: dir + '/state.db' }),
  blobs: await openDiskBlobs({ dir: dir + '/blobs' }),
  clock: { now: Date.now },
  uuid: () => crypto.randomUUID(),
  diskGuard: { hasSpace: async () => true },
  log: { event() {} },
  limits: { withoutExpiryMax: 100_000, withExpiryMax: 0 },
});
async function* pieces() {
  const count = 1 + Math.floor(Math.random() * 40);
  for (let n = 0; n < count; n++) yield randomBytes(65_536);
}
await Promise.all([1, 2, 3, 4].map(async () => {
  for (;;) {
    const file = await uploader.uploadFile(
      { resourceId: 'default', actor: 'child' },
      { filename: 'a.jsonl', purpose: 'batch', chunks: pieces(), expiresAfterS: null },
    );
    process.stdout.write(file.id + ' ' + file.sha256 + '\\n');
  }
}));
`;

/** Kills the process with -9 when it has acknowledged so many files and `thenMs` more have passed. */
async function uploadUntilKilled({ acknowledged, thenMs }: { acknowledged: number; thenMs: number }) {
  const child = spawn(process.execPath, ['--input-type=module', '-e', UPLOADING, dir], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  children.push(child);
  const exited = once(child, 'exit');
  const lines: string[] = [];
  for await (const line of createInterface(child.stdout)) {
    lines.push(line);
    if (lines.length === acknowledged) void systemClock.sleep(thenMs).then(() => child.kill('SIGKILL'));
  }
  await exited;
  return lines.map((line) => {
    const [id = '', sha256 = ''] = line.split(' ');
    return { id, sha256 };
  });
}

test('after kill -9 at any moment every acknowledged upload is whole, and the others leave nothing', async () => {
  const acknowledged: { id: string; sha256: string }[] = [];
  let leftBehind = 0;
  await (await openStores()).close();
  for (let kill = 0; kill < 8; kill++) {
    acknowledged.push(...(await uploadUntilKilled({ acknowledged: 1 + kill, thenMs: (kill * 7) % 23 })));
    leftBehind += (await readdir(join(dir, 'blobs', 'tmp'))).length;

    const { state, blobs, uploader, close } = await openStores();
    await blobs.sweep();
    leftBehind += (await uploader.sweep()).setAside.count;

    expect(await readdir(join(dir, 'blobs', 'tmp'))).toEqual([]);
    const stored = new Set<string>();
    for await (const id of blobs.list()) stored.add(id);
    const page = await state.files.list(scope, { limit: 10_000, order: 'asc' });
    const rows = page === 'unknown_after' ? [] : page.files;
    expect(stored).toEqual(new Set(rows.map(({ id }) => id)));
    const rowOf = new Map(rows.map((row) => [row.id, row]));
    for (const { id, sha256 } of acknowledged) expect(rowOf.get(id)?.sha256).toBe(sha256);
    for (const { id, sha256 } of rows) {
      const bytes = await buffer(blobs.read(id));
      expect(createHash('sha256').update(bytes).digest('hex')).toBe(sha256);
    }
    await close();
  }
  expect(acknowledged.length).toBeGreaterThanOrEqual(36);
  // If there were none, no kill came in the middle of a put, and this test showed nothing.
  expect(leftBehind).toBeGreaterThan(0);
});

test('a put that is killed half-way leaves nothing once swept', async () => {
  const script = `
    import { openDiskBlobs } from '${new URL('../../stores/blobs/disk.ts', import.meta.url).href}';
    const blobs = await openDiskBlobs({ dir: process.argv[1] + '/blobs' });
    await blobs.put('file-half', (async function* () {
      yield Buffer.alloc(3_000_000);
      process.stdout.write('half');
      await new Promise(() => setInterval(() => {}, 1_000));
    })());
  `;
  const child = spawn(process.execPath, ['--input-type=module', '-e', script, dir], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  children.push(child);
  await once(child.stdout, 'data');
  const exited = once(child, 'exit');
  child.kill('SIGKILL');
  await exited;
  const [temp = ''] = await readdir(join(dir, 'blobs', 'tmp'));
  expect((await stat(join(dir, 'blobs', 'tmp', temp))).size).toBeGreaterThan(0);
  await writeFile(join(dir, 'elsewhere'), 'stays');

  const { blobs, close } = await openStores();
  await blobs.sweep();

  expect(await readdir(join(dir, 'blobs', 'tmp'))).toEqual([]);
  expect(await blobs.size('file-half')).toBeUndefined();
  expect((await stat(join(dir, 'elsewhere'))).size).toBe(5);
  await close();
});
