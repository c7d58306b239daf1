import { fileIdOf } from '../../contract/file.ts';
import type { Scope } from '../../contract/scope.ts';
import type { BlobStore } from '../../stores/blobs/port.ts';
import type { StateStore } from '../../stores/state/ports.ts';
import { isTransient } from '../transient.ts';

export interface RemovalStores {
  readonly state: Pick<StateStore, 'files' | 'batches' | 'uploads'>;
  readonly blobs: BlobStore;
}

/** One statement looks up at most this many ids. */
export const IDS_PER_CALL = 500;

// Invariant: bytes are removed by a record of their removal, never because a row is absent. A row may be absent because the
// database is the wrong one, or an older one. So the row goes first and leaves the record, then the bytes go, then the record.

export async function deleteFile(
  stores: RemovalStores,
  scope: Scope,
  { fileId, atS }: { readonly fileId: string; readonly atS: number },
): Promise<boolean> {
  const blobId = await stores.state.files.delete(scope, fileId, atS);
  if (blobId === undefined) return false;
  await removeBytes(stores, [blobId]);
  return true;
}

export async function deleteExpired(stores: RemovalStores, atS: number): Promise<number> {
  for (let deleted = 0; ;) {
    const ids = await stores.state.files.deleteExpired(atS, IDS_PER_CALL);
    await removeBytes(stores, ids);
    deleted += ids.length;
    if (ids.length < IDS_PER_CALL) return deleted;
  }
}

/** Ends uploads in parts whose time is over. */
export async function expireUploads(stores: RemovalStores, atS: number): Promise<void> {
  for (let more = true; more;) {
    const expired = await stores.state.uploads.expire(atS, IDS_PER_CALL);
    await removeBytes(stores, expired.blobIds);
    more = expired.more;
  }
}

/** Finishes earlier deletions. A crash interrupted them, or a live batch still read the bytes. */
export async function finishRemovals(stores: RemovalStores): Promise<number> {
  let removed = 0;
  for (let afterId = ''; ;) {
    const ids = await stores.state.files.removals({ afterId, limit: IDS_PER_CALL });
    removed += await removeBytes(stores, ids);
    const last = ids.at(-1);
    if (last === undefined || ids.length < IDS_PER_CALL) return removed;
    afterId = last;
  }
}

/** Removes bytes and their records, save for bytes that a live batch still uses. Returns how many were removed. */
export async function removeBytes(stores: RemovalStores, ids: readonly string[]): Promise<number> {
  const unused = await withoutLive(stores, ids);
  for (const id of unused) await stores.blobs.delete(id);
  await stores.state.files.forgetRemovals(unused).catch((error: unknown) => {
    // The bytes are gone, as was asked for. A later sweep removes the records.
    if (!isTransient(error)) throw error;
  });
  return unused.length;
}

/** Returns the blobs that no live batch reads or writes. */
export async function withoutLive(
  { state }: { readonly state: Pick<StateStore, 'batches'> },
  ids: readonly string[],
): Promise<string[]> {
  if (ids.length === 0) return [];
  const live = await state.batches.live();
  const inputs = new Set(live.map(({ inputBlobId }) => inputBlobId));
  const produced = new Set(live.flatMap((batch) => [batch.outputFileId, batch.errorFileId]));
  return ids.filter((id) => !inputs.has(id) && !produced.has(fileIdOf(id)));
}
