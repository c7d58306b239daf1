/** These tests kill -9 between any two steps of an upload in parts. What was answered must go on, and nothing may be half made. */
import { spawn } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { buffer, text } from 'node:stream/consumers';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { openDiskBlobs } from '../../stores/blobs/disk.ts';
import { change, resourceOf } from '../../../test/support/state-store.ts';
import { uploaderOver } from '../../../test/support/uploader.ts';
import { openSqliteInline } from '../../stores/state/sqlite/inline.ts';

const scope = { resourceId: 'default', actor: 'test' };
const PARTS = [randomBytes(700_000), randomBytes(1_500_000)];
const WHOLE = Buffer.concat(PARTS);

let dir: string;
beforeEach(async () => {
  dir = await mkdtemp(join(tmpdir(), 'offpeak-parts-'));
  for (const [index, bytes] of PARTS.entries()) await writeFile(join(dir, `part-${index}`), bytes);
});
afterEach(() => rm(dir, { recursive: true }));

async function openStores() {
  const state = await openSqliteInline({ path: join(dir, 'state.db') });
  const blobs = await openDiskBlobs({ dir: join(dir, 'blobs') });
  await blobs.sweep();
  await state.resources.put(resourceOf('default'), change);
  const uploader = uploaderOver({ state, blobs });
  const close = async () => {
    await blobs.close();
    await state.close();
  };
  return { state, blobs, uploader, close };
}

const source = (path: string): string => new URL(path, import.meta.url).href;

/** Uploads the parts, the last one first, and completes. It prints what was answered, and dies at the call that it is told. */
const UPLOADING = `
import { createReadStream } from 'node:fs';
import { openDiskBlobs } from '${source('../../stores/blobs/disk.ts')}';
import { openSqliteInline } from '${source('../../stores/state/sqlite/inline.ts')}';
import { createUploader } from '${source('upload.ts')}';
const [dir, at, when] = process.argv.slice(1);
let calls = 0;
const die = () => process.kill(process.pid, 'SIGKILL');
const mortal = (target, names) => new Proxy(target, {
  get(of, name) {
    const member = Reflect.get(of, name);
    if (typeof member !== 'function') return member;
    if (!names.includes(name)) return member.bind(of);
    return async (...args) => {
      const call = ++calls;
      if (call === Number(at) && when === 'before') die();
      const result = await member.apply(of, args);
      if (call === Number(at) && when === 'after') die();
      return result;
    };
  },
});
const stores = await openSqliteInline({ path: dir + '/state.db' });
const state = {
  ...stores,
  uploads: mortal(stores.uploads, ['start', 'addPart', 'complete']),
  files: mortal(stores.files, ['forgetRemovals']),
};
const uploader = createUploader({
  state,
  blobs: mortal(await openDiskBlobs({ dir: dir + '/blobs' }), ['put', 'delete']),
  clock: { now: Date.now },
  uuid: () => crypto.randomUUID(),
  diskGuard: { hasSpace: async () => true },
  log: { event() {} },
  limits: { withoutExpiryMax: 1_000, withExpiryMax: 1_000 },
});
const scope = { resourceId: 'default', actor: 'child' };
const say = (what) => process.stdout.write(JSON.stringify(what) + '\\n');
const upload = await uploader.inParts.start(scope, {
  filename: 'a.jsonl', purpose: 'batch', bytes: ${WHOLE.length}, expiresAfterS: null, dialect: 'openai',
});
say({ upload: upload.id });
const partIds = [];
for (const index of [1, 0]) {
  const part = await uploader.inParts.addPart(scope, upload.id, createReadStream(dir + '/part-' + index));
  partIds[index] = part.id;
  say({ index, part: part.id });
}
const { file } = await uploader.inParts.complete(scope, upload.id, { partIds, md5: null });
say({ file: file.id });
say({ calls });
`;

interface Answered {
  readonly upload?: string;
  readonly parts: Map<number, string>;
  readonly file?: string;
  readonly calls?: number;
}

async function uploadUntilKilled(at: number, when: string): Promise<Answered> {
  const child = spawn(process.execPath, ['--input-type=module', '-e', UPLOADING, dir, `${at}`, when], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  const exited = once(child, 'exit');
  const said = (await text(child.stdout)).split('\n').filter(Boolean);
  await exited;
  const answers = said.map((line) => JSON.parse(line));
  return {
    ...Object.assign({}, ...answers.filter(({ part }) => part === undefined)),
    parts: new Map(answers.filter(({ part }) => part !== undefined).map(({ index, part }) => [index, part])),
  };
}

const pieces = async function* (bytes: Uint8Array) {
  yield bytes;
};

/** The calls are start, (put, addPart) × 2, put, complete, delete × 2, forgetRemovals. */
const CALLS = 10;

test('an upload that nobody kills takes as many steps as are killed below', async () => {
  await (await openStores()).close();

  expect((await uploadUntilKilled(0, 'never')).calls).toBe(CALLS);
});

test.each(
  Array.from({ length: CALLS }, (_, index) => index + 1).flatMap((at) => [
    [at, 'before'] as const,
    [at, 'after'] as const,
  ]),
)('killed at step %i, %s it', async (at, when) => {
  await (await openStores()).close();
  const answered = await uploadUntilKilled(at, when);
  const { state, blobs, uploader, close } = await openStores();
  const { inParts } = uploader;
  await uploader.sweep();

  // This goes on as a client would: it uses what was answered, and sends the rest again.
  const id =
    answered.upload ??
    (
      await inParts.start(scope, {
        filename: 'a.jsonl',
        purpose: 'batch',
        bytes: WHOLE.length,
        expiresAfterS: null,
        dialect: 'openai',
      })
    ).id;
  const partIds: string[] = [];
  for (const [index, bytes] of PARTS.entries())
    partIds.push(answered.parts.get(index) ?? (await inParts.addPart(scope, id, pieces(bytes))).id);
  const { upload, file } = await inParts.complete(scope, id, { partIds, md5: null });

  expect(upload.status).toBe('completed');
  expect(answered.file ?? file?.id).toBe(file?.id);
  expect((await buffer(blobs.read(file?.blobId ?? ''))).equals(WHOLE)).toBe(true);
  const page = await state.files.list(scope, { limit: 10, order: 'asc' });
  expect(page === 'unknown_after' ? [] : page.files.map((row) => row.id)).toEqual([file?.id]);
  await uploader.sweep();
  const left: string[] = [];
  for await (const blob of blobs.list()) left.push(blob);
  expect(left).toEqual([file?.blobId]);
  await close();
});
