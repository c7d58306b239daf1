import type { QuotaGroup } from '../../contract/control.ts';
import type { Database, Trx } from './database.ts';
import type { BatchRecord } from './schema.ts';

/**
 * What is locked before what.
 *
 * From its start to its end a server holds its data directory (`core/data-dir.ts`), then its database (`postgres/server-lock.ts`).
 *
 * A transaction takes those of these locks that it needs, in this order:
 *
 * 1. One resource: `withResource`, `lockResource`. For checks over many of its rows: limits, admission, deletion.
 * 2. One quota group: `lockQuota`. For sums over deployments of several resources.
 * 3. Rows of batches, by ascending `seq`: `lockBatch`, `inLockOrder`.
 * 4. All other rows, by the statements that change them; an upload before its parts.
 *
 * Invariant: no transaction waits for a lock that stands above one that it holds. Without it two transactions can wait for
 * each other: PostgreSQL then ends one of them after a second, and it runs again.
 *
 * SQLite has one writer. `begin immediate` (`sqlite/dialect.ts`) takes the whole database, so 1 to 4 do nothing there.
 */

/** One transaction that has the resource to itself. */
export const withResource = <T>(
  database: Database,
  resourceId: string,
  work: (trx: Trx) => Promise<T>,
): Promise<T> =>
  database.transact(async (trx) => {
    await lockResource(trx, database, resourceId);
    return work(trx);
  });

export const lockResource = (trx: Trx, database: Database, resourceId: string): Promise<void> =>
  database.lock(trx, 'resource', resourceId);

export const lockQuota = (
  trx: Trx,
  database: Database,
  { subscriptionId, location, model, sku }: QuotaGroup,
): Promise<void> => database.lock(trx, 'quota', JSON.stringify([subscriptionId, location, model, sku]));

/** Every change of a batch starts here. The row stays locked until `trx` ends, and other work on the batch waits. */
export const lockBatch = (trx: Trx, seq: number): Promise<BatchRecord | undefined> =>
  trx.selectFrom('batches').selectAll().where('seq', '=', seq).forUpdate().executeTakeFirst();

/** Items of several batches, batch by batch, in the order in which these are locked. */
export const inLockOrder = <T extends { readonly batchSeq: number }>(items: readonly T[]): [number, T[]][] =>
  [...Map.groupBy(items, ({ batchSeq }) => batchSeq)].sort(([one], [other]) => one - other);
