import { sql, type SelectQueryBuilder } from 'kysely';

import { fileIdOf, type FilePurpose, type FileRow } from '../../contract/file.ts';
import type { Inspection } from '../../contract/inspection.ts';
import { writeAudit } from './audit.ts';
import type { Database, Db, Trx } from './database.ts';
import { withResource } from './lock-order.ts';
import type { FileLimits, FileQuery, FileStore } from './ports.ts';
import type { FileRecord, Tables } from './schema.ts';

/** SQLite takes 32,766 bound values in a statement at most. */
const IDS_PER_STATEMENT = 10_000;
/** A list reads at most this many rows at a time, in a few milliseconds. */
const ROWS_PER_STATEMENT = 1_000;
const REMOVALS_PER_STATEMENT = 5_000;

export function createFileStore(database: Database): FileStore {
  return {
    insert: (scope, file, limits) =>
      withResource(database, scope.resourceId, (trx) => insertInput(trx, scope.resourceId, { file, limits })),

    get: (scope, fileId) =>
      database.read(async (db) => {
        const row = await db
          .selectFrom('files')
          .selectAll()
          .where('resource_id', '=', scope.resourceId)
          .where('id', '=', fileId)
          .executeTakeFirst();
        return row && toFile(row);
      }),

    list: (scope, query) => listInParts(database, scope.resourceId, query),

    delete: (scope, fileId, atS) =>
      database.transact(async (trx) => {
        const deleted = await trx
          .deleteFrom('files')
          .where('resource_id', '=', scope.resourceId)
          .where('id', '=', fileId)
          .returning([...REMOVED, 'filename', 'purpose'])
          .executeTakeFirst();
        if (!deleted) return undefined;
        await noteRemovals(trx, [deleted]);
        const detail = { filename: deleted.filename, purpose: deleted.purpose };
        await writeAudit(trx, { ...scope, atS, action: 'file.delete', target: fileId, detail });
        return blobOf(deleted);
      }),

    inspection: (scope, fileId) =>
      database.read(async (db) => {
        const row = await db
          .selectFrom('inspections')
          .select('facts')
          .where('resource_id', '=', scope.resourceId)
          .where('file_id', '=', fileId)
          .executeTakeFirst();
        return row && (JSON.parse(row.facts) as Inspection);
      }),

    saveInspection: (scope, fileId, inspection) =>
      database.transact((trx) =>
        saveInspection(trx, scope.resourceId, { fileId, facts: JSON.stringify(inspection) }),
      ),

    deleteExpired: (nowS, limit) =>
      database.transact((trx) => {
        const expired = trx.selectFrom('files').select('seq').where('expires_at', '<=', nowS);
        return deleteFiles(trx, expired.orderBy('expires_at').limit(limit));
      }),

    ...blobRecords(database),
  };
}

type BlobRecords = Pick<
  FileStore,
  'existing' | 'stored' | 'count' | 'all' | 'parts' | 'removals' | 'forgetRemovals'
>;

/** Records of every resource, to compare the bytes in the blob store with. */
const blobRecords = (database: Database): BlobRecords => ({
  existing: (blobIds) => database.read((db) => existing(db, blobIds)),

  stored: (blobId) =>
    database.read(async (db) => {
      const rows = await db.selectFrom('files').selectAll().where('id', '=', fileIdOf(blobId)).execute();
      const row = rows.find((one) => blobOf(one) === blobId);
      if (row) return { blobId, bytes: row.bytes, sha256: row.sha256 };
      for (const table of ['removals', 'upload_parts'] as const) {
        const other = await db
          .selectFrom(table)
          .select(['bytes', 'sha256'])
          .where('blob_id', '=', blobId)
          .executeTakeFirst();
        if (other) return { blobId, ...other };
      }
      return undefined;
    }),

  count: () =>
    database.read(async (db) => {
      const row = await db
        .selectFrom('files')
        .select((eb) => eb.fn.countAll<number>().as('count'))
        .executeTakeFirstOrThrow();
      return row.count;
    }),

  all: ({ beforeSeq, limit }) =>
    database.read(async (db) => {
      let page = db.selectFrom('files').selectAll().orderBy('seq', 'desc').limit(limit);
      if (beforeSeq !== null) page = page.where('seq', '<', beforeSeq);
      return (await page.execute()).map((row) => ({ ...toFile(row), seq: row.seq }));
    }),

  parts: ({ afterId, limit }) =>
    database.read((db) =>
      db
        .selectFrom('upload_parts')
        .select(['blob_id as blobId', 'bytes', 'sha256'])
        .where('blob_id', '>', afterId)
        .orderBy('blob_id')
        .limit(limit)
        .execute(),
    ),

  removals: ({ afterId, limit }) =>
    database.read(async (db) => {
      const rows = await db
        .selectFrom('removals')
        .select('blob_id')
        .where('blob_id', '>', afterId)
        .orderBy('blob_id')
        .limit(limit)
        .execute();
      return rows.map((row) => row.blob_id);
    }),

  forgetRemovals: (blobIds) =>
    database.transact(async (trx) => {
      if (blobIds.length === 0) return;
      await trx.deleteFrom('removals').where('blob_id', 'in', blobIds).execute();
    }),
});

/** The caller has locked the resource, so that no other insert counts at the same time. */
export async function insertInput(
  trx: Trx,
  resourceId: string,
  { file, limits }: { file: FileRow; limits: FileLimits },
): Promise<'inserted' | 'limit'> {
  const max = file.expiresAt === null ? limits.withoutExpiryMax : limits.withExpiryMax;
  if ((await countInputs(trx, resourceId, file.expiresAt !== null)) >= max) return 'limit';
  await insertFiles(trx, resourceId, [file]);
  return 'inserted';
}

async function existing(db: Db, blobIds: readonly string[]): Promise<string[]> {
  const found: string[] = [];
  for (let start = 0; start < blobIds.length; start += IDS_PER_STATEMENT) {
    const some = new Set(blobIds.slice(start, start + IDS_PER_STATEMENT));
    const fileIds = [...new Set([...some].map(fileIdOf))];
    const rows = await db.selectFrom('files').select(['id', 'blob_id']).where('id', 'in', fileIds).execute();
    const removals = await db
      .selectFrom('removals')
      .select('blob_id')
      .where('blob_id', 'in', [...some])
      .execute();
    const parts = await db
      .selectFrom('upload_parts')
      .select('blob_id')
      .where('blob_id', 'in', [...some])
      .execute();
    found.push(...rows.map(blobOf).filter((id) => some.has(id)));
    found.push(...[...removals, ...parts].map((row) => row.blob_id));
  }
  return found;
}

/** Takes the ids from the file's row, so that a foreign or deleted file gets no inspection. */
async function saveInspection(
  trx: Trx,
  resourceId: string,
  { fileId, facts }: { fileId: string; facts: string },
): Promise<void> {
  await trx
    .insertInto('inspections')
    .columns(['file_id', 'resource_id', 'facts'])
    .expression((eb) =>
      eb
        .selectFrom('files')
        .select(['id', 'resource_id', sql<string>`cast(${facts} as text)`.as('facts')])
        .where('resource_id', '=', resourceId)
        .where('id', '=', fileId),
    )
    .onConflict((conflict) => conflict.column('file_id').doUpdateSet({ facts }))
    .execute();
}

/** Deletes these files, and returns their blobs, which are among the removals then. */
export async function deleteFiles(
  trx: Trx,
  files: SelectQueryBuilder<Tables, 'files', { seq: number }>,
): Promise<string[]> {
  const deleted = await trx.deleteFrom('files').where('seq', 'in', files).returning(REMOVED).execute();
  await noteRemovals(trx, deleted);
  return deleted.map(blobOf);
}

/** A removal keeps these columns. */
export const REMOVED = ['id', 'blob_id', 'bytes', 'sha256'] as const;

/** Invariant: bytes go by this record, never because a row is absent. Otherwise a stale database would remove good files. */
export async function noteRemovals(
  trx: Trx,
  deleted: readonly Pick<FileRecord, 'id' | 'blob_id' | 'bytes' | 'sha256'>[],
): Promise<void> {
  for (let start = 0; start < deleted.length; start += REMOVALS_PER_STATEMENT)
    await trx
      .insertInto('removals')
      .values(
        deleted
          .slice(start, start + REMOVALS_PER_STATEMENT)
          .map((row) => ({ blob_id: blobOf(row), bytes: row.bytes, sha256: row.sha256 })),
      )
      .onConflict((conflict) => conflict.column('blob_id').doNothing())
      .execute();
}

async function countInputs(trx: Trx, resourceId: string, expiring: boolean): Promise<number> {
  const { count } = await trx
    .selectFrom('files')
    .select((eb) => eb.fn.countAll<number>().as('count'))
    .where('resource_id', '=', resourceId)
    // With a literal the planner knows that the index of the input files fits.
    .where('purpose', '<>', sql.lit<FilePurpose>('batch_output'))
    .where('expires_at', expiring ? 'is not' : 'is', null)
    .executeTakeFirstOrThrow();
  return count;
}

export async function insertFiles(trx: Trx, resourceId: string, files: readonly FileRow[]): Promise<void> {
  if (files.length === 0) return;
  await trx
    .insertInto('files')
    .values(
      files.map((file) => ({
        id: file.id,
        blob_id: file.blobId === file.id ? null : file.blobId,
        resource_id: resourceId,
        filename: file.filename,
        purpose: file.purpose,
        bytes: file.bytes,
        sha256: file.sha256,
        created_at: file.createdAt,
        expires_at: file.expiresAt,
      })),
    )
    .execute();
}

/** A list may have 10,000 files. Other calls have their turn in between. */
async function listInParts(
  { read, breathe }: Pick<Database, 'read' | 'breathe'>,
  resourceId: string,
  { limit, ...query }: FileQuery,
): ReturnType<FileStore['list']> {
  return read(async (db) => {
    const files: FileRow[] = [];
    for (let { after } = query; ;) {
      const rows = Math.min(limit - files.length, ROWS_PER_STATEMENT);
      const page = await listFiles(db, resourceId, { ...query, ...(after && { after }), limit: rows });
      // The last file was deleted meanwhile. What is read is a page, and the next one begins behind its last file.
      if (page === 'unknown_after') return files.length === 0 ? page : { files, hasMore: true };
      files.push(...page.files);
      if (!page.hasMore || files.length === limit) return { files, hasMore: page.hasMore };
      after = page.files.at(-1)?.id;
      await breathe();
    }
  });
}

export async function listFiles(
  db: Db,
  resourceId: string,
  { purpose, after, limit, order }: FileQuery,
): Promise<{ files: FileRow[]; hasMore: boolean } | 'unknown_after'> {
  const own = db.selectFrom('files').where('resource_id', '=', resourceId);
  let page = own.selectAll();
  if (purpose !== undefined) page = page.where('purpose', '=', purpose);
  if (after !== undefined) {
    const last = await own.select(['created_at', 'seq']).where('id', '=', after).executeTakeFirst();
    if (!last) return 'unknown_after';
    page = page.where((eb) =>
      eb(eb.refTuple('created_at', 'seq'), order === 'asc' ? '>' : '<', eb.tuple(last.created_at, last.seq)),
    );
  }
  const rows = await page
    .orderBy('created_at', order)
    .orderBy('seq', order)
    .limit(limit + 1)
    .execute();
  return { files: rows.slice(0, limit).map(toFile), hasMore: rows.length > limit };
}

const blobOf = (row: Pick<FileRecord, 'id' | 'blob_id'>): string => row.blob_id ?? row.id;

const toFile = (row: FileRecord): FileRow => ({
  id: row.id,
  blobId: blobOf(row),
  resourceId: row.resource_id,
  filename: row.filename,
  purpose: row.purpose,
  bytes: row.bytes,
  sha256: row.sha256,
  createdAt: row.created_at,
  expiresAt: row.expires_at,
});
