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
  /** Of the same configuration as what is declared; neither needs to be in force yet. */
  readonly catalog: Catalog;
  readonly upstreams: readonly FleetUpstream[];
  readonly digest: (key: string) => string;
  readonly clock: Clock;
  /** The one that the control plane has. */
  readonly exclusive: Exclusive;
}

/** `faults` is not empty: nothing was changed. */
export interface Applied {
  readonly faults: readonly Fault[];
  /** What people should know, and which does not keep the rest from being applied. */
  readonly warnings: readonly string[];
}

const ACTOR = 'configuration';

/**
 * Brings the store to what the configuration declares. Changes nothing when there are faults, and nothing the second time.
 * What was made over the API is never touched.
 */
export const applyConfiguration = (declared: Declared, deps: ApplyDeps): Promise<Applied> =>
  deps.exclusive(async () => {
    const actual = await readActual(declared, deps);
    const plan = planConfiguration(declared, actual, { ...deps, atS: nowS(deps.clock) });
    return plan.faults.length > 0 ? { faults: plan.faults, warnings: [] } : carryOut(plan, declared, deps);
  });

/** What is there, as far as the plan depends on it. */
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

/** A resource goes with all that it has: a line that is missing from a file is no reason to lose data. */
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
 * In rounds: each share is checked against what the others of its quota have just then, and what is to grow may have to
 * wait for what is to shrink. The plan has seen to it that all fit in the end.
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

/** Two that trade places in full quotas wait for each other: each gives up what it has until both have moved. */
async function giveUp(row: DeploymentRow, atS: number, { deployments }: StateStore): Promise<void> {
  const before = await deployments.get(scopeOf(row), row.name);
  if (before)
    await deployments.put(scopeOf(row), { ...before, enqueuedTokensMax: 0 }, { quotaTokensMax: null, atS });
}

/** Another process changed deployments of its own meanwhile. */
const toFault = ({ source, row }: PlannedDeployment): Fault => ({
  source,
  message: `The deployment '${row.name}' found its quota taken while the configuration was applied. Apply it again, or lower its enqueuedTokens first.`,
});
