import { IDEMPOTENCY_KEY_S } from '../../contract/batch.ts';
import { nowS, type Clock } from '../../core/clock.ts';
import type { StateStore } from '../../stores/state/ports.ts';
import { removeBytes, type RemovalStores } from './removal.ts';

/** How long the operator keeps what has ended. Null: for ever. */
export interface Keep {
  /** This is counted from the end of a batch. Its output and error files go with it. */
  readonly batchesMs: number | null;
  /** This is counted from the creation of a file. A file with an expiry of its own keeps to that. */
  readonly filesMs: number | null;
  readonly auditMs: number | null;
}

export interface RetentionDeps {
  readonly stores: RemovalStores & { readonly state: Pick<StateStore, 'retention'> };
  readonly clock: Clock;
  readonly keep: Keep;
}

export interface Pruned {
  readonly batches: number;
  readonly files: number;
  readonly auditRows: number;
}

/** One step removes at most this many rows, which takes some milliseconds of the store's thread. */
const LIMIT = 100;
/** Between two steps the store serves others, and the disk catches up. */
const PAUSE_MS = 20;

/**
 * Removes what is older than `keep` allows, step by step, until nothing is left or `signal` aborts. Rows go first, in one
 * transaction with the records of their blobs. Then the bytes go. A stop between any two steps leaves nothing wrong.
 */
export async function prune(deps: RetentionDeps, signal: AbortSignal): Promise<Pruned> {
  const { stores, keep } = deps;
  const { retention } = stores.state;
  const again = (step: () => Promise<number>) => repeat(step, deps.clock, signal);
  const cutoff = (ageMs: number) => ({ byS: nowS(deps.clock) - Math.ceil(ageMs / 1000), limit: LIMIT });
  let [batches, files, auditRows] = [0, 0, 0];

  if (keep.batchesMs !== null) {
    const query = cutoff(keep.batchesMs);
    await again(async () => {
      const pruned = await retention.pruneBatches(query);
      await removeBytes(stores, pruned.blobIds);
      batches += pruned.batches;
      files += pruned.blobIds.length;
      return pruned.batches;
    });
  }
  if (keep.filesMs !== null) {
    const query = cutoff(keep.filesMs);
    await again(async () => {
      const blobIds = await retention.pruneFiles(query);
      await removeBytes(stores, blobIds);
      files += blobIds.length;
      return blobIds.length;
    });
  }
  if (keep.auditMs !== null) {
    const query = cutoff(keep.auditMs);
    await again(async () => {
      const rows = await retention.pruneAudit(query);
      auditRows += rows;
      return rows;
    });
  }
  const expired = cutoff(IDEMPOTENCY_KEY_S * 1000);
  await again(() => retention.pruneIdempotencyKeys(expired));
  await again(async () => ((await retention.shrink()) ? LIMIT : 0));
  return { batches, files, auditRows };
}

async function repeat(step: () => Promise<number>, clock: Clock, signal: AbortSignal): Promise<void> {
  while (!signal.aborted && (await step()) >= LIMIT)
    await clock.sleep(PAUSE_MS, signal).catch(() => {
      // The service stops. The next start goes on.
    });
}
