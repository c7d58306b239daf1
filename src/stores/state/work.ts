import type { SegmentPlan } from '../../contract/inspection.ts';
import { withWork } from './batch-rows.ts';
import type { Database, Db, Trx } from './database.ts';
import { inLockOrder, lockBatch } from './lock-order.ts';
import type { Claim, ClaimedSegment, WorkStore } from './ports.ts';
import type { BatchRecord, SegmentRecord } from './schema.ts';

/** The engine uses it for every resource, so a segment is found by its batch's seq. */
export function createWorkStore(database: Database): WorkStore {
  return {
    claim: (batchSeq, claimant) =>
      database.transact(async (trx) => {
        const batch = await lockBatch(trx, batchSeq);
        return batch?.status === 'in_progress' ? claim(trx, batchSeq, claimant) : [];
      }),

    release: (segments) =>
      database.transact(async (trx) => {
        for (const [batchSeq, parts] of inLockOrder(segments)) await release(trx, batchSeq, parts);
      }),

    reclaim: (workerId) => database.transact((trx) => reclaim(trx, workerId)),

    markSuspect: (segment, line) =>
      database.transact(async (trx) => {
        const { numUpdatedRows } = await updateIfClaimed(trx, segment)
          .set((eb) => ({
            suspect_crashes: eb
              .case()
              .when('suspect_line', '=', line)
              .then(eb.ref('suspect_crashes'))
              .else(0)
              .end(),
            suspect_line: line,
            suspect_epoch: segment.epoch,
          }))
          .executeTakeFirst();
        return numUpdatedRows === 1n;
      }),
  };
}

/** Updates the segment, unless another claim has raised its epoch. */
const updateIfClaimed = (trx: Trx, { batchSeq, index, epoch }: Claim) =>
  trx
    .updateTable('segments')
    .where('batch_seq', '=', batchSeq)
    .where('index', '=', index)
    .where('epoch', '=', epoch);

async function claim(
  trx: Trx,
  batchSeq: number,
  { workerId, segmentsMax, known }: Parameters<WorkStore['claim']>[1],
): Promise<ClaimedSegment[]> {
  const free = await trx
    .selectFrom('segments')
    .selectAll()
    .where('batch_seq', '=', batchSeq)
    .where((eb) =>
      known
        ? eb.or([
            eb('owner', 'is', null),
            // The call that claimed these lost its answer. -1 is no index: an empty list is not valid SQL everywhere.
            eb.and([eb('owner', '=', workerId), eb('index', 'not in', [-1, ...known])]),
          ])
        : eb('owner', 'is', null),
    )
    .whereRef('done', '<', 'requests')
    .orderBy('index')
    .limit(segmentsMax)
    .execute();
  if (free.length === 0) return [];
  await trx
    .updateTable('segments')
    .set((eb) => ({ owner: workerId, epoch: eb('epoch', '+', 1) }))
    .where('batch_seq', '=', batchSeq)
    .where(
      'index',
      'in',
      free.map((segment) => segment.index),
    )
    .execute();
  const claimed: ClaimedSegment[] = [];
  for (const segment of free) claimed.push(toClaimed(segment, await recordedLines(trx, segment)));
  return claimed;
}

async function recordedLines(trx: Trx, segment: SegmentRecord): Promise<number[]> {
  if (segment.done === 0) return [];
  const rows = await trx
    .selectFrom('results')
    .select('line')
    .where('batch_seq', '=', segment.batch_seq)
    .where('line', '>=', segment.first_line)
    .where('line', '<=', segment.last_line)
    .orderBy('line')
    .execute();
  return rows.map((row) => row.line);
}

const toClaimed = (segment: SegmentRecord, recorded: readonly number[]): ClaimedSegment => ({
  batchSeq: segment.batch_seq,
  index: segment.index,
  firstLine: segment.first_line,
  requests: segment.requests,
  byteStart: segment.byte_start,
  byteLength: segment.byte_length,
  epoch: segment.epoch + 1,
  crashes: segment.crashes,
  suspectLine: segment.suspect_line,
  suspectCrashes: segment.suspect_crashes,
  recordedLines: recorded,
});

async function release(
  trx: Trx,
  batchSeq: number,
  segments: Parameters<WorkStore['release']>[0],
): Promise<void> {
  const batch = await lockBatch(trx, batchSeq);
  let inDoubt = 0;
  for (const segment of segments) {
    const { numUpdatedRows } = await updateIfClaimed(trx, segment).set({ owner: null }).executeTakeFirst();
    if (numUpdatedRows === 1n) inDoubt += segment.inDoubt ?? 0;
  }
  if (batch) await addResent(trx, batch, inDoubt);
}

/** Requests of a batch that is being cancelled are not sent again. */
async function addResent(
  trx: Trx,
  { seq, status }: Pick<BatchRecord, 'seq' | 'status'>,
  requests: number,
): Promise<void> {
  if (requests === 0 || status !== 'in_progress') return;
  await trx
    .updateTable('batches')
    .set((eb) => ({ resent: eb('resent', '+', requests) }))
    .where('seq', '=', seq)
    .execute();
}

async function reclaim(trx: Trx, workerId: string): Promise<{ segments: number; requests: number }> {
  const batches = await withWork(trx)
    .select(['seq', 'status'])
    .where('status', 'in', ['in_progress', 'cancelling'])
    .orderBy('seq')
    .forUpdate()
    .execute();
  const reclaimed = { segments: 0, requests: 0 };
  for (const batch of batches) {
    const segments = await trx
      .updateTable('segments')
      .set((eb) => ({
        owner: null,
        epoch: eb('epoch', '+', 1),
        crashes: eb('crashes', '+', 1),
        suspect_crashes: eb
          .case()
          .when('suspect_epoch', '=', eb.ref('epoch'))
          .then(eb('suspect_crashes', '+', 1))
          .else(eb.ref('suspect_crashes'))
          .end(),
      }))
      .where('batch_seq', '=', batch.seq)
      .where('owner', '<>', workerId)
      .whereRef('done', '<', 'requests')
      .returning(['requests', 'done'])
      .execute();
    const requests = segments.reduce((sum, segment) => sum + segment.requests - segment.done, 0);
    await addResent(trx, batch, requests);
    reclaimed.segments += segments.length;
    if (batch.status === 'in_progress') reclaimed.requests += requests;
  }
  return reclaimed;
}

/** A row has seven bound values, and SQLite takes 32,766 in a statement at most. */
const SEGMENTS_PER_STATEMENT = 500;
const LINE_MAX = 2 ** 31 - 1;

export async function insertSegments(
  trx: Trx,
  batchSeq: number,
  plans: readonly SegmentPlan[],
): Promise<void> {
  const rows = plans.map((plan, index) => ({
    batch_seq: batchSeq,
    index,
    first_line: plan.firstLine,
    last_line: (plans[index + 1]?.firstLine ?? LINE_MAX) - 1,
    requests: plan.requests,
    byte_start: plan.byteStart,
    byte_length: plan.byteLength,
  }));
  for (let start = 0; start < rows.length; start += SEGMENTS_PER_STATEMENT)
    await trx
      .insertInto('segments')
      .values(rows.slice(start, start + SEGMENTS_PER_STATEMENT))
      .execute();
}

export async function isUnfinished(db: Db, batchSeq: number): Promise<boolean> {
  return (await firstUnfinished(db, batchSeq)) !== undefined;
}

/** The lowest segment with a request that has no result. */
export const firstUnfinished = (db: Db, batchSeq: number) =>
  db
    .selectFrom('segments')
    .select(['first_line', 'last_line', 'done'])
    .where('batch_seq', '=', batchSeq)
    .whereRef('done', '<', 'requests')
    .orderBy('index')
    .limit(1)
    .executeTakeFirst();
