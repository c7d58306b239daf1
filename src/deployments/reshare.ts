import { TOKENS_PER_CAPACITY, type DeploymentRow, type Resource } from '../contract/control.ts';
import { nowS } from '../core/clock.ts';
import type { ControlPlaneDeps } from './control-plane.ts';
import { findDeclared, type Declared } from './declared.ts';
import { shareOut, type Sharer } from './shares.ts';

/**
 * Configured deployments that name no limit have what the others of their quota leave: they give way to one that is made
 * over the API, and take back what it gives up. False: nothing was changed, as even so there is no room.
 */
export async function reshare(
  changed: { readonly resource: Resource; readonly row: DeploymentRow; readonly goes: boolean },
  deps: ControlPlaneDeps,
): Promise<boolean> {
  const { store, catalog, enqueuedTokensDefault, clock } = deps;
  const { row } = changed;
  const resources = await store.resources.list({ subscriptionId: changed.resource.subscriptionId });
  const rows = await Promise.all(
    resources.map(({ id }) => store.deployments.list({ resourceId: id, actor: ACTOR })),
  );
  const others = rows.flat().filter((one) => one.resourceId !== row.resourceId || one.name !== row.name);
  const declared = deps.declared();
  const kept = others.filter((one) => !givesWay(one, declared));
  const sharers = others
    .filter((one) => givesWay(one, declared) && isOfSameQuota(one, row, resources))
    .map((one): Sharer => ({ path: one.name, row: one, isFixed: false }));
  const facts = { kept: changed.goes ? kept : [...kept, row], resources, catalog: catalog() };
  const { deployments, faults } = shareOut(sharers, { ...facts, enqueuedTokensDefault });
  if (faults.length > 0) return false;
  const atS = nowS(clock);
  for (const { row: shared, quotaTokensMax } of deployments) {
    const scope = { resourceId: shared.resourceId, actor: ACTOR };
    await store.deployments.put(scope, { ...shared, updatedAt: atS }, { quotaTokensMax, atS });
  }
  return deployments.length > 0;
}

const ACTOR = 'configuration';

function isOfSameQuota(one: DeploymentRow, other: DeploymentRow, resources: readonly Resource[]): boolean {
  const [place, otherPlace] = [one, other].map(
    ({ resourceId }) => resources.find(({ id }) => id === resourceId)?.location,
  );
  return one.model === other.model && one.sku === other.sku && place === otherPlace;
}

/** What a share keeps when it gives way. */
const SHARE_MIN = TOKENS_PER_CAPACITY;

/** How much of a deployment's tokens others may have if they ask for it. */
export const yieldedBy = (row: DeploymentRow, declared: Declared): number =>
  givesWay(row, declared) ? Math.max(0, row.enqueuedTokensMax - SHARE_MIN) : 0;

const givesWay = ({ resourceId, name, owner }: DeploymentRow, declared: Declared): boolean =>
  owner === 'configuration' &&
  findDeclared(declared, resourceId)?.deployments.find((one) => one.name === name)?.enqueuedTokensMax ===
    null;
