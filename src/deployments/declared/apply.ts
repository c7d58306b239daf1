import { findDeclared, type Declared } from '../../config/declared.ts';
import type { Fault } from '../../config/fault.ts';
import type { DeploymentRow } from '../../contract/control.ts';
import type { Scope } from '../../contract/scope.ts';
import { type Clock, nowS } from '../../core/clock.ts';
import type { Change, StateStore } from '../../stores/state/ports.ts';
import type { Catalog } from '../catalog/catalog.ts';
import type { Exclusive } from '../exclusive.ts';
import type { FleetUpstream } from '../fleet/serving.ts';
import { hintOf, KEY_SLOTS } from '../keys.ts';
import { keptDeployment, planConfiguration, type Actual, type Plan } from './plan.ts';
import { quotaTokensOf, type PlannedDeployment } from './shares.ts';

export interface ApplyDeps {
  readonly store: StateStore;
  /** Catalog and upstreams are of the configuration that is applied. They need not be in force yet. */
  readonly catalog: Catalog;
  readonly upstreams: readonly FleetUpstream[];
  readonly digest: (key: string) => string;
  readonly clock: Clock;
  /** Invariant: the control plane uses the same one. Otherwise a reload and the API could run at the same time. */
  readonly exclusive: Exclusive;
}

/** When there are faults, nothing was changed. */
export interface Applied {
  readonly faults: readonly Fault[];
  /** Facts that people should know. The rest was applied. */
  readonly warnings: readonly string[];
}

const ACTOR = 'configuration';

/**
 * Brings the store to what the configuration declares. It changes nothing when there are faults, and nothing the second
 * time. It never touches what was made over the API.
 */
export const applyConfiguration = (declared: Declared, deps: ApplyDeps): Promise<Applied> =>
  deps.exclusive(async () => {
    const actual = await readActual(declared, deps);
    const plan = planConfiguration(declared, actual, { ...deps, atS: nowS(deps.clock) });
    return plan.faults.length > 0 ? { faults: plan.faults, warnings: [] } : carryOut(plan, declared, deps);
  });

/** Reads what the plan depends on. */
async function readActual(declared: Declared, { store, digest }: ApplyDeps): Promise<Actual> {
  const resources = await store.resources.list({});
  const inner = await Promise.all(
    resources.map(async (resource) => {
      const scope = { resourceId: resource.id, actor: ACTOR };
      const [rows, tokens] = await Promise.all([
        store.deployments.list(scope),
        store.batches.enqueuedTokens(scope),
      ]);
      return rows.map((row) => ({ row, isLive: tokens.has(row.name) }));
    }),
  );
  const keyOwners = new Map<string, string>();
  for (const key of declared.resources.flatMap(({ keys }) => keys)) {
    const found = await store.resources.findByKeyDigest(digest(key));
    if (found) keyOwners.set(key, found.resource.id);
  }
  return {
    resources: await Promise.all(
      resources.map(async (resource) => ({
        resource,
        isEmpty: findDeclared(declared, resource.id) !== undefined || (await isEmpty(resource.id, store)),
      })),
    ),
    deployments: inner.flat(),
    keyOwners,
  };
}

/** A resource goes with all its data, and a line that is missing from a file is no reason to lose data. */
async function isEmpty(resourceId: string, { files, batches }: StateStore): Promise<boolean> {
  const scope = { resourceId, actor: ACTOR };
  const someFiles = await files.list(scope, { limit: 1, order: 'asc' });
  const someBatches = await batches.list(scope, {
    limit: 1,
    orderBy: { field: 'created_at', direction: 'asc' },
  });
  return (
    someFiles !== 'unknown_after' &&
    someFiles.files.length === 0 &&
    someBatches !== 'unknown_after' &&
    someBatches.batches.length === 0
  );
}

async function carryOut(plan: Plan, declared: Declared, deps: ApplyDeps): Promise<Applied> {
  const { store, digest, clock } = deps;
  const change: Change = { actor: ACTOR, atS: nowS(clock) };
  const warnings = [...plan.warnings];
  for (const { resourceId, name } of plan.removedDeployments) {
    const outcome = await store.deployments.delete({ resourceId, actor: ACTOR }, name, change.atS);
    if (outcome === 'in_use') warnings.push(keptDeployment({ resourceId, name }));
  }
  for (const resource of plan.resources) await store.resources.put(resource, change);
  for (const { id, keys, sharesKeys } of declared.resources) {
    for (const slot of KEY_SLOTS) {
      const key = keys[slot - 1];
      if (key !== undefined)
        await store.resources.putKey(id, { slot, digest: digest(key), hint: hintOf(key) }, change);
      else if (!sharesKeys) await store.resources.deleteKey(id, slot, change);
    }
  }
  const faults = await putAll(plan.deployments, change, deps);
  for (const resourceId of plan.removedResources) {
    if ((await store.resources.delete(resourceId, change)) === 'in_use')
      warnings.push(`The resource '${resourceId}' is no longer declared, but has live batches: it stays.`);
  }
  return { faults, warnings };
}

/**
 * Works in rounds. The store checks each deployment against what the others of its quota have at that moment, so one that
 * grows may have to wait for one that shrinks. The plan has made sure that all fit in the end.
 */
async function putAll(
  deployments: readonly PlannedDeployment[],
  { atS }: Change,
  { store, catalog }: ApplyDeps,
): Promise<readonly Fault[]> {
  let left = deployments;
  let mayGiveUp = true;
  while (left.length > 0) {
    const refused: PlannedDeployment[] = [];
    for (const planned of left) {
      const { row } = planned;
      const quotaTokensMax = quotaTokensOf(planned, catalog);
      const put = await store.deployments.put(scopeOf(row), row, { quotaTokensMax, atS });
      if (put.kind === 'insufficient_quota') refused.push(planned);
    }
    if (refused.length === left.length) {
      if (!mayGiveUp) return refused.map(toFault);
      mayGiveUp = false;
      for (const { row } of refused) await giveUp(row, atS, store);
    }
    left = refused;
  }
  return [];
}

const scopeOf = ({ resourceId }: DeploymentRow): Scope => ({ resourceId, actor: ACTOR });

/** Two deployments that trade places in full quotas wait for each other. Each gives up its tokens until both have moved. */
async function giveUp(row: DeploymentRow, atS: number, { deployments }: StateStore): Promise<void> {
  const before = await deployments.get(scopeOf(row), row.name);
  if (before)
    await deployments.put(scopeOf(row), { ...before, enqueuedTokensMax: 0 }, { quotaTokensMax: null, atS });
}

/** Another process has changed deployments meanwhile. */
const toFault = ({ source, row }: PlannedDeployment): Fault => ({
  source,
  message: `The deployment '${row.name}' found its quota taken while the configuration was applied. Apply it again, or lower its enqueuedTokens first.`,
});
