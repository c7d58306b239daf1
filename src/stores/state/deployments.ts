import type { DeploymentRow, QuotaGroup } from '../../contract/control.ts';
import type { Scope } from '../../contract/scope.ts';
import { changesOf, writeAudit } from './audit.ts';
import { withLive } from './batch-rows.ts';
import type { Database, Db, Trx } from './database.ts';
import { lockQuota, withResource } from './lock-order.ts';
import type { DeploymentPut, DeploymentStore } from './ports.ts';
import { allocatedTokens, groupUsages, quotaGroupOf } from './quota.ts';
import type { DeploymentRecord } from './schema.ts';

export function createDeploymentStore(database: Database): DeploymentStore {
  return {
    get: (scope, name) => database.read((db) => find(db, scope, name)),

    list: (scope) =>
      database.read(async (db) => {
        const rows = await own(db, scope).selectAll().orderBy('name').execute();
        return rows.map(toDeployment);
      }),

    put: (scope, deployment, options) =>
      withResource(database, scope.resourceId, async (trx) => {
        const group = await quotaGroupOf(trx, scope, deployment);
        if (!group) return { kind: 'no_resource' };
        await lockQuota(trx, database, group);
        return put(trx, scope, {
          deployment: { ...deployment, resourceId: scope.resourceId },
          group,
          ...options,
        });
      }),

    delete: (scope, name, atS) =>
      withResource(database, scope.resourceId, (trx) => remove(trx, scope, { name, atS })),

    usages: (filter) => database.read((db) => groupUsages(db, filter)),
  };
}

const own = (db: Db, scope: Scope) =>
  db.selectFrom('deployments').where('resource_id', '=', scope.resourceId);

async function find(db: Db, scope: Scope, name: string): Promise<DeploymentRow | undefined> {
  const row = await own(db, scope).selectAll().where('name', '=', name).executeTakeFirst();
  return row && toDeployment(row);
}

/** All fields but its key and its times. */
const FIELDS = [
  'model',
  'version',
  'sku',
  'enqueuedTokensMax',
  'dynamicQuota',
  'whenFull',
  'versionUpgradeOption',
  'contentFilter',
  'concurrencyMax',
  'upstreams',
  'owner',
  'tags',
] as const satisfies readonly (keyof DeploymentRow)[];

async function put(
  trx: Trx,
  scope: Scope,
  {
    deployment,
    group,
    quotaTokensMax,
    atS,
  }: { deployment: DeploymentRow; group: QuotaGroup; quotaTokensMax: number | null; atS: number },
): Promise<DeploymentPut> {
  const before = await find(trx, scope, deployment.name);
  const changes = before && changesOf(before, deployment, FIELDS);
  if (before && !changes) return { kind: 'unchanged', deployment: before };

  const isSameGroup = before?.model === deployment.model && before.sku === deployment.sku;
  // The quota may have shrunk below what is given out. A change that gives tokens back must stay possible.
  const takesMore = !isSameGroup || deployment.enqueuedTokensMax > before.enqueuedTokensMax;
  if (quotaTokensMax !== null && takesMore) {
    const usedTokens = await allocatedTokens(trx, group, { except: deployment });
    if (usedTokens + deployment.enqueuedTokensMax > quotaTokensMax)
      return { kind: 'insufficient_quota', usedTokens };
  }

  const after = { ...deployment, createdAt: before?.createdAt ?? deployment.createdAt };
  const { resource_id, name, created_at, ...fields } = toRecord(after);
  await trx
    .insertInto('deployments')
    .values({ resource_id, name, created_at, ...fields })
    .onConflict((conflict) => conflict.columns(['resource_id', 'name']).doUpdateSet(fields))
    .execute();
  await writeAudit(trx, {
    ...scope,
    atS,
    action: before ? 'deployment.update' : 'deployment.create',
    target: name,
    detail: changes ?? Object.fromEntries(FIELDS.map((field) => [field, deployment[field]])),
  });
  return { kind: before ? 'updated' : 'created', deployment: after };
}

async function remove(
  trx: Trx,
  scope: Scope,
  { name, atS }: { name: string; atS: number },
): Promise<'deleted' | 'not_found' | 'in_use'> {
  const { resourceId } = scope;
  const deployment = await find(trx, scope, name);
  if (!deployment) return 'not_found';
  const live = await withLive(trx)
    .select('seq')
    .where('resource_id', '=', resourceId)
    .where('deployment', '=', name)
    .executeTakeFirst();
  if (live) return 'in_use';
  await trx
    .deleteFrom('deployments')
    .where('resource_id', '=', resourceId)
    .where('name', '=', name)
    .execute();
  const { model, version, sku, enqueuedTokensMax } = deployment;
  const detail = { model, version, sku, enqueuedTokensMax };
  await writeAudit(trx, { ...scope, atS, action: 'deployment.delete', target: name, detail });
  return 'deleted';
}

const toRecord = (deployment: DeploymentRow): DeploymentRecord => ({
  resource_id: deployment.resourceId,
  name: deployment.name,
  model: deployment.model,
  version: deployment.version,
  sku: deployment.sku,
  enqueued_tokens_max: deployment.enqueuedTokensMax,
  dynamic_quota: deployment.dynamicQuota ? 1 : 0,
  when_full: deployment.whenFull,
  version_upgrade_option: deployment.versionUpgradeOption,
  content_filter: deployment.contentFilter,
  concurrency_max: deployment.concurrencyMax,
  upstreams: deployment.upstreams && JSON.stringify(deployment.upstreams),
  owner: deployment.owner,
  tags: JSON.stringify(deployment.tags),
  created_at: deployment.createdAt,
  updated_at: deployment.updatedAt,
});

const toDeployment = (row: DeploymentRecord): DeploymentRow => ({
  resourceId: row.resource_id,
  name: row.name,
  model: row.model,
  version: row.version,
  sku: row.sku,
  enqueuedTokensMax: row.enqueued_tokens_max,
  dynamicQuota: row.dynamic_quota === 1,
  whenFull: row.when_full,
  versionUpgradeOption: row.version_upgrade_option,
  contentFilter: row.content_filter,
  concurrencyMax: row.concurrency_max,
  upstreams: row.upstreams === null ? null : (JSON.parse(row.upstreams) as string[]),
  owner: row.owner,
  tags: JSON.parse(row.tags) as Record<string, string>,
  createdAt: row.created_at,
  updatedAt: row.updated_at,
});
