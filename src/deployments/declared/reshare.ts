import { findDeclaredDeployment, type Declared } from '../../config/declared.ts';
import { TOKENS_PER_CAPACITY, type DeploymentRow, type Resource } from '../../contract/control.ts';
import { type Clock, nowS } from '../../core/clock.ts';
import type { StateStore } from '../../stores/state/ports.ts';
import type { Catalog } from '../catalog/catalog.ts';
import { quotaKey, quotaTokensOf, shareOut, type PlacedDeployment } from './shares.ts';

/**
 * Configured deployments that name no limit share what the others of their quota leave. When a deployment is changed over
 * the API, they give way to what it asks for, and take back what it gives up.
 */

export interface ReshareDeps {
  readonly store: StateStore;
  /** The catalog of the present configuration. */
  readonly catalog: () => Catalog;
  /** The present configuration. */
  readonly declared: () => Declared;
  readonly clock: Clock;
}

/** Resolves to false, and changes nothing, when no deployment has a share, or when the shares are too small. */
export const giveWayTo = async (wanted: PlacedDeployment, deps: ReshareDeps): Promise<boolean> =>
  reshare([...(await othersOf(wanted, deps.store)), wanted], deps);

/** Shares grow after `changed` has given up tokens of this quota. */
export const growShares = async (changed: PlacedDeployment, deps: ReshareDeps): Promise<boolean> =>
  reshare(await membersOf(changed, deps.store), deps);

async function reshare(
  members: readonly PlacedDeployment[],
  { store, catalog, declared, clock }: ReshareDeps,
): Promise<boolean> {
  const { enqueuedTokensDefault } = declared();
  const sharing = members.filter(({ row }) => givesWay(row, declared()));
  const { deployments, faults } = shareOut(
    sharing.map((one) => ({ ...one, source: one.row.name, takesShare: true })),
    { kept: members.filter((one) => !sharing.includes(one)), catalog: catalog(), enqueuedTokensDefault },
  );
  if (faults.length > 0) return false;
  const atS = nowS(clock);
  for (const one of deployments) {
    const scope = { resourceId: one.row.resourceId, actor: 'configuration' };
    const quotaTokensMax = quotaTokensOf(one, catalog());
    await store.deployments.put(scope, { ...one.row, updatedAt: atS }, { quotaTokensMax, atS });
  }
  return deployments.length > 0;
}

/** Tokens that the shares of its quota give up for `wanted`. */
export async function yieldedFor(
  wanted: PlacedDeployment,
  { store, declared }: ReshareDeps,
): Promise<number> {
  const others = await othersOf(wanted, store);
  return others.reduce((sum, { row }) => sum + yieldedBy(row, declared()), 0);
}

/** Tokens that a deployment gives up for others. A share keeps one unit of capacity. */
export const yieldedBy = (row: DeploymentRow, declared: Declared): number =>
  givesWay(row, declared) ? Math.max(0, row.enqueuedTokensMax - TOKENS_PER_CAPACITY) : 0;

const givesWay = (row: DeploymentRow, declared: Declared): boolean =>
  row.owner === 'configuration' && findDeclaredDeployment(declared, row)?.enqueuedTokensMax === null;

const othersOf = async (one: PlacedDeployment, store: StateStore): Promise<PlacedDeployment[]> =>
  (await membersOf(one, store)).filter(
    ({ row }) => row.resourceId !== one.row.resourceId || row.name !== one.row.name,
  );

const membersOf = async (one: PlacedDeployment, store: StateStore): Promise<PlacedDeployment[]> =>
  (await deploymentsAt(one.resource, store)).filter((other) => quotaKey(other) === quotaKey(one));

/** All deployments of one subscription and region. Those of one model and SKU share a quota. */
export async function deploymentsAt(
  { subscriptionId, location }: Pick<Resource, 'subscriptionId' | 'location'>,
  { resources, deployments }: Pick<StateStore, 'resources' | 'deployments'>,
): Promise<PlacedDeployment[]> {
  const there = (await resources.list({ subscriptionId })).filter((one) => one.location === location);
  const placed = there.map(async (resource) => {
    const rows = await deployments.list({ resourceId: resource.id, actor: 'control plane' });
    return rows.map((row) => ({ resource, row }));
  });
  return (await Promise.all(placed)).flat();
}
