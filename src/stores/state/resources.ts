import type { Database, Db } from './database.ts';
import type { Resource, ResourceStore } from './ports.ts';

export function createResourceStore(database: Database): ResourceStore {
  return {
    get: (resourceId) => database.read((db) => find(db, resourceId)),

    put: (resource) =>
      database.transact(async (trx) => {
        const { id, location, keyDigests } = resource;
        await trx
          .insertInto('resources')
          .values({ id, location })
          .onConflict((conflict) => conflict.column('id').doUpdateSet({ location }))
          .execute();
        await trx.deleteFrom('resource_keys').where('resource_id', '=', id).execute();
        if (keyDigests.length === 0) return;
        await trx
          .insertInto('resource_keys')
          .values(keyDigests.map((digest, position) => ({ digest, resource_id: id, position })))
          .execute();
      }),

    findByKeyDigest: (digest) =>
      database.read(async (db) => {
        const key = await db
          .selectFrom('resource_keys')
          .select('resource_id')
          .where('digest', '=', digest)
          .executeTakeFirst();
        return key && find(db, key.resource_id);
      }),
  };
}

async function find(db: Db, resourceId: string): Promise<Resource | undefined> {
  const resource = await db
    .selectFrom('resources')
    .selectAll()
    .where('id', '=', resourceId)
    .executeTakeFirst();
  if (!resource) return undefined;
  const keys = await db
    .selectFrom('resource_keys')
    .select('digest')
    .where('resource_id', '=', resourceId)
    .orderBy('position')
    .execute();
  return { id: resource.id, location: resource.location, keyDigests: keys.map((key) => key.digest) };
}
