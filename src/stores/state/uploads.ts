import { sql } from 'kysely';

import type { PartRow, UploadRow } from '../../contract/upload.ts';
import type { Database, Trx } from './database.ts';
import { insertInput, noteRemovals, REMOVED } from './files.ts';
import { withResource } from './lock-order.ts';
import type { PartOutcome, UploadLimits, UploadStore } from './ports.ts';
import type { PartRecord, UploadRecord } from './schema.ts';

/** An upload that has ended is remembered for this time, for callers that ask again. */
const REMEMBERED_S = 24 * 3_600;

export function createUploadStore(database: Database): UploadStore {
  return {
    start: (scope, upload, limits) =>
      withResource(database, scope.resourceId, (trx) =>
        start(trx, { ...upload, resourceId: scope.resourceId }, limits),
      ),

    get: (scope, uploadId) =>
      database.read(async (db) => {
        const row = await db
          .selectFrom('uploads')
          .selectAll()
          .where('resource_id', '=', scope.resourceId)
          .where('id', '=', uploadId)
          .executeTakeFirst();
        return row && toUpload(row);
      }),

    addPart: (scope, part, limits) =>
      database.transact((trx) => addPart(trx, scope.resourceId, { part, ...limits })),

    parts: (scope, uploadId) =>
      database.read(async (db) => {
        const rows = await db
          .selectFrom('upload_parts')
          .selectAll()
          .where('resource_id', '=', scope.resourceId)
          .where('upload_id', '=', uploadId)
          .execute();
        return rows.map(toPart);
      }),

    complete: (scope, uploadId, completion) =>
      withResource(database, scope.resourceId, (trx) =>
        complete(trx, { resourceId: scope.resourceId, uploadId }, completion),
      ),

    cancel: (scope, uploadId) =>
      withResource(database, scope.resourceId, async (trx) => {
        const cancelled = await trx
          .updateTable('uploads')
          .set({ status: 'cancelled' })
          .where('resource_id', '=', scope.resourceId)
          .where('id', '=', uploadId)
          .where('status', '=', 'pending')
          .returning('id')
          .executeTakeFirst();
        return cancelled && deleteParts(trx, [uploadId]);
      }),

    expire: (nowS, limit) =>
      database.transact(async (trx) => {
        const over = await trx
          .selectFrom('uploads')
          .select(['id', 'status'])
          .where((eb) =>
            eb.or([
              eb.and([eb('status', '=', 'pending'), eb('expires_at', '<=', nowS)]),
              eb('expires_at', '<=', nowS - REMEMBERED_S),
            ]),
          )
          .orderBy('expires_at')
          .limit(limit)
          .execute();
        return { blobIds: await end(trx, over), more: over.length === limit };
      }),
  };
}

async function start(
  trx: Trx,
  upload: UploadRow,
  { pendingMax }: Pick<UploadLimits, 'pendingMax'>,
): Promise<'started' | 'limit'> {
  const { count } = await trx
    .selectFrom('uploads')
    .select((eb) => eb.fn.countAll<number>().as('count'))
    .where('resource_id', '=', upload.resourceId)
    // With a literal the planner knows that the index of the pending uploads fits.
    .where('status', '=', sql.lit('pending'))
    .where('expires_at', '>', upload.createdAt)
    .executeTakeFirstOrThrow();
  if (count >= pendingMax) return 'limit';
  await trx.insertInto('uploads').values(toRecord(upload)).execute();
  return 'started';
}

type Addition = Parameters<UploadStore['addPart']>[2] & { readonly part: PartRow };

async function addPart(trx: Trx, resourceId: string, addition: Addition): Promise<PartOutcome> {
  const { part, partsMax, partBytesMax, atS } = addition;
  // Whoever ends the upload changes the same row, so a part is added before that, or not at all.
  const upload = await trx
    .updateTable('uploads')
    .set((eb) => ({
      parts: eb('parts', '+', 1),
      part_bytes: eb('part_bytes', '+', part.bytes),
    }))
    .where('resource_id', '=', resourceId)
    .where('id', '=', part.uploadId)
    .where('status', '=', 'pending')
    .where('expires_at', '>', atS)
    .where('parts', '<', partsMax)
    .where('part_bytes', '<=', partBytesMax - part.bytes)
    .returning('id')
    .executeTakeFirst();
  if (upload === undefined) return whyNot(trx, resourceId, addition);
  await trx
    .insertInto('upload_parts')
    .values({
      id: part.id,
      blob_id: part.blobId,
      upload_id: part.uploadId,
      resource_id: resourceId,
      bytes: part.bytes,
      sha256: part.sha256,
      created_at: part.createdAt,
    })
    .execute();
  return 'added';
}

async function whyNot(trx: Trx, resourceId: string, { part, partsMax, atS }: Addition): Promise<PartOutcome> {
  const upload = await trx
    .selectFrom('uploads')
    .select(['status', 'expires_at', 'parts'])
    .where('resource_id', '=', resourceId)
    .where('id', '=', part.uploadId)
    .executeTakeFirst();
  if (upload?.status !== 'pending' || upload.expires_at <= atS) return 'ended';
  return upload.parts >= partsMax ? 'too_many_parts' : 'too_many_bytes';
}

async function complete(
  trx: Trx,
  { resourceId, uploadId }: { resourceId: string; uploadId: string },
  { file, digest, limits, atS }: Parameters<UploadStore['complete']>[2],
): ReturnType<UploadStore['complete']> {
  const set = (values: Pick<UploadRecord, 'status' | 'file_id' | 'completed_by'>) =>
    trx.updateTable('uploads').set(values).where('resource_id', '=', resourceId).where('id', '=', uploadId);
  // This comes first, so that nobody else ends the upload meanwhile.
  const completed = await set({ status: 'completed', file_id: file.id, completed_by: digest })
    .where('status', '=', 'pending')
    .where('expires_at', '>', atS)
    .returning('id')
    .executeTakeFirst();
  if (completed === undefined) return { kind: 'ended' };
  if ((await insertInput(trx, resourceId, { file, limits })) === 'limit') {
    await set({ status: 'pending', file_id: null, completed_by: null }).execute();
    return { kind: 'limit' };
  }
  return { kind: 'completed', blobIds: await deleteParts(trx, [uploadId]) };
}

/** Called in the transaction that deletes the resource. */
export async function deleteUploads(trx: Trx, resourceId: string): Promise<void> {
  // The rows are locked first, so that no part is added while the parts go: its bytes would be in no record.
  await trx.selectFrom('uploads').select('id').where('resource_id', '=', resourceId).forUpdate().execute();
  const parts = trx.deleteFrom('upload_parts').where('resource_id', '=', resourceId);
  await noteRemovals(trx, await parts.returning(REMOVED).execute());
  await trx.deleteFrom('uploads').where('resource_id', '=', resourceId).execute();
}

/** Pending uploads become expired. The others were remembered long enough, and are deleted. */
async function end(trx: Trx, uploads: readonly Pick<UploadRecord, 'id' | 'status'>[]): Promise<string[]> {
  const ids = (pending: boolean): string[] =>
    uploads.filter(({ status }) => (status === 'pending') === pending).map(({ id }) => id);
  const [expired, forgotten] = [ids(true), ids(false)];
  if (forgotten.length > 0) await trx.deleteFrom('uploads').where('id', 'in', forgotten).execute();
  if (expired.length === 0) return [];
  await trx
    .updateTable('uploads')
    .set({ status: 'expired' })
    .where('id', 'in', expired)
    .where('status', '=', 'pending')
    .execute();
  return deleteParts(trx, expired);
}

async function deleteParts(trx: Trx, uploadIds: readonly string[]): Promise<string[]> {
  const parts = await trx
    .deleteFrom('upload_parts')
    .where('upload_id', 'in', uploadIds)
    .returning(REMOVED)
    .execute();
  await noteRemovals(trx, parts);
  return parts.map(({ blob_id: blobId }) => blobId);
}

const toRecord = (upload: UploadRow): Omit<UploadRecord, 'parts' | 'part_bytes'> => ({
  id: upload.id,
  resource_id: upload.resourceId,
  filename: upload.filename,
  purpose: upload.purpose,
  bytes: upload.bytes,
  status: upload.status,
  created_at: upload.createdAt,
  expires_at: upload.expiresAt,
  file_expires_after_s: upload.fileExpiresAfterS,
  file_id: upload.completion?.fileId ?? null,
  completed_by: upload.completion?.digest ?? null,
});

const toUpload = (row: UploadRecord): UploadRow => ({
  id: row.id,
  resourceId: row.resource_id,
  filename: row.filename,
  purpose: row.purpose,
  bytes: row.bytes,
  status: row.status,
  createdAt: row.created_at,
  expiresAt: row.expires_at,
  fileExpiresAfterS: row.file_expires_after_s,
  completion:
    row.file_id === null || row.completed_by === null
      ? null
      : { fileId: row.file_id, digest: row.completed_by },
});

const toPart = (row: PartRecord): PartRow => ({
  id: row.id,
  blobId: row.blob_id,
  uploadId: row.upload_id,
  bytes: row.bytes,
  sha256: row.sha256,
  createdAt: row.created_at,
});
