import { isDeepStrictEqual } from 'node:util';

import type { AuditEntry } from '../../contract/control.ts';
import type { Database, Trx } from './database.ts';
import type { AuditStore } from './ports.ts';
import type { AuditRecord } from './schema.ts';

export function createAuditStore(database: Database): AuditStore {
  return {
    list: ({ resourceId, before, limit }) =>
      database.read(async (db) => {
        let page = db.selectFrom('audit').selectAll();
        if (resourceId !== null) page = page.where('resource_id', '=', resourceId);
        if (before !== undefined) page = page.where('seq', '<', before);
        const rows = await page.orderBy('seq', 'desc').limit(limit).execute();
        return rows.map(toEntry);
      }),
  };
}

type NewEntry = Omit<AuditEntry, 'seq' | 'detail'> & Partial<Pick<AuditEntry, 'detail'>>;

/** Invariant: callers call it in the transaction of the change. Otherwise a crash could leave a change without its entry. */
export async function writeAudit(
  trx: Trx,
  { atS, resourceId, actor, action, target, detail = {} }: NewEntry,
): Promise<void> {
  await trx
    .insertInto('audit')
    .values({ at_s: atS, resource_id: resourceId, actor, action, target, detail: JSON.stringify(detail) })
    .execute();
}

/** The fields that differ, each with its value before and after. Undefined: no field differs. */
export function changesOf<T extends object>(
  before: T,
  after: T,
  fields: readonly (keyof T & string)[],
): Readonly<Record<string, { from: unknown; to: unknown }>> | undefined {
  const changed = fields.filter((field) => !isDeepStrictEqual(before[field], after[field]));
  if (changed.length === 0) return undefined;
  return Object.fromEntries(
    changed.map((field) => [field, { from: before[field], to: after[field] }] as const),
  );
}

const toEntry = (row: AuditRecord): AuditEntry => ({
  seq: row.seq,
  atS: row.at_s,
  resourceId: row.resource_id,
  actor: row.actor,
  action: row.action,
  target: row.target,
  detail: JSON.parse(row.detail) as Record<string, unknown>,
});
