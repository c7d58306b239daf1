import { sql } from 'kysely';

import { TERMINAL_STATUSES, TRANSITIONS } from '../../contract/batch.ts';
import type { Batch, BatchErrors, BatchStatus } from '../../contract/batch.ts';
import { assert } from '../../core/assert.ts';
import type { Db, Trx } from './database.ts';
import type { BatchRecord } from './schema.ts';

type Timestamp = Extract<keyof BatchRecord, `${string}_at`>;
const REACHED_AT: readonly Exclude<Timestamp, 'expires_at'>[] = [
  'created_at',
  'in_progress_at',
  'finalizing_at',
  'completed_at',
  'failed_at',
  'expired_at',
  'cancelling_at',
  'cancelled_at',
];

/**
 * Invariant: nothing else writes `status`. Otherwise a change could be one that `TRANSITIONS` lacks. A batch that moves no longer
 * waits for room, and its timestamps never go back, whatever the clock does.
 */
export async function transition(
  trx: Trx,
  batch: BatchRecord,
  to: Exclude<BatchStatus, 'validating'>,
  {
    atS,
    ...also
  }: { readonly atS: number } & Partial<
    Pick<BatchRecord, 'total' | 'completed' | 'failed' | 'errors' | 'deployment' | 'enqueued_tokens'>
  >,
): Promise<BatchRecord> {
  assert(TRANSITIONS[batch.status].includes(to), `batch ${batch.id} cannot go from ${batch.status} to ${to}`);
  const reachedAt = Math.max(atS, ...REACHED_AT.map((column) => batch[column] ?? 0));
  return trx
    .updateTable('batches')
    .set({ ...also, status: to, waiting_tokens: null, [`${to}_at`]: reachedAt })
    .where('seq', '=', batch.seq)
    .returningAll()
    .executeTakeFirstOrThrow();
}

/** Batches that are live or have work to purge. They are few and have an index of their own. */
export const withWork = (db: Db) => db.selectFrom('batches').where('purged', '=', sql.lit(0));

export const withLive = (db: Db) => withWork(db).where('status', 'not in', TERMINAL_STATUSES);

export const toBatch = (row: BatchRecord): Batch => ({
  seq: row.seq,
  id: row.id,
  resourceId: row.resource_id,
  status: row.status,
  endpoint: row.endpoint,
  dialect: row.dialect,
  completionWindow: '24h',
  inputFileId: row.input_file_id,
  inputBlobId: row.input_blob_id ?? row.input_file_id,
  outputFileId: row.output_file_id,
  errorFileId: row.error_file_id,
  deployment: row.deployment,
  enqueuedTokens: row.enqueued_tokens,
  whenFull: row.when_full,
  waitingTokens: row.waiting_tokens,
  createdAt: row.created_at,
  expiresAt: row.expires_at,
  inProgressAt: row.in_progress_at,
  finalizingAt: row.finalizing_at,
  completedAt: row.completed_at,
  failedAt: row.failed_at,
  expiredAt: row.expired_at,
  cancellingAt: row.cancelling_at,
  cancelledAt: row.cancelled_at,
  counts: { total: row.total, completed: row.completed, failed: row.failed },
  usage: {
    inputTokens: row.input_tokens,
    cachedTokens: row.cached_tokens,
    outputTokens: row.output_tokens,
    reasoningTokens: row.reasoning_tokens,
  },
  retries: row.retries,
  resent: row.resent,
  errors: row.errors === null ? null : (JSON.parse(row.errors) as BatchErrors),
  metadata: row.metadata === null ? null : (JSON.parse(row.metadata) as Record<string, string>),
  outputExpiresAfterS: row.output_expires_after_s,
});
