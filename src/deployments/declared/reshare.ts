import { TOKENS_PER_CAPACITY, type DeploymentRow, type Resource } from '../../contract/control.ts';
import { type Clock, nowS } from '../../core/clock.ts';
import type { StateStore } from '../../stores/state/ports.ts';
import type { Catalog } from '../catalog/catalog.ts';
import { deploymentsAt } from './deployments-at.ts';
import { findDeclared, type Declared } from './declared.ts';
import { shareOut } from './shares.ts';

export interface ReshareDeps {
  readonly store: StateStore;
  /** The one of the present configuration. */
  readonly catalog: () => Catalog;
  /** What the present configuration declares. It is read-only over the API. */
  readonly declared: () => Declared;
  /** For deployments of models without a quota that name no limit. */
  readonly enqueuedTokensDefault: number;
  readonly clock: Clock;
}

/**
 * Configured deployments that name no limit have what the others of their quota leave: they give way to `wanted`, which is
 * about to be made over the API, and take back what was given up (`wanted` null). False: nothing was changed, as there are
 * none, or even so there is no room.
 */
export async function reshare(
  quota: { readonly resource: Resource } & Pick<DeploymentRow, 'model' | 'sku'>,
  wanted: DeploymentRow | null,
  { store, catalog, declared, enqueuedTokensDefault, clock }: ReshareDeps,
): Promise<boolean> {
  const { subscriptionId, location } = quota.resource;
  const resources = await store.resources.list({ subscriptionId });
  const rows = (await deploymentsAt(location, resources, store))
    .filter(({ model, sku }) => model === quota.model && sku === quota.sku)
    .filter((row) => row.resourceId !== wanted?.resourceId || row.name !== wanted.name);
  const giving = rows.filter((row) => givesWay(row, declared()));
  const kept = rows.filter((row) => !giving.includes(row));
  const { deployments, faults } = shareOut(
    giving.map((row) => ({ path: row.name, row, isFixed: false })),
    { kept: wanted ? [...kept, wanted] : kept, resources, catalog: catalog(), enqueuedTokensDefault },
  );
  if (faults.length > 0) return false;
  const atS = nowS(clock);
  for (const { row, quotaTokensMax } of deployments) {
    const scope = { resourceId: row.resourceId, actor: ACTOR };
    await store.deployments.put(scope, { ...row, updatedAt: atS }, { quotaTokensMax, atS });
  }
  return deployments.length > 0;
}

const ACTOR = 'configuration';

/** What a share keeps when it gives way. */
const SHARE_MIN = TOKENS_PER_CAPACITY;

/** How much of a deployment's tokens others may have if they ask for it. */
export const yieldedBy = (row: DeploymentRow, declared: Declared): number =>
  givesWay(row, declared) ? Math.max(0, row.enqueuedTokensMax - SHARE_MIN) : 0;

/** How much of a quota's tokens others than `wanted` give up for it. */
export async function yieldedFor(
  wanted: DeploymentRow,
  { subscriptionId, location }: Pick<Resource, 'subscriptionId' | 'location'>,
  { store, declared }: ReshareDeps,
): Promise<number> {
  const resources = await store.resources.list({ subscriptionId });
  const rows = await deploymentsAt(location, resources, store);
  return rows
    .filter(({ model, sku }) => model === wanted.model && sku === wanted.sku)
    .filter(({ resourceId, name }) => resourceId !== wanted.resourceId || name !== wanted.name)
    .reduce((sum, row) => sum + yieldedBy(row, declared()), 0);
}

const givesWay = ({ resourceId, name, owner }: DeploymentRow, declared: Declared): boolean =>
  owner === 'configuration' &&
  findDeclared(declared, resourceId)?.deployments.find((one) => one.name === name)?.enqueuedTokensMax ===
    null;
