import { isBlobId } from '../../contract/file.ts';
import type { Stray } from '../../stores/blobs/port.ts';
import { IDS_PER_CALL, withoutLive, type RemovalStores } from './removal.ts';

/** A stray is kept for this time, in which an operator can notice that the database was the wrong one. */
const STRAYS_KEPT_DAYS = 7;
const DAY_MS = 24 * 3_600_000;

/** `ids` are the first few, for the log. */
export interface Strays {
  readonly count: number;
  readonly ids: readonly string[];
}

/**
 * Sets aside blobs that neither a row, a record of a removal, a live batch nor an upload under way names. A crash leaves
 * such blobs, and so does a database that is older than the directory. Therefore nothing is removed here.
 */
export async function setStraysAside(
  stores: RemovalStores,
  { uploading, nowMs }: { readonly uploading: ReadonlySet<string>; readonly nowMs: number },
): Promise<Strays> {
  const found = new Tally();
  const day = dayOf(nowMs);
  await inGroups(stores.blobs.list(), async (ids) => {
    // Invariant: the blobs are listed before uploads, batches and rows are asked. Whoever stored a listed blob is then still
    // under way, or has committed the row that `existing` finds. In another order a blob in use could be set aside.
    const candidates = ids.filter((id) => isBlobId(id) && !uploading.has(id));
    for (const id of await unnamed(stores, candidates))
      if (await stores.blobs.setAside({ id, day })) found.add(id);
  });
  return found;
}

/** Brings back what was set aside and is named after all, as the database has been restored since. Call it at start. */
export async function bringStraysBack(stores: RemovalStores): Promise<Strays> {
  const found = new Tally();
  await inGroups(stores.blobs.listAside(), async (strays) => {
    const ids = await unnamedAmong(stores, strays);
    for (const stray of strays)
      if (!ids.has(stray.id) && (await stores.blobs.bringBack(stray))) found.add(stray.id);
  });
  return found;
}

/** Removes what was set aside days ago and what nothing names still. */
export async function removeOldStrays(stores: RemovalStores, nowMs: number): Promise<Strays> {
  const found = new Tally();
  const lastDay = dayOf(nowMs - (STRAYS_KEPT_DAYS + 1) * DAY_MS);
  await inGroups(stores.blobs.listAside(), async (strays) => {
    const old = strays.filter(({ id, day }) => isBlobId(id) && day <= lastDay);
    const ids = await unnamedAmong(stores, old);
    for (const stray of old.filter(({ id }) => ids.has(id))) {
      await stores.blobs.removeAside(stray);
      found.add(stray.id);
    }
  });
  return found;
}

const unnamedAmong = async (stores: RemovalStores, strays: readonly Stray[]): Promise<ReadonlySet<string>> =>
  new Set(await unnamed(stores, strays.map(idOf)));
const idOf = ({ id }: Stray): string => id;

/** Returns the blobs that neither a row nor a live batch names. */
export async function unnamed(
  stores: Pick<RemovalStores, 'state'>,
  ids: readonly string[],
): Promise<string[]> {
  const unused = await withoutLive(stores, ids);
  const existing = new Set(await stores.state.files.existing(unused));
  return unused.filter((id) => !existing.has(id));
}

async function inGroups<T extends string | Stray>(
  items: AsyncIterable<T>,
  work: (group: readonly T[]) => Promise<void>,
): Promise<void> {
  let group: T[] = [];
  for await (const item of items) {
    if (group.push(item) < IDS_PER_CALL) continue;
    await work(group);
    group = [];
  }
  if (group.length > 0) await work(group);
}

// `ms` comes from the clock of the caller, so this reads no time.
// oxlint-disable-next-line eslint/no-restricted-globals
const dayOf = (ms: number): string => new Date(ms).toISOString().slice(0, 10);

/** The fields of an event of the log. */
export const named = ({ count, ids }: Strays) => ({
  count,
  files: count > ids.length ? `${ids.join(', ')} …` : ids.join(', '),
});

const NAMED_MAX = 20;

class Tally implements Strays {
  count = 0;
  readonly ids: string[] = [];

  add(id: string): void {
    this.count += 1;
    if (this.ids.length < NAMED_MAX) this.ids.push(id);
  }
}
