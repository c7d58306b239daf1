import { TERMINAL_STATUSES, TRANSITIONS } from '../../contract/batch.ts';
import type { Batch } from '../../contract/batch.ts';
import type { Scope } from '../../contract/scope.ts';
import { assert } from '../../core/assert.ts';
import { listBatches } from './batch-list.ts';
import { lockBatch, sumEnqueuedTokens, toBatch, transition, withWork } from './batch-rows.ts';
import type { Database, Db, Trx } from './database.ts';
import { insertFiles } from './files.ts';
import type { BatchPlan, BatchStore, CreateOptions, CreateOutcome, NewBatch, Publication } from './ports.ts';
import type { NewBatchRecord } from './schema.ts';
import { insertSegments, isUnfinished } from './work.ts';

const IDEMPOTENCY_KEY_S = 24 * 60 * 60;

/** Functions that take a `seq` serve the engine, which works for every resource; all others are bound to their scope. */
export function createBatchStore(database: Database): BatchStore {
  return {
    create: (scope, batch, options) =>
      database.transact(async (trx) => {
        await database.lockResource(trx, scope.resourceId);
        return create(trx, scope, batch, options);
      }),

    get: (scope, batchId) => database.read((db) => find(db, scope, batchId)),

    list: (scope, query) => database.read((db) => listBatches(db, scope.resourceId, query)),

    findByProducedFile: (scope, fileId) =>
      database.read(async (db) => {
        const by = (column: 'output_file_id' | 'error_file_id') =>
          own(db, scope).selectAll().where(column, '=', fileId).executeTakeFirst();
        const row = (await by('output_file_id')) ?? (await by('error_file_id'));
        return row && toBatch(row);
      }),

    cancel: (scope, batchId, atS) =>
      database.transact(async (trx) => {
        const batch = await own(trx, scope)
          .selectAll()
          .where('id', '=', batchId)
          .forUpdate()
          .executeTakeFirst();
        if (!batch) return undefined;
        const cancellable = TRANSITIONS[batch.status].includes('cancelling');
        return toBatch(cancellable ? await transition(trx, batch, 'cancelling', { atS }) : batch);
      }),

    enqueuedTokens: (scope, deployment) =>
      database.read((db) => sumEnqueuedTokens(db, { resourceId: scope.resourceId, deployment })),

    live: () =>
      database.read(async (db) => {
        const rows = await withWork(db)
          .selectAll()
          .where('status', 'not in', TERMINAL_STATUSES)
          .orderBy('seq')
          .execute();
        return rows.map(toBatch);
      }),

    bySeq: (seq) =>
      database.read(async (db) => {
        const row = await db.selectFrom('batches').selectAll().where('seq', '=', seq).executeTakeFirst();
        return row && toBatch(row);
      }),

    plan: (seq, plan) => database.transact((trx) => startWork(trx, database, seq, plan)),

    fail: (seq, { atS, errors }) =>
      database.transact(async (trx) => {
        const batch = await lockBatch(trx, seq);
        if (batch?.status !== 'validating' && batch?.status !== 'in_progress') return false;
        await transition(trx, batch, 'failed', { atS, errors: JSON.stringify(errors) });
        return true;
      }),

    startFinalizing: (seq, atS) =>
      database.transact(async (trx) => {
        const batch = await lockBatch(trx, seq);
        if (batch?.status !== 'in_progress' || (await isUnfinished(trx, seq))) return false;
        assert(
          batch.completed + batch.failed === batch.total,
          `batch ${batch.id} is done but its counts are not`,
        );
        await transition(trx, batch, 'finalizing', { atS });
        return true;
      }),

    publish: (seq, publication) => database.transact((trx) => publish(trx, seq, publication)),
  };
}

const own = (db: Db, scope: Scope) => db.selectFrom('batches').where('resource_id', '=', scope.resourceId);

async function find(db: Db, scope: Scope, batchId: string): Promise<Batch | undefined> {
  const row = await own(db, scope).selectAll().where('id', '=', batchId).executeTakeFirst();
  return row && toBatch(row);
}

async function create(
  trx: Trx,
  scope: Scope,
  batch: NewBatch,
  { enqueuedTokensMax, idempotency }: CreateOptions,
): Promise<CreateOutcome> {
  const { resourceId } = scope;
  const sum = async (deployment: string | null) =>
    deployment === null ? 0 : sumEnqueuedTokens(trx, { resourceId, deployment });

  if (idempotency) {
    await trx
      .deleteFrom('idempotency_keys')
      .where('resource_id', '=', resourceId)
      .where('created_at', '<=', batch.createdAt - IDEMPOTENCY_KEY_S)
      .execute();
    const used = await trx
      .selectFrom('idempotency_keys')
      .select(['batch_id', 'body_digest'])
      .where('resource_id', '=', resourceId)
      .where('key', '=', idempotency.key)
      .executeTakeFirst();
    if (used && used.body_digest !== idempotency.bodyDigest) return { kind: 'idempotency_mismatch' };
    const earlier = used && (await find(trx, scope, used.batch_id));
    if (earlier) return { kind: 'replayed', batch: earlier, enqueuedTokens: await sum(earlier.deployment) };
  }

  const held = await sum(batch.deployment);
  const adds = batch.errors ? 0 : batch.enqueuedTokens;
  if (!batch.errors && enqueuedTokensMax !== null && held + adds > enqueuedTokensMax)
    return { kind: 'token_limit_exceeded', enqueuedTokens: held };

  const row = await trx
    .insertInto('batches')
    .values(toRecord(resourceId, batch))
    .returningAll()
    .executeTakeFirstOrThrow();
  if (idempotency) {
    const { key, bodyDigest } = idempotency;
    await trx
      .insertInto('idempotency_keys')
      .values({
        resource_id: resourceId,
        key,
        body_digest: bodyDigest,
        batch_id: batch.id,
        created_at: batch.createdAt,
      })
      .execute();
  }
  return {
    kind: 'created',
    batch: toBatch(row),
    enqueuedTokens: batch.deployment === null ? 0 : held + adds,
  };
}

const toRecord = (resourceId: string, batch: NewBatch): NewBatchRecord => ({
  id: batch.id,
  resource_id: resourceId,
  status: batch.errors ? 'failed' : 'validating',
  endpoint: batch.endpoint,
  input_file_id: batch.inputFileId,
  output_file_id: batch.outputFileId,
  error_file_id: batch.errorFileId,
  deployment: batch.deployment,
  enqueued_tokens: batch.enqueuedTokens,
  created_at: batch.createdAt,
  expires_at: batch.expiresAt,
  failed_at: batch.errors ? batch.createdAt : null,
  errors: batch.errors && JSON.stringify(batch.errors),
  metadata: batch.metadata && JSON.stringify(batch.metadata),
  output_expires_after_s: batch.outputExpiresAfterS,
  purged: batch.errors ? 1 : 0,
});

async function startWork(
  trx: Trx,
  database: Database,
  seq: number,
  plan: BatchPlan,
): Promise<'planned' | 'token_limit_exceeded' | 'stale'> {
  const owner = await trx
    .selectFrom('batches')
    .select('resource_id')
    .where('seq', '=', seq)
    .executeTakeFirst();
  if (!owner) return 'stale';
  // Before the batch's own row, as in `create`: one order of locks, so none waits in a circle.
  await database.lockResource(trx, owner.resource_id);
  const batch = await lockBatch(trx, seq);
  if (batch?.status !== 'validating') return 'stale';
  const others = await sumEnqueuedTokens(trx, {
    resourceId: batch.resource_id,
    deployment: plan.deployment,
    exceptSeq: seq,
  });
  if (others + plan.enqueuedTokens > plan.enqueuedTokensMax) return 'token_limit_exceeded';
  await insertSegments(trx, seq, plan.segments);
  await transition(trx, batch, 'in_progress', {
    atS: plan.atS,
    total: plan.requests,
    deployment: plan.deployment,
    enqueued_tokens: plan.enqueuedTokens,
  });
  return 'planned';
}

async function publish(
  trx: Trx,
  seq: number,
  { from, to, atS, completed, failed, files }: Publication,
): Promise<boolean> {
  const batch = await lockBatch(trx, seq);
  if (batch?.status !== from) return false;
  assert(
    completed >= batch.completed && failed >= batch.failed,
    `the files of batch ${batch.id} lack results that were recorded`,
  );
  await insertFiles(trx, batch.resource_id, files);
  await transition(trx, batch, to, { atS, total: completed + failed, completed, failed });
  return true;
}
