import { sql, type ColumnDefinitionBuilder, type Expression } from 'kysely';

import { BATCH_STATUSES } from '../../contract/batch.ts';
import { splitAllErrors } from './batch-errors.ts';
import { UPLOAD_STATUSES } from '../../contract/upload.ts';
import type { Db } from './database.ts';
import { indexLists } from './list-indexes.ts';
import { StoreError } from './ports.ts';
import type { ColumnTypes } from './schema.ts';

type Migration = (db: Db, types: ColumnTypes) => Promise<void>;

/**
 * They run in this order. The position of the last one that ran is the version of a database. Invariant: a released migration
 * never changes. Otherwise two databases of one version would differ.
 */
const MIGRATIONS: readonly Migration[] = [
  createTables,
  addControlPlane,
  addBlobIds,
  addDialect,
  indexLists,
  addRemovals,
  splitAllErrors,
  indexKeysByAge,
  addUploads,
  addInputBlobs,
];

/**
 * Brings the database to this release's schema in one transaction, or refuses one that a newer release has made.
 * `target`: for tests of the upgrade from an older schema.
 */
export async function migrate(db: Db, types: ColumnTypes, target = MIGRATIONS.length): Promise<void> {
  await db.transaction().execute(async (trx) => {
    await trx.schema
      .createTable('schema_version')
      .ifNotExists()
      .addColumn('version', 'integer', (c) => c.notNull())
      .execute();
    const version = await versionOf(trx);
    if (version === target) return;
    for (const migration of MIGRATIONS.slice(version, target)) await migration(trx, types);
    await trx.deleteFrom('schema_version').execute();
    await trx.insertInto('schema_version').values({ version: target }).execute();
  });
}

/** Rejects when `migrate` would have something to do. For readers, which migrate nothing. */
export async function expectCurrent(db: Db): Promise<void> {
  const version = await versionOf(db);
  if (version === MIGRATIONS.length) return;
  throw new StoreError(
    `The database has schema ${version}, of an earlier release; this one has ${MIGRATIONS.length}. ` +
      'Start the service of this release on it once, or use the release that it is from.',
    'other',
  );
}

async function versionOf(db: Db): Promise<number> {
  const row = await db.selectFrom('schema_version').select('version').executeTakeFirst();
  const version = row?.version ?? 0;
  if (version <= MIGRATIONS.length) return version;
  throw new StoreError(
    `The database has schema ${version}, which a newer release made; this one knows up to ${MIGRATIONS.length}. ` +
      'Start the newer release, or restore a backup from before the upgrade.',
    'other',
  );
}

async function createTables(db: Db, types: ColumnTypes): Promise<void> {
  await createResources(db, types);
  await createFiles(db, types);
  await createBatches(db, types);
  await createWork(db, types);
}

const required = (column: ColumnDefinitionBuilder) => column.notNull();
const zero = (column: ColumnDefinitionBuilder) => column.notNull().defaultTo(0);
const oneOf = (column: string, values: readonly string[]): Expression<unknown> =>
  sql`${sql.ref(column)} in (${sql.join(values.map((value) => sql.lit(value)))})`;

async function createResources(db: Db, { text }: ColumnTypes): Promise<void> {
  await db.schema
    .createTable('resources')
    .addColumn('id', text, (c) => c.notNull().primaryKey())
    .addColumn('location', text, required)
    .execute();
  await db.schema
    .createTable('resource_keys')
    .addColumn('digest', text, (c) => c.notNull().primaryKey())
    .addColumn('resource_id', text, (c) => c.notNull().references('resources.id').onDelete('cascade'))
    .addColumn('position', 'integer', required)
    .execute();
  await db.schema
    .createIndex('resource_keys_of')
    .on('resource_keys')
    .columns(['resource_id', 'position'])
    .execute();
}

async function createFiles(db: Db, { text, identity }: ColumnTypes): Promise<void> {
  await db.schema
    .createTable('files')
    .addColumn('seq', 'integer', identity)
    .addColumn('id', text, (c) => c.notNull().unique())
    .addColumn('resource_id', text, required)
    .addColumn('filename', text, required)
    .addColumn('purpose', text, required)
    .addColumn('bytes', 'bigint', required)
    .addColumn('sha256', text, required)
    .addColumn('created_at', 'bigint', required)
    .addColumn('expires_at', 'bigint')
    .execute();
  await db.schema
    .createIndex('files_list')
    .on('files')
    .columns(['resource_id', 'created_at', 'seq'])
    .execute();
  await db.schema
    .createIndex('files_inputs')
    .on('files')
    .columns(['resource_id'])
    .where(sql<boolean>`purpose <> 'batch_output'`)
    .execute();
  await db.schema.createIndex('files_expiry').on('files').columns(['expires_at']).execute();
  await db.schema
    .createTable('inspections')
    .addColumn('file_id', text, (c) => c.notNull().primaryKey().references('files.id').onDelete('cascade'))
    .addColumn('resource_id', text, required)
    .addColumn('facts', text, required)
    .execute();
}

async function createBatches(db: Db, { text, identity }: ColumnTypes): Promise<void> {
  let table = db.schema
    .createTable('batches')
    .addColumn('seq', 'integer', identity)
    .addColumn('id', text, (c) => c.notNull().unique());
  for (const name of [
    'resource_id',
    'status',
    'endpoint',
    'input_file_id',
    'output_file_id',
    'error_file_id',
  ])
    table = table.addColumn(name, text, required);
  table = table
    .addColumn('deployment', text)
    .addColumn('enqueued_tokens', 'bigint', required)
    .addColumn('created_at', 'bigint', required)
    .addColumn('expires_at', 'bigint', required);
  for (const status of BATCH_STATUSES)
    if (status !== 'validating') table = table.addColumn(`${status}_at`, 'bigint');
  for (const name of ['total', 'completed', 'failed']) table = table.addColumn(name, 'integer', zero);
  for (const name of ['input_tokens', 'cached_tokens', 'output_tokens', 'reasoning_tokens'])
    table = table.addColumn(name, 'bigint', zero);
  await table
    .addColumn('retries', 'bigint', zero)
    .addColumn('resent', 'bigint', zero)
    .addColumn('errors', text)
    .addColumn('metadata', text)
    .addColumn('output_expires_after_s', 'bigint')
    .addColumn('purged', 'integer', required)
    .addCheckConstraint('batches_status', oneOf('status', BATCH_STATUSES))
    .addCheckConstraint('batches_counts', sql`completed + failed <= total`)
    .execute();
  await db.schema
    .createIndex('batches_list')
    .on('batches')
    .columns(['resource_id', 'created_at', 'seq'])
    .execute();
  for (const file of ['output_file_id', 'error_file_id'])
    await db.schema.createIndex(`batches_${file}`).on('batches').columns([file, 'resource_id']).execute();
  // These indexes stay small: they have live batches, and those whose work is still to be purged.
  const open = sql<boolean>`purged = 0`;
  await db.schema.createIndex('batches_with_work').on('batches').columns(['seq']).where(open).execute();
  await db.schema
    .createIndex('batches_tokens')
    .on('batches')
    .columns(['resource_id', 'deployment'])
    .where(open)
    .execute();
  await db.schema
    .createTable('idempotency_keys')
    .addColumn('resource_id', text, required)
    .addColumn('key', text, required)
    .addColumn('body_digest', text, required)
    .addColumn('batch_id', text, required)
    .addColumn('created_at', 'bigint', required)
    .addPrimaryKeyConstraint('idempotency_keys_pk', ['resource_id', 'key'])
    .execute();
  await db.schema
    .createIndex('idempotency_keys_age')
    .on('idempotency_keys')
    .columns(['resource_id', 'created_at'])
    .execute();
}

/** The tables have no foreign keys, because a check per result would cost more than the insert. */
async function createWork(db: Db, { text, bytes }: ColumnTypes): Promise<void> {
  await db.schema
    .createTable('segments')
    .addColumn('batch_seq', 'integer', required)
    .addColumn('index', 'integer', required)
    .addColumn('first_line', 'integer', required)
    .addColumn('last_line', 'integer', required)
    .addColumn('requests', 'integer', required)
    .addColumn('byte_start', 'bigint', required)
    .addColumn('byte_length', 'integer', required)
    .addColumn('done', 'integer', zero)
    .addColumn('failed', 'integer', zero)
    .addColumn('epoch', 'integer', zero)
    .addColumn('owner', text)
    .addColumn('crashes', 'integer', zero)
    .addColumn('suspect_line', 'integer')
    .addColumn('suspect_crashes', 'integer', zero)
    .addColumn('suspect_epoch', 'integer')
    .addPrimaryKeyConstraint('segments_pk', ['batch_seq', 'index'])
    .addCheckConstraint('segments_done', sql`failed <= done and done <= requests`)
    .execute();
  await db.schema
    .createTable('results')
    .addColumn('batch_seq', 'integer', required)
    .addColumn('line', 'integer', required)
    .addColumn('ok', 'integer', required)
    .addColumn('payload', bytes, required)
    .addPrimaryKeyConstraint('results_pk', ['batch_seq', 'line'])
    .addCheckConstraint('results_ok', sql`ok in (0, 1)`)
    .execute();
}

/** What was there becomes the default resource of an enterprise. Its keys keep their order. */
async function addControlPlane(db: Db, types: ColumnTypes): Promise<void> {
  await extendResources(db, types);
  await createDeployments(db, types);
  await createAudit(db, types);
  const { text } = types;
  await db.schema.alterTable('batches').addColumn('when_full', text).execute();
  await db.schema.alterTable('batches').addColumn('waiting_tokens', 'bigint').execute();
  // Earlier inspections lack facts that are needed now. They are made again on demand.
  await db.deleteFrom('inspections').execute();
  await db.schema
    .createTable('settings')
    .addColumn('name', text, (c) => c.notNull().primaryKey())
    .addColumn('value', text, required)
    .execute();
}

async function extendResources(db: Db, { text }: ColumnTypes): Promise<void> {
  const before = {
    subscription_id: '00000000-0000-0000-0000-000000000000',
    resource_group: 'offpeak',
    offer: 'enterprise',
    owner: 'api',
    tags: '{}',
  };
  for (const [name, value] of Object.entries(before))
    await db.schema
      .alterTable('resources')
      .addColumn(name, text, (c) => c.notNull().defaultTo(value))
      .execute();
  await db.schema.alterTable('resources').addColumn('key_auth_disabled', 'integer', zero).execute();
  await db.schema.alterTable('resources').addColumn('created_at', 'bigint', zero).execute();
  // The time was not recorded. The first batch is the oldest trace.
  await sql`update resources set created_at = coalesce(
    (select min(created_at) from batches where resource_id = resources.id), 0)`.execute(db);

  await db.schema
    .alterTable('resource_keys')
    .addColumn('slot', 'integer', (c) => c.notNull().defaultTo(1))
    .execute();
  await db.schema
    .alterTable('resource_keys')
    .addColumn('hint', text, (c) => c.notNull().defaultTo(''))
    .execute();
  await sql`update resource_keys set slot = position + 1`.execute(db);
  await db.schema.dropIndex('resource_keys_of').execute();
  await db.schema.alterTable('resource_keys').dropColumn('position').execute();
  await db.schema
    .createIndex('resource_keys_of')
    .on('resource_keys')
    .columns(['resource_id', 'slot'])
    .unique()
    .execute();
}

async function createDeployments(db: Db, { text }: ColumnTypes): Promise<void> {
  await db.schema
    .createTable('deployments')
    .addColumn('resource_id', text, (c) => c.notNull().references('resources.id').onDelete('cascade'))
    .addColumn('name', text, required)
    .addColumn('model', text, required)
    .addColumn('version', text)
    .addColumn('sku', text, required)
    .addColumn('enqueued_tokens_max', 'bigint', required)
    .addColumn('dynamic_quota', 'integer', required)
    .addColumn('when_full', text, required)
    .addColumn('version_upgrade_option', text, required)
    .addColumn('content_filter', text)
    .addColumn('concurrency_max', 'integer', required)
    .addColumn('upstreams', text)
    .addColumn('owner', text, required)
    .addColumn('tags', text, required)
    .addColumn('created_at', 'bigint', required)
    .addColumn('updated_at', 'bigint', required)
    .addPrimaryKeyConstraint('deployments_pk', ['resource_id', 'name'])
    .execute();
  await db.schema.createIndex('deployments_quota').on('deployments').columns(['model', 'sku']).execute();
}

async function createAudit(db: Db, { text, identity }: ColumnTypes): Promise<void> {
  await db.schema
    .createTable('audit')
    .addColumn('seq', 'integer', identity)
    .addColumn('at_s', 'bigint', required)
    .addColumn('resource_id', text)
    .addColumn('actor', text, required)
    .addColumn('action', text, required)
    .addColumn('target', text, required)
    .addColumn('detail', text, required)
    .execute();
  await db.schema.createIndex('audit_of').on('audit').columns(['resource_id', 'seq']).execute();
}

async function addBlobIds(db: Db, { text }: ColumnTypes): Promise<void> {
  await db.schema.alterTable('files').addColumn('blob_id', text).execute();
}

/** Earlier batches count as created on an Azure surface, as most were. Only faults that are not found yet would differ. */
async function addDialect(db: Db, { text }: ColumnTypes): Promise<void> {
  await db.schema
    .alterTable('batches')
    .addColumn('dialect', text, (c) => c.notNull().defaultTo('azure'))
    .execute();
  // The rules have changed, so inspections are made again on demand.
  await db.deleteFrom('inspections').execute();
}

/** The table has no foreign keys, because the files of these blobs have no rows any more. */
async function addRemovals(db: Db, { text }: ColumnTypes): Promise<void> {
  await db.schema
    .createTable('removals')
    .addColumn('blob_id', text, (c) => c.notNull().primaryKey())
    .addColumn('bytes', 'bigint', required)
    .addColumn('sha256', text, required)
    .execute();
}

/** Keys expire by time alone, whatever the resource. A create finds its own key by the primary key. */
async function indexKeysByAge(db: Db): Promise<void> {
  await db.schema.dropIndex('idempotency_keys_age').execute();
  await db.schema
    .createIndex('idempotency_keys_age')
    .on('idempotency_keys')
    .columns(['created_at'])
    .execute();
}

async function addUploads(db: Db, { text }: ColumnTypes): Promise<void> {
  await db.schema
    .createTable('uploads')
    .addColumn('id', text, (c) => c.notNull().primaryKey())
    .addColumn('resource_id', text, required)
    .addColumn('filename', text, required)
    .addColumn('purpose', text, required)
    .addColumn('bytes', 'bigint', required)
    .addColumn('status', text, required)
    .addColumn('created_at', 'bigint', required)
    .addColumn('expires_at', 'bigint', required)
    .addColumn('file_expires_after_s', 'bigint')
    .addColumn('file_id', text)
    .addColumn('completed_by', text)
    .addColumn('parts', 'integer', zero)
    .addColumn('part_bytes', 'bigint', zero)
    .addCheckConstraint('uploads_status', oneOf('status', UPLOAD_STATUSES))
    .execute();
  await db.schema
    .createIndex('uploads_pending')
    .on('uploads')
    .columns(['resource_id'])
    .where(sql<boolean>`status = 'pending'`)
    .execute();
  await db.schema.createIndex('uploads_expiry').on('uploads').columns(['expires_at']).execute();
  await db.schema
    .createTable('upload_parts')
    .addColumn('id', text, (c) => c.notNull().primaryKey())
    .addColumn('blob_id', text, (c) => c.notNull().unique())
    .addColumn('upload_id', text, (c) => c.notNull().references('uploads.id').onDelete('cascade'))
    .addColumn('resource_id', text, required)
    .addColumn('bytes', 'bigint', required)
    .addColumn('sha256', text, required)
    .addColumn('created_at', 'bigint', required)
    .execute();
  await db.schema.createIndex('upload_parts_of').on('upload_parts').columns(['upload_id']).execute();
}

/**
 * A batch names the bytes of its input itself. What earlier releases uploaded is stored under the file's own id; a file row
 * or a removal that says otherwise is believed. Only a live batch still reads the bytes of a deleted file.
 */
async function addInputBlobs(db: Db, { text }: ColumnTypes): Promise<void> {
  await db.schema.alterTable('batches').addColumn('input_blob_id', text).execute();
  await sql`update batches set input_blob_id = (select blob_id from files where files.id = batches.input_file_id)
    where input_file_id in (select id from files where blob_id is not null)`.execute(db);
  // The names that begin with the file's id and an underscore.
  await sql`update batches set input_blob_id = (select min(blob_id) from removals
      where blob_id > batches.input_file_id || '_' and blob_id < batches.input_file_id || '\`')
    where purged = 0 and input_file_id not in (select id from files)`.execute(db);
}
