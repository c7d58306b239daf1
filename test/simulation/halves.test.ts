/**
 * Histories of the two halves of an installation: uploads, deletions, crashes, sweeps, days that pass, databases restored or
 * swapped, strays, adoption. Real stores on a real disk; a seed is a history. What people own must never be destroyed.
 */
import { copyFile, mkdir, mkdtemp, readdir, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { tieTogether } from '../../src/app/installation.ts';
import type { Uploader } from '../../src/batch/upload/upload.ts';
import { systemClock } from '../../src/core/clock.ts';
import { DataDirError } from '../../src/core/data-dir.ts';
import { noFailpoints } from '../../src/core/failpoint.ts';
import { silentLog } from '../../src/core/log.ts';
import { openDiskBlobs, type DiskBlobs } from '../../src/stores/blobs/disk.ts';
import { change, resourceOf } from '../support/state-store.ts';
import { uploaderOver } from '../support/uploader.ts';
import type { StateStore } from '../../src/stores/state/ports.ts';
import { openSqliteInline } from '../../src/stores/state/sqlite/inline.ts';
import { overriding } from './overriding.ts';
import { Rng } from './rng.ts';

const DAY_MS = 24 * 3_600_000;
const KEPT_DAYS = 8;
const STEPS = 25;
const scope = { resourceId: 'default', actor: 'test' };

interface Bug {
  readonly blobs?: (blobs: DiskBlobs) => DiskBlobs;
  readonly state?: (state: StateStore) => StateStore;
  readonly tie?: typeof tieTogether;
}

class Halves {
  readonly #dir: string;
  readonly #rng: Rng;
  readonly #bug: Bug;
  #nowMs = 1_800_000_000_000;
  #database = 'main';
  #databases = 1;
  #copies: { readonly from: string; readonly path: string }[] = [];
  /** What was uploaded and never deleted by its owner. */
  readonly #owned = new Map<string, string>();
  /** The day under which each was last seen set aside. */
  #aside = new Map<string, string>();
  #running: { state: StateStore; blobs: DiskBlobs; uploader: Uploader } | null = null;

  constructor(dir: string, rng: Rng, bug: Bug) {
    this.#dir = dir;
    this.#rng = rng;
    this.#bug = bug;
  }

  async run(): Promise<void> {
    await this.#start();
    for (let step = 0; step < STEPS; step += 1) {
      await this.#act();
      await this.#expectNothingDestroyed();
      await this.#expectAllReadable();
    }
    await this.#stop();
  }

  #act(): Promise<void> {
    return this.#rng.weigh<() => Promise<void>>([
      [6, () => this.#upload()],
      [2, () => this.#delete()],
      [2, () => this.#crashInUpload()],
      [5, async () => void (await this.#process().uploader.sweep())],
      [3, async () => void (this.#nowMs += this.#rng.int(1, 5) * DAY_MS)],
      [2, () => this.#backUp()],
      [3, () => this.#restore()],
      [2, () => this.#swap(`fresh-${(this.#databases += 1)}`)],
      [2, () => this.#swap('main')],
      [1, () => this.#swap(this.#database)],
    ])();
  }

  #process() {
    if (this.#running === null) throw new Error('nothing runs');
    return this.#running;
  }

  #pathOf(name: string): string {
    return join(this.#dir, `${name}.db`);
  }

  async #upload(): Promise<void> {
    const content = `content ${this.#rng.int(0, 1e9)}`;
    const chunks = [Buffer.from(content)] as never;
    const upload = { filename: 'in.jsonl', purpose: 'batch', chunks, expiresAfterS: null } as const;
    const { id } = await this.#process().uploader.uploadFile(scope, upload);
    this.#owned.set(id, content);
  }

  async #delete(): Promise<void> {
    const [file] = await this.#process().state.files.all({ beforeSeq: null, limit: 1 });
    if (file === undefined) return;
    this.#owned.delete(file.id);
    await this.#process().uploader.deleteFile(scope, file.id);
  }

  /** Bytes without a row. */
  async #crashInUpload(): Promise<void> {
    const id = `file-${this.#rng.uuid().replaceAll('-', '')}`;
    await this.#process().blobs.put(id, [Buffer.from('never acknowledged')] as never);
    await this.#swap(this.#database);
  }

  async #backUp(): Promise<void> {
    await this.#stop();
    const path = join(this.#dir, `copy-${this.#copies.length}.db`);
    await copyFile(this.#pathOf(this.#database), path);
    this.#copies.push({ from: this.#database, path });
    await this.#start();
  }

  async #restore(): Promise<void> {
    const copy = this.#copies.length > 0 && this.#rng.pick(this.#copies);
    if (!copy) return;
    await this.#stop();
    await copyFile(copy.path, this.#pathOf(copy.from));
    this.#database = copy.from;
    await this.#start();
  }

  async #swap(name: string): Promise<void> {
    await this.#stop();
    this.#database = name;
    await this.#start();
  }

  async #stop(): Promise<void> {
    await this.#running?.state.close();
    await this.#running?.blobs.close();
    this.#running = null;
  }

  async #start(): Promise<void> {
    const blobsDir = join(this.#dir, 'data', 'blobs');
    const real = await openSqliteInline({ path: this.#pathOf(this.#database) });
    const disk = await openDiskBlobs({ dir: blobsDir, uuid: this.#rng.uuid });
    const state = this.#bug.state?.(real) ?? real;
    const blobs = this.#bug.blobs?.(disk) ?? disk;
    const halves = {
      dataDir: { path: join(this.#dir, 'data'), blobsDir, pepper: undefined },
      blobs,
      state,
      database: this.#database,
    };
    const tie = this.#bug.tie ?? tieTogether;
    const isForeign = (await state.files.count()) === 0 && (await this.#whereabouts()).size > 0;
    const options = { adopt: false, log: silentLog, failpoint: noFailpoints };
    const refused = await tie(halves, options).then(
      () => false,
      (error: unknown) => error instanceof DataDirError,
    );
    const id = await state.installation.get('installation_id');
    expect(isForeign && id === undefined && !refused, 'a foreign database was taken').toBe(false);
    if (refused) await tie(halves, { ...options, adopt: true });
    await state.resources.put(resourceOf('default'), change);
    const clock = { ...systemClock, now: () => this.#nowMs };
    const uploader = uploaderOver({ state, blobs, clock, uuid: this.#rng.uuid });
    this.#running = { state, blobs, uploader };
    await blobs.sweep();
    await uploader.bringStraysBack();
  }

  /** Of every blob that is there: null, or the day on which it was set aside. */
  async #whereabouts(): Promise<Map<string, string | null>> {
    const found = new Map<string, string | null>();
    const blobsDir = join(this.#dir, 'data', 'blobs');
    const entries = await readdir(blobsDir, { recursive: true, withFileTypes: true }).catch(() => []);
    for (const entry of entries) {
      if (!entry.isFile() || !entry.name.startsWith('file-')) continue;
      const content = await readFile(join(entry.parentPath, entry.name), 'utf8');
      const owned = this.#owned.get(entry.name);
      if (owned !== undefined) expect(content).toBe(owned);
      const day = /strays\/([\d-]+)$/.exec(entry.parentPath)?.[1] ?? null;
      if (found.get(entry.name) !== null) found.set(entry.name, day);
    }
    return found;
  }

  async #expectNothingDestroyed(): Promise<void> {
    const found = await this.#whereabouts();
    const { state } = this.#process();
    const named = new Set(await state.files.existing([...this.#owned.keys()]));
    for (const id of this.#owned.keys()) {
      if (found.has(id)) continue;
      const day = this.#aside.get(id);
      const isOld = day !== undefined && Date.parse(day) + KEPT_DAYS * DAY_MS <= this.#nowMs;
      expect(isOld && !named.has(id), `${id} was destroyed`).toBe(true);
      this.#owned.delete(id);
    }
    this.#aside = new Map([...found].filter((entry): entry is [string, string] => entry[1] !== null));
  }

  /** A blob that the database names, and that exists, is at the place where it is read. */
  async #expectAllReadable(): Promise<void> {
    const { state, blobs } = this.#process();
    for (const { id, blobId, bytes, sha256 } of await state.files.all({ beforeSeq: null, limit: 1_000 }))
      if (this.#owned.has(id)) await blobs.check({ id: blobId, bytes, sha256 });
  }
}

async function history(seed: number, bug: Bug = {}): Promise<unknown> {
  const dir = await mkdtemp(join(tmpdir(), 'offpeak-halves-'));
  await mkdir(join(dir, 'data'));
  try {
    return await new Halves(dir, new Rng(seed), bug).run().catch((error: unknown) => error);
  } finally {
    await rm(dir, { recursive: true });
  }
}

const seeds = (count: number): number[] => Array.from({ length: count }, (_, at) => at + 1);

test.each(seeds(12))('seed %i destroys nothing that anybody owns', async (seed) => {
  expect(await history(seed)).toBeUndefined();
});

const BUGS: Record<string, Bug> = {
  'strays are removed at once': {
    blobs: (blobs) => overriding(blobs, { setAside: ({ id }) => blobs.delete(id).then(() => true) }),
  },
  'strays never come back': { blobs: (blobs) => overriding(blobs, { bringBack: async () => false }) },
  'what is named is taken for a stray': {
    state: (state) => overriding(state, { files: overriding(state.files, { existing: async () => [] }) }),
  },
  'any database is taken': { tie: async () => {} },
  'a deletion leaves no record and takes what it finds': {
    blobs: (blobs) => overriding(blobs, { delete: async (id) => sweepBeside(blobs, id) }),
  },
};

async function sweepBeside(blobs: DiskBlobs, id: string): Promise<void> {
  await blobs.delete(id);
  for await (const other of blobs.list()) return blobs.delete(other);
}

describe('a planted bug is found', () => {
  test.each(Object.entries(BUGS))('%s', async (_, bug) => {
    for (const seed of seeds(40)) if ((await history(seed, bug)) !== undefined) return;
    expect.fail('40 histories found nothing');
  });
});
