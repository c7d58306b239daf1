import { IDEMPOTENCY_KEY_S, TRANSITIONS, type Batch } from '../../contract/batch.ts';
import type { Scope } from '../../contract/scope.ts';
import { assert } from '../../core/assert.ts';
import { couldEverFit, hasRoom, nextToStart } from './admission.ts';
import { writeAudit } from './audit.ts';
import { keepErrors, splitErrors, toWholeBatch, type SplitErrors } from './batch-errors.ts';
import { listBatches } from './batch-list.ts';
import { toBatch, transition, withLive } from './batch-rows.ts';
import type { Database, Db, Trx } from './database.ts';
import { insertFiles } from './files.ts';
import { lockBatch, lockQuota, lockResource, withResource } from './lock-order.ts';
import type {
  BatchPlan,
  BatchStore,
  CreateOptions,
  CreateOutcome,
  NewBatch,
  Publication,
  Room,
} from './ports.ts';
import { enqueuedTokens, groupOf, heldTokens } from './quota.ts';
import type { BatchRecord, NewBatchRecord } from './schema.ts';
import { insertSegments, isUnfinished } from './work.ts';

/** Methods that take a `seq` serve the engine, which works for every resource. All others are bound to their scope. */
export function createBatchStore(database: Database): BatchStore {
  return {
    create: (scope, batch, options) =>
      withResource(database, scope.resourceId, async (trx) => {
        await lockSharedQuota(trx, database, { ...scope, ...batch, ...options });
        return create(trx, scope, batch, options);
      }),

    get: (scope, batchId) => database.read((db) => find(db, scope, batchId)),

    list: (scope, query) => listBatches(database, scope.resourceId, query),

    findByProducedFile: (scope, fileId) => database.read((db) => findByProducedFile(db, scope, fileId)),

    cancel: (scope, batchId, atS) =>
      database.transact(async (trx) => {
        const batch = await own(trx, scope)
          .selectAll()
          .where('id', '=', batchId)
          .forUpdate()
          .executeTakeFirst();
        if (!batch) return undefined;
        if (!TRANSITIONS[batch.status].includes('cancelling')) return toBatch(batch);
        const detail = { status: { from: batch.status, to: 'cancelling' } };
        await writeAudit(trx, { ...scope, atS, action: 'batch.cancel', target: batchId, detail });
        return toBatch(await transition(trx, batch, 'cancelling', { atS }));
      }),

    enqueuedTokens: (scope) => database.read((db) => enqueuedTokens(db, scope.resourceId)),

    nextToStart: (deployments, nowS) =>
      database.read(async (db) => {
        const next: number[] = [];
        for (const deployment of deployments) next.push(...(await nextToStart(db, deployment, nowS)));
        return next;
      }),

    live: () =>
      database.read(async (db) => {
        const rows = await withLive(db).selectAll().orderBy('seq').execute();
        return rows.map(toBatch);
      }),

    bySeq: (seq) =>
      database.read(async (db) => {
        const row = await db.selectFrom('batches').selectAll().where('seq', '=', seq).executeTakeFirst();
        return row && toBatch(row);
      }),

    plan: (seq, plan) => database.transact((trx) => startWork(trx, database, seq, plan)),

    fail: (seq, { from, atS, errors }) =>
      database.transact(async (trx) => {
        const batch = await lockBatch(trx, seq);
        if (batch?.status !== from) return false;
        const split = splitErrors(errors);
        await transition(trx, batch, 'failed', { atS, errors: split.excerpt });
        await keepErrors(trx, seq, split);
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
  return row && toWholeBatch(db, row);
}

async function findByProducedFile(db: Db, scope: Scope, fileId: string): Promise<Batch | undefined> {
  const by = (column: 'output_file_id' | 'error_file_id') =>
    own(db, scope).selectAll().where(column, '=', fileId).executeTakeFirst();
  const row = (await by('output_file_id')) ?? (await by('error_file_id'));
  return row && toWholeBatch(db, row);
}

async function create(
  trx: Trx,
  scope: Scope,
  batch: NewBatch,
  { room, idempotency }: CreateOptions,
): Promise<CreateOutcome> {
  const { resourceId } = scope;
  const sum = async (deployment: string | null) =>
    deployment === null ? 0 : heldTokens(trx, { resourceId, deployment });

  if (idempotency) {
    const used = await trx
      .selectFrom('idempotency_keys')
      .select(['batch_id', 'body_digest'])
      .where('resource_id', '=', resourceId)
      .where('key', '=', idempotency.key)
      .where('created_at', '>', batch.createdAt - IDEMPOTENCY_KEY_S)
      .executeTakeFirst();
    const earlier = used && (await find(trx, scope, used.batch_id));
    if (earlier && used.body_digest !== idempotency.bodyDigest) return { kind: 'idempotency_mismatch' };
    if (earlier) return { kind: 'replayed', batch: earlier, enqueuedTokens: await sum(earlier.deployment) };
  }

  const { deployment, enqueuedTokens: tokens } = batch;
  const isAdmitted =
    batch.errors !== null ||
    deployment === null ||
    room === null ||
    (await hasRoom(trx, { resourceId, deployment }, { tokens, room, nowS: batch.createdAt }));
  if (!isAdmitted && (batch.whenFull !== 'wait' || !couldEverFit(tokens, room)))
    return { kind: 'token_limit_exceeded', enqueuedTokens: await sum(deployment) };

  const errors = batch.errors && splitErrors(batch.errors);
  const row = await trx
    .insertInto('batches')
    .values(toRecord(resourceId, batch, { errors, waitingTokens: isAdmitted ? null : tokens }))
    .returningAll()
    .executeTakeFirstOrThrow();
  if (errors) await keepErrors(trx, row.seq, errors);
  if (idempotency) {
    const { key, bodyDigest } = idempotency;
    const use = { body_digest: bodyDigest, batch_id: batch.id, created_at: batch.createdAt };
    await trx
      .insertInto('idempotency_keys')
      .values({ resource_id: resourceId, key, ...use })
      // The earlier use has expired, or its batch is gone.
      .onConflict((conflict) => conflict.columns(['resource_id', 'key']).doUpdateSet(use))
      .execute();
  }
  return { kind: 'created', batch: await toWholeBatch(trx, row), enqueuedTokens: await sum(deployment) };
}

const toRecord = (
  resourceId: string,
  batch: NewBatch,
  { errors, waitingTokens }: { errors: SplitErrors | null; waitingTokens: number | null },
): NewBatchRecord => ({
  id: batch.id,
  resource_id: resourceId,
  status: batch.errors ? 'failed' : 'validating',
  endpoint: batch.endpoint,
  dialect: batch.dialect,
  input_file_id: batch.inputFileId,
  input_blob_id: batch.inputBlobId === batch.inputFileId ? null : batch.inputBlobId,
  output_file_id: batch.outputFileId,
  error_file_id: batch.errorFileId,
  deployment: batch.deployment,
  enqueued_tokens: waitingTokens === null ? batch.enqueuedTokens : 0,
  when_full: batch.whenFull,
  waiting_tokens: waitingTokens,
  created_at: batch.createdAt,
  expires_at: batch.expiresAt,
  failed_at: batch.errors ? batch.createdAt : null,
  errors: errors && errors.excerpt,
  metadata: batch.metadata && JSON.stringify(batch.metadata),
  output_expires_after_s: batch.outputExpiresAfterS,
  purged: batch.errors ? 1 : 0,
});

/** An admission that may go beyond its deployment's own limit needs the quota group too. */
async function lockSharedQuota(
  trx: Trx,
  database: Database,
  { resourceId, deployment, room }: { resourceId: string; deployment: string | null; room: Room | null },
): Promise<void> {
  if (deployment === null || room === null || room.sharedTokensMax === null) return;
  const group = await groupOf(trx, { resourceId, deployment });
  if (group) await lockQuota(trx, database, group);
}

async function startWork(
  trx: Trx,
  database: Database,
  seq: number,
  plan: BatchPlan,
): Promise<'planned' | 'waiting' | 'token_limit_exceeded' | 'stale'> {
  const owner = await trx
    .selectFrom('batches')
    .select('resource_id')
    .where('seq', '=', seq)
    .executeTakeFirst();
  if (!owner) return 'stale';
  await lockResource(trx, database, owner.resource_id);
  await lockSharedQuota(trx, database, { resourceId: owner.resource_id, ...plan });
  const batch = await lockBatch(trx, seq);
  if (batch?.status !== 'validating') return 'stale';
  if (!(await mayStart(trx, batch, plan))) return keepWaiting(trx, batch, plan);
  await insertSegments(trx, seq, plan.segments);
  await transition(trx, batch, 'in_progress', {
    atS: plan.atS,
    total: plan.requests,
    deployment: plan.deployment,
    enqueued_tokens: plan.enqueuedTokens,
  });
  return 'planned';
}

/** The tokens that the batch reserved at create need no room a second time. */
async function mayStart(trx: Trx, batch: BatchRecord, plan: BatchPlan): Promise<boolean> {
  const reserved = batch.deployment === plan.deployment ? batch.enqueued_tokens : 0;
  if (
    batch.deployment === plan.deployment &&
    batch.waiting_tokens === null &&
    plan.enqueuedTokens <= reserved
  )
    return true;
  return hasRoom(
    trx,
    { resourceId: batch.resource_id, deployment: plan.deployment },
    {
      tokens: plan.enqueuedTokens - reserved,
      room: plan.room,
      nowS: plan.atS,
      olderThanSeq: batch.seq,
    },
  );
}

async function keepWaiting(
  trx: Trx,
  batch: BatchRecord,
  { deployment, enqueuedTokens: tokens, room, whenFull }: BatchPlan,
): Promise<'waiting' | 'token_limit_exceeded'> {
  if ((batch.when_full ?? whenFull) === 'fail' || !couldEverFit(tokens, room)) return 'token_limit_exceeded';
  // This is asked again and again. Mostly nothing has changed, and nothing is written.
  if (batch.waiting_tokens !== tokens || batch.deployment !== deployment || batch.enqueued_tokens !== 0)
    await trx
      .updateTable('batches')
      .set({ deployment, waiting_tokens: tokens, enqueued_tokens: 0 })
      .where('seq', '=', batch.seq)
      .execute();
  return 'waiting';
}

async function publish(
  trx: Trx,
  seq: number,
  { from, to, atS, completed, failed, files, errors }: Publication,
): Promise<boolean> {
  const batch = await lockBatch(trx, seq);
  if (batch?.status !== from) return false;
  assert(
    completed >= batch.completed && failed >= batch.failed,
    `the files of batch ${batch.id} lack results that were recorded`,
  );
  await insertFiles(trx, batch.resource_id, files);
  const split = errors && splitErrors(errors);
  const total = to === 'failed' ? batch.total : completed + failed;
  await transition(trx, batch, to, {
    atS,
    total,
    completed,
    failed,
    ...(split && { errors: split.excerpt }),
  });
  if (split) await keepErrors(trx, seq, split);
  return true;
}
