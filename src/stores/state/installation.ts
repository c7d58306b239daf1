import { writeAudit } from './audit.ts';
import type { Database } from './database.ts';
import type { InstallationStore } from './ports.ts';
import { ADMIN_KEY, readSetting, writeSetting } from './settings.ts';

export function createInstallationStore(database: Database): InstallationStore {
  return {
    get: (fact) => database.read((db) => readSetting(db, fact)),

    set: (fact, value) => database.transact((trx) => writeSetting(trx, fact, value)),

    hasKeys: () =>
      database.read(async (db) => {
        const key = await db.selectFrom('resource_keys').select('digest').limit(1).executeTakeFirst();
        return key !== undefined || (await readSetting(db, ADMIN_KEY)) !== undefined;
      }),

    dropKeys: (change) =>
      database.transact(async (trx) => {
        await trx.deleteFrom('settings').where('name', '=', ADMIN_KEY).execute();
        const keys = await trx.deleteFrom('resource_keys').returning(['resource_id', 'slot']).execute();
        for (const { resource_id: resourceId, slot } of keys)
          await writeAudit(trx, { ...change, resourceId, action: 'key.delete', target: `key${slot}` });
      }),
  };
}
