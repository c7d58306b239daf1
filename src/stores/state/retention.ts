import { sql } from 'kysely';

import { withLive } from './batch-rows.ts';
import type { Database, Db, Trx } from './database.ts';
import { deleteFiles } from './files.ts';
import type { Prune, RetentionStore } from './ports.ts';

/** The service itself uses it, for every resource. */
export function createRetentionStore(database: Database): RetentionStore {
  return {
    pruneBatches: (query) => database.transact((trx) => pruneBatches(trx, query)),
    pruneFiles: (query) => database.transact((trx) => pruneFiles(trx, query)),
    pruneAudit: (query) => database.transact((trx) => pruneAudit(trx, query)),
    pruneIdempotencyKeys: (query) => database.transact((trx) => pruneIdempotencyKeys(trx, query)),
    shrink: () => database.shrink(),
  };
}

async function pruneBatches(
  trx: Trx,
  { byS, limit }: Prune,
): Promise<{ batches: number; blobIds: string[] }> {
  const found: { seq: number; output_file_id: string; error_file_id: string }[] = [];
  for (const resourceId of await resourceIds(trx)) {
    if (found.length === limit) break;
    const old = trx
      .selectFrom('batches')
      .select(['seq', 'output_file_id', 'error_file_id'])
      .where('resource_id', '=', resourceId)
      // No batch ends before it was created, so this condition finds the place in the index.
      .where('created_at', '<=', byS)
      // The batch has ended, and none of its work is left to purge.
      .where('purged', '=', 1)
      .where(sql<number>`coalesce(completed_at, failed_at, cancelled_at, expired_at)`, '<=', byS)
      .orderBy('created_at')
      .orderBy('seq')
      .limit(limit - found.length);
    found.push(...(await old.execute()));
  }
  if (found.length === 0) return { batches: 0, blobIds: [] };
  await trx
    .deleteFrom('batches')
    .where(
      'seq',
      'in',
      found.map(({ seq }) => seq),
    )
    .execute();
  const produced = found.flatMap((batch) => [batch.output_file_id, batch.error_file_id]);
  const files = trx.selectFrom('files').select('seq').where('id', 'in', produced);
  return { batches: found.length, blobIds: await deleteFiles(trx, files) };
}

/** The input of a live batch stays, whatever its age. A file with an expiry of its own stays until then. */
async function pruneFiles(trx: Trx, { byS, limit }: Prune): Promise<string[]> {
  const blobIds: string[] = [];
  for (const resourceId of await resourceIds(trx)) {
    if (blobIds.length === limit) break;
    const live = withLive(trx).select('input_file_id').where('resource_id', '=', resourceId);
    const old = trx
      .selectFrom('files')
      .select('seq')
      .where('resource_id', '=', resourceId)
      .where('created_at', '<=', byS)
      .where('expires_at', 'is', null)
      .where('id', 'not in', live)
      .orderBy('created_at')
      .orderBy('seq')
      .limit(limit - blobIds.length);
    blobIds.push(...(await deleteFiles(trx, old)));
  }
  return blobIds;
}

const resourceIds = async (db: Db): Promise<string[]> =>
  (await db.selectFrom('resources').select('id').orderBy('id').execute()).map(({ id }) => id);

/** Removes the oldest rows, in the order of arrival. A row from a clock that ran ahead keeps later rows a while longer. */
async function pruneAudit(trx: Trx, { byS, limit }: Prune): Promise<number> {
  const oldest = await trx.selectFrom('audit').select(['seq', 'at_s']).orderBy('seq').limit(limit).execute();
  const kept = oldest.findIndex((row) => row.at_s > byS);
  const old = kept === -1 ? oldest : oldest.slice(0, kept);
  const last = old.at(-1);
  if (last !== undefined) await trx.deleteFrom('audit').where('seq', '<=', last.seq).execute();
  return old.length;
}

async function pruneIdempotencyKeys(trx: Trx, { byS, limit }: Prune): Promise<number> {
  const old = await trx
    .selectFrom('idempotency_keys')
    .select(['resource_id', 'key'])
    .where('created_at', '<=', byS)
    .orderBy('created_at')
    .limit(limit)
    .execute();
  for (const [resourceId, keys] of Map.groupBy(old, (row) => row.resource_id))
    await trx
      .deleteFrom('idempotency_keys')
      .where('resource_id', '=', resourceId)
      .where(
        'key',
        'in',
        keys.map(({ key }) => key),
      )
      .where('created_at', '<=', byS)
      .execute();
  return old.length;
}
