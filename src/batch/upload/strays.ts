import { isBlobId } from '../../contract/file.ts';
import type { Stray } from '../../stores/blobs/port.ts';
import { IDS_PER_CALL, withoutLive, type RemovalStores } from './removal.ts';

/** How long a stray is kept: time enough to notice that the database was the wrong one. */
const STRAYS_KEPT_DAYS = 7;
const DAY_MS = 24 * 3_600_000;

/** Ids of the first few, for the log. */
export interface Strays {
  readonly count: number;
  readonly ids: readonly string[];
}

/**
 * Sets aside blobs that neither a row, a record of a removal, a live batch nor an upload under way knows. A crash leaves
 * such blobs; so does a database that is older than the directory. Therefore nothing is removed here.
 */
export async function setStraysAside(
  stores: RemovalStores,
  { uploading, nowMs }: { readonly uploading: ReadonlySet<string>; readonly nowMs: number },
): Promise<Strays> {
  const found = new Tally();
  const day = dayOf(nowMs);
  await inGroups(stores.blobs.list(), async (ids) => {
    // The order makes this safe beside uploads and finalizing batches: whoever stored a listed blob is still at it when
    // asked here, or has since committed the row that `existing` finds.
    const candidates = ids.filter((id) => isBlobId(id) && !uploading.has(id));
    for (const id of await unknown(stores, candidates))
      if (await stores.blobs.setAside({ id, day })) found.add(id);
  });
  return found;
}

/** Brings back what was set aside and is named after all: the database has been restored since. Call at start. */
export async function bringStraysBack(stores: RemovalStores): Promise<Strays> {
  const found = new Tally();
  await inGroups(stores.blobs.listAside(), async (strays) => {
    const ids = new Set(
      await unknown(
        stores,
        strays.map(({ id }) => id),
      ),
    );
    for (const stray of strays)
      if (!ids.has(stray.id) && (await stores.blobs.bringBack(stray))) found.add(stray.id);
  });
  return found;
}

/** Removes what was set aside days ago and is still named by nothing. */
export async function removeOldStrays(stores: RemovalStores, nowMs: number): Promise<Strays> {
  const found = new Tally();
  const lastDay = dayOf(nowMs - (STRAYS_KEPT_DAYS + 1) * DAY_MS);
  await inGroups(stores.blobs.listAside(), async (strays) => {
    const old = strays.filter(({ id, day }) => isBlobId(id) && day <= lastDay);
    const ids = new Set(
      await unknown(
        stores,
        old.map(({ id }) => id),
      ),
    );
    for (const stray of old.filter(({ id }) => ids.has(id))) {
      await stores.blobs.removeAside(stray);
      found.add(stray.id);
    }
  });
  return found;
}

async function unknown(stores: RemovalStores, ids: readonly string[]): Promise<string[]> {
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

// Of the clock that the caller has.
// oxlint-disable-next-line eslint/no-restricted-globals
const dayOf = (ms: number): string => new Date(ms).toISOString().slice(0, 10);

/** For the log. */
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
