import { IDEMPOTENCY_KEY_S } from '../../contract/batch.ts';
import { nowS, type Clock } from '../../core/clock.ts';
import type { StateStore } from '../../stores/state/ports.ts';
import { removeBytes, type RemovalStores } from './removal.ts';

/** How long the operator keeps what has ended; null: for ever. */
export interface Keep {
  /** Since their end; their output and error files go with them. */
  readonly batchesMs: number | null;
  /** Since they came; those with an expiry of their own keep to that. */
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

/** So many at a time: some milliseconds of the store's thread. */
const LIMIT = 100;
/** Between two steps others have their turn, and the disk. */
const PAUSE_MS = 20;

/**
 * Removes what is older than it is kept, step by step, until nothing is or `signal` aborts. Rows go first, in one
 * transaction with the records of their blobs; then the bytes. A stop between any two steps leaves nothing wrong.
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
      // The service stops: the next start goes on.
    });
}
