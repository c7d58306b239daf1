import { findDeclaredDeployment } from '../../config/declared.ts';
import {
  BATCH_SKUS,
  DEPLOYMENT_DEFAULTS,
  TOKENS_PER_CAPACITY,
  type DeploymentRow,
  type Resource,
} from '../../contract/control.ts';
import { ApiError } from '../../contract/error.ts';
import type { Scope } from '../../contract/scope.ts';
import { nowS } from '../../core/clock.ts';
import type { StateStore } from '../../stores/state/ports.ts';
import { giveWayTo, growShares, yieldedFor } from '../declared/reshare.ts';
import { quotaTokensOf } from '../declared/shares.ts';
import { servingQuery } from '../fleet/serving.ts';
import { faultOfPlacement, faultOfSettings, insufficientQuota } from '../rules.ts';
import type { ControlPlaneDeps } from './deps.ts';
import type { ControlPlane, DeploymentView, DeploymentWanted } from './port.ts';

type DeploymentCalls = Pick<
  ControlPlane,
  'listDeployments' | 'getDeployment' | 'putDeployment' | 'deleteDeployment'
>;

export function deploymentsOf(deps: ControlPlaneDeps): DeploymentCalls {
  const { store, exclusive } = deps;
  return {
    listDeployments: async (scope) => viewAll(scope, await store.deployments.list(scope), deps),
    getDeployment: async (scope, name) => {
      const row = await store.deployments.get(scope, name);
      return row && view(scope, row, deps);
    },
    putDeployment: (scope, wanted) => exclusive(() => putDeployment(scope, wanted, deps)),
    deleteDeployment: (scope, name) => exclusive(() => deleteDeployment(scope, name, deps)),
  };
}

const NO_TOKENS = { held: 0, waiting: 0, waitingBatches: 0 };

async function viewAll(
  scope: Scope,
  rows: readonly DeploymentRow[],
  { store, fleet }: ControlPlaneDeps,
): Promise<DeploymentView[]> {
  const [resource, tokens] = await Promise.all([
    store.resources.get(scope.resourceId),
    store.batches.enqueuedTokens(scope),
  ]);
  if (!resource) return [];
  return rows.map((row) => ({
    ...row,
    tokens: tokens.get(row.name) ?? NO_TOKENS,
    servedBy: fleet.eligible(servingQuery(resource, row)).map(({ upstream }) => upstream.name),
  }));
}

const view = async (
  scope: Scope,
  row: DeploymentRow,
  deps: ControlPlaneDeps,
): Promise<DeploymentView | undefined> => (await viewAll(scope, [row], deps))[0];

async function putDeployment(
  scope: Scope,
  wanted: DeploymentWanted,
  deps: ControlPlaneDeps,
): Promise<{ created: boolean; deployment: DeploymentView }> {
  const { store, fleet } = deps;
  const catalog = deps.catalog();
  const resource = await store.resources.get(scope.resourceId);
  if (!resource) throw noResource(scope.resourceId);
  const before = await store.deployments.get(scope, wanted.name);
  if (before) refuseDeclared(before, deps);
  const row = toRow(resource, { before, wanted }, deps);
  const fault =
    faultOfSettings(row) ??
    (before && isPlacedAs(before, row)
      ? undefined
      : faultOfPlacement(row, { resource, catalog, upstreams: fleet.upstreams }));
  if (fault) throw fault;
  if (before) await refuseChangeUnderWay(before, row, deps);

  const quotaTokensMax = quotaTokensOf({ resource, row }, catalog);
  const options = { quotaTokensMax, atS: row.updatedAt };
  let put = await store.deployments.put(scope, row, options);
  if (put.kind === 'insufficient_quota' && (await giveWayTo({ resource, row }, deps)))
    put = await store.deployments.put(scope, row, options);
  if (put.kind === 'no_resource') throw noResource(scope.resourceId);
  if (put.kind === 'insufficient_quota') {
    throw insufficientQuota(row, {
      wanted: row.enqueuedTokensMax,
      own: before && isOfSameQuota(before, row) ? before.enqueuedTokensMax : 0,
      others: put.usedTokens - (await yieldedFor({ resource, row }, deps)),
      limit: quotaTokensMax ?? 0,
    });
  }
  // The deployment may have given up tokens, in this quota or in the one that it has left.
  if (before) await growShares({ resource, row: before }, deps);
  const deployment = await view(scope, put.deployment, deps);
  if (!deployment) throw noResource(scope.resourceId);
  return { created: put.kind === 'created', deployment };
}

const noResource = (resourceId: string): ApiError =>
  new ApiError(
    'resourceNotFound',
    `The resource '${resourceId}' does not exist. Create it before its deployments.`,
  );

function refuseDeclared(row: DeploymentRow, { declared }: ControlPlaneDeps): void {
  const { resourceId, name, owner } = row;
  const found = findDeclaredDeployment(declared(), row);
  if (owner !== 'configuration' || !found) return;
  throw new ApiError(
    'ownedByConfiguration',
    `The deployment '${name}' of the resource '${resourceId}' is declared in the configuration (${found.source}) and is read-only here. Change it there and reload, or give a deployment of another name to this request.`,
  );
}

/** Azure's portal offers this capacity first. */
const CAPACITY_DEFAULT = 10;

/** Completes what is wanted: a field that is absent stays as it was, or gets the default. */
function toRow(
  { id: resourceId, offer }: Resource,
  { before, wanted }: { readonly before: DeploymentRow | undefined; readonly wanted: DeploymentWanted },
  { catalog, clock, declared }: ControlPlaneDeps,
): DeploymentRow {
  const model = wanted.model ?? before?.model;
  if (model === undefined) {
    throw new ApiError(
      'invalidResource',
      `The deployment '${wanted.name.slice(0, 100)}' names no model. Name one of the model catalog.`,
      { param: 'model.name' },
    );
  }
  const { name } = wanted;
  const present = before ?? DEPLOYMENT_DEFAULTS;
  const sku = wanted.sku ?? present.sku;
  const keepsVersion = before?.model === model;
  const version =
    wanted.version ?? (keepsVersion ? before.version : (catalog().defaultVersion(model)?.version ?? null));
  const hasQuota = catalog().quotaTokens({ offer, sku, model, version }) !== null;
  const now = nowS(clock);
  return {
    resourceId,
    name,
    model,
    version,
    sku,
    enqueuedTokensMax:
      wanted.enqueuedTokensMax ??
      before?.enqueuedTokensMax ??
      (hasQuota ? CAPACITY_DEFAULT * TOKENS_PER_CAPACITY : declared().enqueuedTokensDefault),
    dynamicQuota: wanted.dynamicQuota ?? present.dynamicQuota,
    whenFull: wanted.whenFull ?? present.whenFull,
    versionUpgradeOption: wanted.versionUpgradeOption ?? present.versionUpgradeOption,
    contentFilter: wanted.contentFilter === undefined ? present.contentFilter : wanted.contentFilter,
    concurrencyMax: wanted.concurrencyMax ?? before?.concurrencyMax ?? declared().concurrencyMax,
    upstreams: wanted.upstreams === undefined ? present.upstreams : wanted.upstreams,
    owner: 'api',
    tags: wanted.tags ?? present.tags,
    createdAt: before?.createdAt ?? now,
    updatedAt: now,
  };
}

const isOfSameQuota = (one: DeploymentRow, other: DeploymentRow): boolean =>
  one.model === other.model && one.sku === other.sku;

/** Whether the place was judged before. Then a catalog or fleet that has changed since must not stop other changes. */
const isPlacedAs = (one: DeploymentRow, other: DeploymentRow): boolean =>
  isOfSameQuota(one, other) &&
  one.version === other.version &&
  JSON.stringify(one.upstreams) === JSON.stringify(other.upstreams);

/** All lines of a batch are answered by one model. */
async function refuseChangeUnderWay(
  before: DeploymentRow,
  after: DeploymentRow,
  { store }: ControlPlaneDeps,
): Promise<void> {
  const staysForBatches = BATCH_SKUS.includes(after.sku) || !BATCH_SKUS.includes(before.sku);
  if (before.model === after.model && staysForBatches) return;
  const live = await liveBatches(before, store);
  if (live === 0) return;
  const what = before.model === after.model ? `SKU '${after.sku}'` : `model '${after.model}'`;
  throw new ApiError(
    'deploymentInUse',
    `The deployment '${before.name}' has ${live} live batch(es), which the ${what} would not finish as they began. Wait until they are over or cancel them, or make another deployment.`,
  );
}

const liveBatches = async ({ resourceId, name }: DeploymentRow, store: StateStore): Promise<number> =>
  (await store.batches.live()).filter((batch) => batch.resourceId === resourceId && batch.deployment === name)
    .length;

async function deleteDeployment(scope: Scope, name: string, deps: ControlPlaneDeps): Promise<boolean> {
  const { store, clock } = deps;
  const row = await store.deployments.get(scope, name);
  if (!row) return false;
  refuseDeclared(row, deps);
  const outcome = await store.deployments.delete(scope, name, nowS(clock));
  if (outcome !== 'in_use') {
    const resource = await store.resources.get(scope.resourceId);
    if (resource) await growShares({ resource, row }, deps);
    return outcome === 'deleted';
  }
  throw new ApiError(
    'deploymentInUse',
    `The deployment '${name}' has ${await liveBatches(row, store)} live batch(es). Wait until they are over or cancel them, then delete it again.`,
  );
}
