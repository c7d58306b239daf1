import { sql } from 'kysely';

import type { DeploymentRow, EnqueuedTokens, QuotaGroup } from '../../contract/control.ts';
import type { Scope } from '../../contract/scope.ts';
import { withLive } from './batch-rows.ts';
import type { Db } from './database.ts';
import type { QuotaUsage } from './ports.ts';

/** The quota group of a deployment of this model and SKU. Undefined: its resource does not exist. */
export async function quotaGroupOf(
  db: Db,
  { resourceId }: Pick<Scope, 'resourceId'>,
  { model, sku }: Pick<QuotaGroup, 'model' | 'sku'>,
): Promise<QuotaGroup | undefined> {
  const resource = await db
    .selectFrom('resources')
    .select(['subscription_id', 'location'])
    .where('id', '=', resourceId)
    .executeTakeFirst();
  return resource && { subscriptionId: resource.subscription_id, location: resource.location, model, sku };
}

/** The sum of the shares of all deployments of the group, except one. */
export async function allocatedTokens(
  db: Db,
  group: QuotaGroup,
  { except }: { except: Pick<DeploymentRow, 'resourceId' | 'name'> },
): Promise<number> {
  const { tokens } = await deploymentsOf(db, group)
    .select(sumOf('enqueued_tokens_max').as('tokens'))
    .where((eb) => eb.or([eb('resource_id', '<>', except.resourceId), eb('name', '<>', except.name)]))
    .executeTakeFirstOrThrow();
  return tokens;
}

const withResources = (db: Db) =>
  db.selectFrom('deployments').innerJoin('resources', 'resources.id', 'deployments.resource_id');

const deploymentsOf = (db: Db, { subscriptionId, location, model, sku }: QuotaGroup) =>
  withResources(db)
    .where('subscription_id', '=', subscriptionId)
    .where('location', '=', location)
    .where('model', '=', model)
    .where('sku', '=', sku);

const sumOf = (column: 'enqueued_tokens_max' | 'enqueued_tokens' | 'waiting_tokens') =>
  sql<number>`cast(coalesce(sum(${sql.ref(column)}), 0) as bigint)`;

/** The groups that have a deployment, in a stable order. */
export async function groupUsages(
  db: Db,
  { subscriptionId, location }: { subscriptionId: string; location?: string },
): Promise<QuotaUsage[]> {
  const key = ['location', 'model', 'sku'] as const;
  let deployments = withResources(db).where('subscription_id', '=', subscriptionId);
  if (location !== undefined) deployments = deployments.where('location', '=', location);
  const allocated = await deployments
    .select([...key, sumOf('enqueued_tokens_max').as('tokens')])
    .groupBy(key)
    .orderBy('location')
    .orderBy('model')
    .orderBy('sku')
    .execute();
  const held = await deployments
    .innerJoin(liveTokens(db), (join) =>
      join
        .onRef('live.resource_id', '=', 'deployments.resource_id')
        .onRef('live.deployment', '=', 'deployments.name'),
    )
    .select([...key, sumOf('enqueued_tokens').as('tokens')])
    .groupBy(key)
    .execute();
  return allocated.map(({ tokens: allocatedTokens, ...group }) => ({
    subscriptionId,
    ...group,
    allocatedTokens,
    heldTokens: held.find((row) => key.every((column) => row[column] === group[column]))?.tokens ?? 0,
  }));
}

/** The tokens that live batches of a deployment hold. A terminal batch holds none: its transition releases them. */
export async function heldTokens(
  db: Db,
  { resourceId, deployment }: { resourceId: string; deployment: string },
): Promise<number> {
  const { tokens } = await withLive(db)
    .select(sumOf('enqueued_tokens').as('tokens'))
    .where('resource_id', '=', resourceId)
    .where('deployment', '=', deployment)
    .executeTakeFirstOrThrow();
  return tokens;
}

/** The tokens that live batches of its quota group hold. A deployment without a row counts alone. */
export async function sharedHeldTokens(
  db: Db,
  of: { resourceId: string; deployment: string },
): Promise<number> {
  const group = await groupOf(db, of);
  if (!group) return heldTokens(db, of);
  const { tokens } = await deploymentsOf(db, group)
    .innerJoin(liveTokens(db), (join) =>
      join
        .onRef('live.resource_id', '=', 'deployments.resource_id')
        .onRef('live.deployment', '=', 'deployments.name'),
    )
    .select(sumOf('enqueued_tokens').as('tokens'))
    .executeTakeFirstOrThrow();
  return tokens;
}

/** The quota group of a deployment that has a row. */
export async function groupOf(
  db: Db,
  { resourceId, deployment }: { resourceId: string; deployment: string },
): Promise<QuotaGroup | undefined> {
  return withResources(db)
    .select(['subscription_id as subscriptionId', 'location', 'model', 'sku'])
    .where('resource_id', '=', resourceId)
    .where('name', '=', deployment)
    .executeTakeFirst();
}

const liveTokens = (db: Db) =>
  withLive(db).select(['resource_id', 'deployment', 'enqueued_tokens']).as('live');

/** The tokens of all deployments of the resource that have live batches. */
export async function enqueuedTokens(db: Db, resourceId: string): Promise<Map<string, EnqueuedTokens>> {
  const rows = await withLive(db)
    .select((eb) => [
      'deployment',
      sumOf('enqueued_tokens').as('held'),
      sumOf('waiting_tokens').as('waiting'),
      eb.fn.count<number>('waiting_tokens').as('waitingBatches'),
    ])
    .where('resource_id', '=', resourceId)
    .where('deployment', 'is not', null)
    .groupBy('deployment')
    .execute();
  return new Map(rows.map(({ deployment, ...tokens }) => [deployment ?? '', tokens]));
}
