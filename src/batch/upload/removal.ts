import { fileIdOf } from '../../contract/file.ts';
import type { Scope } from '../../contract/scope.ts';
import type { BlobStore } from '../../stores/blobs/port.ts';
import type { StateStore } from '../../stores/state/ports.ts';

interface Stores {
  readonly state: Pick<StateStore, 'files' | 'batches'>;
  readonly blobs: BlobStore;
}

/** Ids looked up in one statement. */
const IDS_PER_CALL = 500;

// Rows go first, then bytes: a crash in between leaves bytes without a row, which the sweep removes, never a row
// without bytes.

export async function deleteFile(
  stores: Stores,
  scope: Scope,
  { fileId, atS }: { readonly fileId: string; readonly atS: number },
): Promise<boolean> {
  const blobId = await stores.state.files.delete(scope, fileId, atS);
  if (blobId === undefined) return false;
  await deleteUnused(stores, [blobId]);
  return true;
}

export async function deleteExpired(stores: Stores, atS: number): Promise<number> {
  for (let deleted = 0; ;) {
    const ids = await stores.state.files.deleteExpired(atS, IDS_PER_CALL);
    await deleteUnused(stores, ids);
    deleted += ids.length;
    if (ids.length < IDS_PER_CALL) return deleted;
  }
}

export async function sweepStrays(stores: Stores, uploading: ReadonlySet<string>): Promise<number> {
  let deleted = 0;
  let ids: string[] = [];
  const sweepListed = async () => {
    // The order makes this safe beside uploads and finalizing batches: whoever stored a listed blob is still at it when
    // asked here, or has since committed the row that `existing` finds.
    const candidates = ids.filter((id) => !uploading.has(id));
    const unused = await withoutLive(stores, candidates);
    const existing = new Set(await stores.state.files.existing(unused));
    for (const id of unused) {
      if (existing.has(id)) continue;
      await stores.blobs.delete(id);
      deleted++;
    }
    ids = [];
  };
  for await (const id of stores.blobs.list()) {
    if (ids.push(id) === IDS_PER_CALL) await sweepListed();
  }
  if (ids.length > 0) await sweepListed();
  return deleted;
}

/** What a live batch still reads stays; a later sweep removes it. */
async function deleteUnused(stores: Stores, ids: readonly string[]): Promise<void> {
  for (const id of await withoutLive(stores, ids)) await stores.blobs.delete(id);
}

async function withoutLive({ state }: Stores, ids: readonly string[]): Promise<string[]> {
  if (ids.length === 0) return [];
  const live = await state.batches.live();
  const used = new Set(live.flatMap((batch) => [batch.inputFileId, batch.outputFileId, batch.errorFileId]));
  return ids.filter((id) => !used.has(fileIdOf(id)));
}
