import { writeAudit } from './audit.ts';
import type { Database } from './database.ts';
import type { InstallationStore } from './ports.ts';
import { ADMIN_KEY } from './resources.ts';

export function createInstallationStore(database: Database): InstallationStore {
  return {
    get: (fact) =>
      database.read(async (db) => {
        const row = await db
          .selectFrom('settings')
          .select('value')
          .where('name', '=', fact)
          .executeTakeFirst();
        return row?.value;
      }),

    set: (name, value) =>
      database.transact(async (trx) => {
        await trx
          .insertInto('settings')
          .values({ name, value })
          .onConflict((conflict) => conflict.column('name').doUpdateSet({ value }))
          .execute();
      }),

    hasKeys: () =>
      database.read(async (db) => {
        const key = await db.selectFrom('resource_keys').select('digest').limit(1).executeTakeFirst();
        const admin = await db
          .selectFrom('settings')
          .select('name')
          .where('name', '=', ADMIN_KEY)
          .executeTakeFirst();
        return key !== undefined || admin !== undefined;
      }),

    dropKeys: ({ actor, atS }) =>
      database.transact(async (trx) => {
        await trx.deleteFrom('settings').where('name', '=', ADMIN_KEY).execute();
        const keys = await trx.deleteFrom('resource_keys').returning(['resource_id', 'slot']).execute();
        for (const { resource_id: resourceId, slot } of keys)
          await writeAudit(trx, {
            atS,
            resourceId,
            actor,
            action: 'key.delete',
            target: `key${slot}`,
            detail: {},
          });
      }),
  };
}
