import { createHmac, randomUUID } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { nowS, systemClock } from '../core/clock.ts';
import { DataDirError, PEPPER_FILE, writeDurably, type DataDir } from '../core/data-dir.ts';
import type { Failpoint } from '../core/failpoint.ts';
import type { Log } from '../core/log.ts';
import type { BlobStore } from '../stores/blobs/port.ts';
import type { StateStore } from '../stores/state/ports.ts';

/** The two halves of an installation: the data directory and the database. */
export interface Halves {
  readonly dataDir: Pick<DataDir, 'path' | 'blobsDir' | 'pepper'>;
  readonly blobs: Pick<BlobStore, 'list' | 'size'>;
  readonly state: Pick<StateStore, 'files' | 'installation'>;
  /** Its path, or its address without the password. */
  readonly database: string;
}

export interface TieOptions {
  /** Whether the operator says that they belong together. */
  readonly adopt: boolean;
  readonly log: Log;
  readonly failpoint: Failpoint;
}

/**
 * Makes sure that the directory and the database are halves of one installation: both have its id. It rejects otherwise,
 * because work on a foreign half loses data. Two halves that have no id yet, and agree, get one.
 */
export async function tieTogether(halves: Halves, { adopt, log, failpoint }: TieOptions): Promise<void> {
  const names = { path: halves.dataDir.path, database: halves.database };
  const { mark, databaseId, verdict } = await judge(halves);
  if (verdict !== 'foreign') {
    if (adopt) log.event('installation.adopt_unneeded', names);
    if (verdict === 'same') return;
    if (verdict === 'confirmed' && databaseId !== undefined) return writeMark(halves.dataDir, databaseId);
    if (verdict === 'restored' && mark.kind === 'id')
      return halves.state.installation.set('installation_id', mark.id);
  } else if (adopt) {
    log.event('installation.adopted', names);
  } else {
    const sides = await sidesOf(halves, { mark, databaseId });
    const keys = (await pepperFault(halves)) === null ? '' : DROPS_KEYS;
    throw new DataDirError(refusal(halves, sides) + keys);
  }
  await giveId(halves, failpoint);
}

/** Says why the two do not belong together, and changes nothing. Null: they do, or the next start makes them. */
export async function mismatchOf(halves: Halves): Promise<string | null> {
  const judged = await judge(halves);
  if (judged.verdict !== 'foreign') return null;
  const { directory, database } = await sidesOf(halves, judged);
  return `The data directory and the database do not belong together: ${directory}; ${database}.`;
}

/** Before a database or its tables are made: rejects when the directory shows that there was a database. */
export async function expectNoDatabase(halves: Omit<Halves, 'state'>, found: string): Promise<void> {
  const mark = await readMark(halves.dataDir);
  if (mark.kind === 'none' || mark.kind === 'pending') {
    if (!(await hasBlobs(halves.blobs))) return;
  }
  const directory = await directoryText(halves, mark);
  throw new DataDirError(refusal(halves, { directory, database: `${halves.database} ${found}` }));
}

/** The pepper with which the digests of the database's keys were made. */
export async function openPepper(
  {
    dataDir,
    state: { installation },
  }: Pick<Halves, 'state'> & {
    readonly dataDir: Pick<DataDir, 'path' | 'pepper' | 'makePepper'>;
  },
  { adopt, log }: Pick<TieOptions, 'adopt' | 'log'>,
): Promise<Uint8Array> {
  const { pepper } = dataDir;
  const expected = await installation.get('pepper_check');
  if (pepper !== undefined && expected === checkOf(pepper)) return pepper;
  const isKnown = pepper !== undefined && expected === undefined;
  if (!isKnown && (await installation.hasKeys())) {
    if (!adopt) throw new DataDirError(pepperText(join(dataDir.path, PEPPER_FILE), pepper !== undefined));
    await installation.dropKeys({ actor: 'configuration', atS: nowS(systemClock) });
    log.event('keys.dropped', { path: join(dataDir.path, PEPPER_FILE) });
  }
  const current = pepper ?? (await dataDir.makePepper());
  await installation.set('pepper_check', checkOf(current));
  return current;
}

/** Says what is wrong with the pepper, and changes nothing. */
export async function pepperFault({
  dataDir,
  state,
}: Pick<Halves, 'dataDir' | 'state'>): Promise<string | null> {
  const { path, pepper } = dataDir;
  const { installation } = state;
  const expected = await installation.get('pepper_check');
  if (pepper !== undefined && (expected === undefined || expected === checkOf(pepper))) return null;
  if (!(await installation.hasKeys())) return null;
  return pepperText(join(path, PEPPER_FILE), pepper !== undefined);
}

/** It tells two peppers apart, and reveals nothing about them. */
const checkOf = (pepper: Uint8Array): string =>
  createHmac('sha256', pepper).update('offpeak pepper').digest('hex');

const pepperText = (file: string, isThere: boolean): string =>
  (isThere
    ? `${file} is not the one that the keys in the database were made with: no key would open anything. `
    : `${file} is missing: the keys in the database were made with it, and no key would open anything. `) +
  'Restore it from the backup that the database is from. If it is lost, start once with --adopt: all keys are dropped ' +
  'then, and new ones are made.';

/** The directory's own id. `pending`: it may not have reached the database. */
type Mark = { readonly kind: 'none' | 'damaged' } | { readonly kind: 'id' | 'pending'; readonly id: string };

/** The id lies among the blobs, because those must not be taken for another installation's. */
const markFile = ({ blobsDir }: Pick<DataDir, 'blobsDir'>): string => join(blobsDir, 'installation');
const MARK = /^([0-9a-f-]{36})( pending)?\n$/;

async function readMark(dataDir: Pick<DataDir, 'blobsDir'>): Promise<Mark> {
  const text = await readFile(markFile(dataDir), 'utf8').catch((error: NodeJS.ErrnoException) => {
    if (error.code === 'ENOENT') return undefined;
    throw unusable(markFile(dataDir), error);
  });
  if (text === undefined) return { kind: 'none' };
  const [, id, pending] = MARK.exec(text) ?? [];
  if (id === undefined) return { kind: 'damaged' };
  return { kind: pending === undefined ? 'id' : 'pending', id };
}

const writeMark = (dataDir: Pick<DataDir, 'blobsDir'>, id: string, state = ''): Promise<void> =>
  writeDurably(markFile(dataDir), `${id}${state}\n`).catch((error: NodeJS.ErrnoException) => {
    throw unusable(markFile(dataDir), error);
  });

const unusable = (file: string, cause: NodeJS.ErrnoException): DataDirError =>
  new DataDirError(
    `${file}, which tells which installation the directory belongs to, cannot be used (${cause.code ?? cause.message}). ` +
      'Put that right, or name another directory with --data-dir.',
    { cause },
  );

/**
 * Gives both halves a new id. Invariant: the directory has it first, as pending. Otherwise a process that ends in between
 * leaves halves that the next start refuses, or an id could reach a second database.
 */
async function giveId({ dataDir, state }: Halves, failpoint: Failpoint): Promise<void> {
  const id = randomUUID();
  await writeMark(dataDir, id, ' pending');
  failpoint('installation:pending');
  await state.installation.set('installation_id', id);
  failpoint('installation:in-database');
  await writeMark(dataDir, id);
}

interface Facts {
  readonly mark: Mark;
  readonly databaseId: string | undefined;
  /** For a database without an id: whether the directory has the files that it names. `none`: neither has any. */
  readonly evidence: 'none' | 'agree' | 'differ';
}

async function judge(halves: Halves) {
  const mark = await readMark(halves.dataDir);
  const databaseId = await halves.state.installation.get('installation_id');
  const evidence = databaseId === undefined ? await evidenceOf(halves) : 'none';
  return { mark, databaseId, verdict: verdictOn({ mark, databaseId, evidence }) };
}

/**
 * - `same`: both halves have the same id.
 * - `confirmed`: they have, and the id of the directory is still pending.
 * - `restored`: the database is from a backup that was made before it had an id, and its files are there.
 * - `new`: the database has no id, the directory has none or a pending one, and their files agree.
 * - `foreign`: anything else.
 */
type Verdict = 'same' | 'confirmed' | 'restored' | 'new' | 'foreign';

function verdictOn({ mark, databaseId, evidence }: Facts): Verdict {
  if (databaseId !== undefined) {
    if (!('id' in mark) || mark.id !== databaseId) return 'foreign';
    return mark.kind === 'id' ? 'same' : 'confirmed';
  }
  if (mark.kind === 'id') return evidence === 'agree' ? 'restored' : 'foreign';
  return evidence === 'differ' || mark.kind === 'damaged' ? 'foreign' : 'new';
}

const SAMPLE = 1_000;

/** Ids are random, so a file that both know cannot be a coincidence. A few may have been lost. */
async function evidenceOf({ state, blobs }: Halves): Promise<Facts['evidence']> {
  const files = await state.files.all({ beforeSeq: null, limit: SAMPLE });
  if (files.length === 0) return (await hasBlobs(blobs)) ? 'differ' : 'none';
  return (await countPresent(files, blobs)) * 2 >= files.length ? 'agree' : 'differ';
}

async function countPresent(
  files: readonly { readonly blobId: string }[],
  blobs: Halves['blobs'],
): Promise<number> {
  let present = 0;
  for (const { blobId } of files) if ((await blobs.size(blobId)) !== undefined) present += 1;
  return present;
}

/** Looks at the newest files, because an older copy of the directory lacks those. */
export async function missingFiles({
  state,
  blobs,
}: Pick<Halves, 'state' | 'blobs'>): Promise<{ readonly count: number; readonly ids: readonly string[] }> {
  const ids: string[] = [];
  for (const { id, blobId } of await state.files.all({ beforeSeq: null, limit: SAMPLE }))
    if ((await blobs.size(blobId)) === undefined) ids.push(id);
  return { count: ids.length, ids: ids.slice(0, NAMED_MAX) };
}

const NAMED_MAX = 20;

async function hasBlobs(blobs: Halves['blobs']): Promise<boolean> {
  for await (const _ of blobs.list()) return true;
  return false;
}

async function sidesOf(halves: Halves, { mark, databaseId }: Omit<Facts, 'evidence'>): Promise<Sides> {
  const files = await halves.state.files.all({ beforeSeq: null, limit: SAMPLE });
  const count = files.length === SAMPLE ? `${SAMPLE} or more` : files.length;
  const holds =
    files.length === 0
      ? 'names no files'
      : `names ${count} files, of which ${await countPresent(files, halves.blobs)} are in the directory`;
  const who = databaseId === undefined ? 'has no installation id' : `is installation ${databaseId}`;
  return {
    directory: await directoryText(halves, mark),
    database: `${halves.database} ${who} and ${holds}`,
  };
}

/** What is known of each half, in words. */
interface Sides {
  readonly directory: string;
  readonly database: string;
}

async function directoryText({ dataDir, blobs }: Omit<Halves, 'state'>, mark: Mark): Promise<string> {
  const who = {
    id: 'id' in mark ? `is installation ${mark.id}` : '',
    pending: 'id' in mark ? `is installation ${mark.id}, begun and not finished,` : '',
    damaged: `has a damaged id in ${markFile(dataDir)}`,
    none: 'has no installation id',
  }[mark.kind];
  return `${dataDir.path} ${who} and ${(await hasBlobs(blobs)) ? 'has files' : 'has no files'}`;
}

const refusal = ({ dataDir }: Pick<Halves, 'dataDir'>, sides: Sides): string =>
  `The data directory and the database do not belong together. Nothing was started, and nothing was removed.
  directory  ${sides.directory}.
  database   ${sides.database}.
Go on in one of three ways:
  the right option   Name the other half with --data-dir or --database. Is a volume not mounted?
  restore            Put both halves back from one backup, as docs/operations.md says ("Restore").
  --adopt            Start once with it to take these two for one installation. Files that the database
                     does not name go to ${dataDir.blobsDir}/strays and are kept for days. Batches whose
                     input is missing fail, and the answers that they have are published.`;
const DROPS_KEYS = `
                     All keys of the database are dropped: the directory does not have the pepper that they
                     were made with. Put it there first if you have it.`;
