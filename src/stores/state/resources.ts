import { sql } from 'kysely';

import type { Resource, ResourceKey } from '../../contract/control.ts';
import { changesOf, writeAudit } from './audit.ts';
import { withLive } from './batch-rows.ts';
import type { Database, Db, Trx } from './database.ts';
import { deleteFiles } from './files.ts';
import { withResource } from './lock-order.ts';
import type { Change, ResourceStore } from './ports.ts';
import type { ResourceRecord } from './schema.ts';
import { ADMIN_KEY, readSetting, writeSetting } from './settings.ts';
import { deleteUploads } from './uploads.ts';

export function createResourceStore(database: Database): ResourceStore {
  return {
    get: (resourceId) => database.read((db) => find(db, resourceId)),

    list: ({ subscriptionId, resourceGroup }) =>
      database.read(async (db) => {
        let all = db.selectFrom('resources').selectAll();
        if (subscriptionId !== undefined) all = all.where('subscription_id', '=', subscriptionId);
        if (resourceGroup !== undefined) all = all.where('resource_group', '=', resourceGroup);
        return (await all.orderBy('id').execute()).map(toResource);
      }),

    put: (resource, change) => withResource(database, resource.id, (trx) => put(trx, resource, change)),

    delete: (resourceId, change) => remove(database, resourceId, change),

    ...keyStore(database),

    adminKeyDigest: () => database.read((db) => readSetting(db, ADMIN_KEY)),

    setAdminKeyDigest: (digest, change) =>
      database.transact(async (trx) => {
        const before = await readSetting(trx, ADMIN_KEY);
        if (before === digest) return;
        await writeSetting(trx, ADMIN_KEY, digest);
        const action = before === undefined ? 'key.create' : 'key.regenerate';
        await writeAudit(trx, { ...change, resourceId: null, action, target: 'admin-key' });
      }),
  };
}

type KeyStore = Pick<ResourceStore, 'keys' | 'putKey' | 'deleteKey' | 'findByKeyDigest'>;

const keyStore = (database: Database): KeyStore => ({
  keys: (resourceId) =>
    database.read((db) =>
      db
        .selectFrom('resource_keys')
        .select(['slot', 'digest', 'hint'])
        .where('resource_id', '=', resourceId)
        .orderBy('slot')
        .execute(),
    ),

  putKey: (resourceId, key, change) =>
    withResource(database, resourceId, (trx) => putKey(trx, { resourceId, key, change })),

  deleteKey: (resourceId, slot, change) =>
    withResource(database, resourceId, (trx) => deleteKey(trx, { resourceId, slot, change })),

  findByKeyDigest: (digest) =>
    database.read(async (db) => {
      const row = await db
        .selectFrom('resource_keys')
        .innerJoin('resources', 'resources.id', 'resource_keys.resource_id')
        .selectAll('resources')
        .select(['slot', 'digest', 'hint'])
        .where('digest', '=', digest)
        .executeTakeFirst();
      if (!row) return undefined;
      return { resource: toResource(row), key: { slot: row.slot, digest: row.digest, hint: row.hint } };
    }),
});

async function find(db: Db, resourceId: string): Promise<Resource | undefined> {
  const row = await db.selectFrom('resources').selectAll().where('id', '=', resourceId).executeTakeFirst();
  return row && toResource(row);
}

const FIELDS = [
  'location',
  'subscriptionId',
  'resourceGroup',
  'offer',
  'keyAuthDisabled',
  'owner',
  'tags',
] as const satisfies readonly (keyof Resource)[];

async function put(
  trx: Trx,
  resource: Resource,
  change: Change,
): Promise<'created' | 'updated' | 'unchanged'> {
  const before = await find(trx, resource.id);
  const changes = before && changesOf(before, resource, FIELDS);
  if (before && !changes) return 'unchanged';
  const { id, created_at, ...fields } = toRecord(resource);
  await trx
    .insertInto('resources')
    .values({ id, created_at, ...fields })
    .onConflict((conflict) => conflict.column('id').doUpdateSet(fields))
    .execute();
  await writeAudit(trx, {
    ...change,
    resourceId: id,
    action: before ? 'resource.update' : 'resource.create',
    target: id,
    detail: changes ?? Object.fromEntries(FIELDS.map((field) => [field, resource[field]])),
  });
  return before ? 'updated' : 'created';
}

/** No resource has this name. Batches of a deleted resource have it until they are purged, so that nobody reaches them. */
export const NO_RESOURCE = '';

/** A step takes a few milliseconds. */
const ROWS_PER_STEP = 500;

/**
 * Deletes a resource in steps, between which other calls have their turn; a small one takes one step. The first step takes
 * its keys and deployments, so that nobody can use it. After a crash between steps it is there, and can be deleted again.
 */
async function remove(
  database: Database,
  resourceId: string,
  change: Change,
): Promise<'deleted' | 'not_found' | 'in_use'> {
  for (let isFirst = true; ; isFirst = false) {
    const outcome = await withResource(database, resourceId, (trx) => removeSome(trx, resourceId, change));
    if (outcome === 'not_found') return isFirst ? 'not_found' : 'deleted';
    if (outcome !== 'more') return outcome;
    await database.breathe();
  }
}

async function removeSome(
  trx: Trx,
  resourceId: string,
  change: Change,
): Promise<'deleted' | 'not_found' | 'in_use' | 'more'> {
  if (!(await find(trx, resourceId))) return 'not_found';
  const live = await withLive(trx).select('seq').where('resource_id', '=', resourceId).executeTakeFirst();
  if (live) return 'in_use';
  await trx
    .updateTable('batches')
    .set({ resource_id: NO_RESOURCE })
    .where('resource_id', '=', resourceId)
    .where('purged', '=', sql.lit(0))
    .execute();
  const purged = trx.selectFrom('batches').select('seq').where('resource_id', '=', resourceId);
  const batches = await trx
    .deleteFrom('batches')
    .where('seq', 'in', purged.limit(ROWS_PER_STEP))
    .executeTakeFirst();
  await trx.deleteFrom('resource_keys').where('resource_id', '=', resourceId).execute();
  await trx.deleteFrom('deployments').where('resource_id', '=', resourceId).execute();
  const files = trx.selectFrom('files').select('seq').where('resource_id', '=', resourceId);
  const removed = await deleteFiles(trx, files.limit(ROWS_PER_STEP));
  if (removed.length === ROWS_PER_STEP || Number(batches.numDeletedRows) === ROWS_PER_STEP) return 'more';

  await deleteUploads(trx, resourceId);
  await trx.deleteFrom('idempotency_keys').where('resource_id', '=', resourceId).execute();
  await trx.deleteFrom('resources').where('id', '=', resourceId).execute();
  await writeAudit(trx, { ...change, resourceId, action: 'resource.delete', target: resourceId });
  return 'deleted';
}

async function putKey(
  trx: Trx,
  { resourceId, key, change }: { resourceId: string; key: ResourceKey; change: Change },
): Promise<void> {
  const { slot, digest, hint } = key;
  const own = trx.selectFrom('resource_keys').where('resource_id', '=', resourceId);
  const before = await own.select(['digest', 'hint']).where('slot', '=', slot).executeTakeFirst();
  if (before?.digest === digest && before.hint === hint) return;
  // A key that was in the other slot moves to this one.
  await trx
    .deleteFrom('resource_keys')
    .where('resource_id', '=', resourceId)
    .where((eb) => eb.or([eb('slot', '=', slot), eb('digest', '=', digest)]))
    .execute();
  await trx.insertInto('resource_keys').values({ resource_id: resourceId, slot, digest, hint }).execute();
  // Only the hint is new: keys from earlier releases have none.
  if (before?.digest === digest) return;
  const action = before ? 'key.regenerate' : 'key.create';
  await writeAudit(trx, { ...change, resourceId, action, target: `key${slot}`, detail: { hint } });
}

async function deleteKey(
  trx: Trx,
  { resourceId, slot, change }: { resourceId: string; slot: 1 | 2; change: Change },
): Promise<boolean> {
  const deleted = await trx
    .deleteFrom('resource_keys')
    .where('resource_id', '=', resourceId)
    .where('slot', '=', slot)
    .returning('hint')
    .executeTakeFirst();
  if (!deleted) return false;
  await writeAudit(trx, {
    ...change,
    resourceId,
    action: 'key.delete',
    target: `key${slot}`,
    detail: deleted,
  });
  return true;
}

const toRecord = (resource: Resource): ResourceRecord => ({
  id: resource.id,
  location: resource.location,
  subscription_id: resource.subscriptionId,
  resource_group: resource.resourceGroup,
  offer: resource.offer,
  key_auth_disabled: resource.keyAuthDisabled ? 1 : 0,
  owner: resource.owner,
  tags: JSON.stringify(resource.tags),
  created_at: resource.createdAt,
});

const toResource = (row: ResourceRecord): Resource => ({
  id: row.id,
  location: row.location,
  subscriptionId: row.subscription_id,
  resourceGroup: row.resource_group,
  offer: row.offer,
  keyAuthDisabled: row.key_auth_disabled === 1,
  owner: row.owner,
  tags: JSON.parse(row.tags) as Record<string, string>,
  createdAt: row.created_at,
});
