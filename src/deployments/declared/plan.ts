import {
  findDeclared,
  findDeclaredDeployment,
  type Declared,
  type DeclaredDeployment,
  type DeclaredResource,
} from '../../config/declared.ts';
import type { Fault } from '../../config/fault.ts';
import type { DeploymentRow, Resource } from '../../contract/control.ts';
import { DEFAULT_RESOURCE_ID } from '../../contract/scope.ts';
import type { Catalog } from '../catalog/catalog.ts';
import type { FleetUpstream } from '../fleet/serving.ts';
import { faultOfPlacement, faultOfResource, faultOfSettings } from '../rules.ts';
import {
  quotaKey,
  quotaTokensOf,
  shareOut,
  sumOf,
  type PlacedDeployment,
  type PlannedDeployment,
} from './shares.ts';

/** What the store has before a configuration is applied. */
export interface Actual {
  readonly resources: readonly {
    readonly resource: Resource;
    /** Whether it has neither files nor batches. */
    readonly isEmpty: boolean;
  }[];
  readonly deployments: readonly { readonly row: DeploymentRow; readonly isLive: boolean }[];
  /** The resources that declared keys open already. */
  readonly keyOwners: ReadonlyMap<string, string>;
}

/** What is to be done, or the faults that keep it from being done. */
export interface Plan {
  readonly faults: readonly Fault[];
  readonly warnings: readonly string[];
  readonly resources: readonly Resource[];
  readonly deployments: readonly PlannedDeployment[];
  readonly removedDeployments: readonly DeploymentRow[];
  readonly removedResources: readonly string[];
}

interface PlanFacts {
  readonly catalog: Catalog;
  readonly upstreams: readonly FleetUpstream[];
  readonly atS: number;
}

/**
 * A pure function: the same declaration over the same store gives the same plan. Over a store to which it was applied, the
 * plan changes nothing.
 */
export function planConfiguration(declared: Declared, actual: Actual, facts: PlanFacts): Plan {
  const removals = planRemovals(declared, actual);
  const resources = declared.resources.map((one) => {
    const before = actual.resources.find(({ resource }) => resource.id === one.id)?.resource;
    return toResource(one, before?.createdAt ?? facts.atS);
  });
  const placed = [...resources, ...actual.resources.map(({ resource }) => resource)];
  const kept = actual.deployments.flatMap(({ row }): PlacedDeployment[] => {
    const stays = !removals.deployments.includes(row) && !findDeclaredDeployment(declared, row);
    const resource = placed.find(({ id }) => id === row.resourceId);
    return stays && resource ? [{ resource, row }] : [];
  });
  const planned = declared.resources.flatMap(({ id, deployments }) => {
    const resource = resources.find((one) => one.id === id);
    return resource ? deployments.map((one) => toPlanned(one, resource, actual, facts)) : [];
  });
  const shares = shareOut(planned, { ...facts, ...declared, kept });
  return {
    faults: [
      ...declared.resources.flatMap((one) => faultsOfResource(one, actual)),
      ...planned.flatMap((one) => faultsOfDeployment(one, actual, facts)),
      ...shares.faults,
      ...declared.resources.flatMap((one) => faultsOfKept(one, kept, facts)),
    ],
    warnings: removals.warnings,
    resources,
    deployments: shares.deployments,
    removedDeployments: removals.deployments,
    removedResources: removals.resources,
  };
}

export function toResource(declared: DeclaredResource, createdAt: number): Resource {
  const { id, location, subscriptionId, resourceGroup, offer, keyAuthDisabled, tags } = declared;
  const owner = 'configuration';
  return { id, location, subscriptionId, resourceGroup, offer, keyAuthDisabled, owner, tags, createdAt };
}

/** A deployment that takes a share has no tokens yet. */
function toPlanned(
  { source, enqueuedTokensMax, ...settings }: DeclaredDeployment,
  resource: Resource,
  actual: Actual,
  { catalog, atS }: PlanFacts,
): PlannedDeployment {
  const { name, model, version } = settings;
  const before = findActual(actual, { resourceId: resource.id, name });
  const row: DeploymentRow = {
    ...settings,
    resourceId: resource.id,
    version: version ?? catalog.defaultVersion(model)?.version ?? null,
    enqueuedTokensMax: enqueuedTokensMax ?? 0,
    owner: 'configuration',
    createdAt: before?.createdAt ?? atS,
    updatedAt: atS,
  };
  return { resource, row, source, takesShare: enqueuedTokensMax === null };
}

const findActual = (
  { deployments }: Actual,
  { resourceId, name }: Pick<DeploymentRow, 'resourceId' | 'name'>,
): DeploymentRow | undefined =>
  deployments.find(({ row }) => row.resourceId === resourceId && row.name === name)?.row;

function faultsOfResource(declared: DeclaredResource, { resources, keyOwners }: Actual): Fault[] {
  const { id, keys, source } = declared;
  const fault = faultOfResource(declared);
  const messages = fault ? [fault.message] : [];
  // The default resource is always there, also before a configuration declared it.
  const isApis = resources.some(({ resource }) => resource.id === id && resource.owner === 'api');
  if (isApis && id !== DEFAULT_RESOURCE_ID) {
    messages.push(
      `A resource '${id}' was made over the API already. Take another name here, or delete that one first.`,
    );
  }
  for (const key of keys) {
    const other = keyOwners.get(key);
    if (other === undefined || other === id) continue;
    messages.push(`A key of the resource '${id}' opens the resource '${other}' too. Give it one of its own.`);
  }
  return messages.map((message) => ({ source, message }));
}

function faultsOfDeployment(
  { resource, row, source, takesShare }: PlannedDeployment,
  actual: Actual,
  facts: PlanFacts,
): Fault[] {
  // A share that is not known yet is not at fault.
  const fault =
    faultOfSettings(takesShare ? { ...row, enqueuedTokensMax: 1 } : row) ??
    faultOfPlacement(row, { resource, ...facts });
  const messages = fault ? [fault.message] : [];
  if (findActual(actual, row)?.owner === 'api') {
    messages.push(
      `A deployment '${row.name}' of the resource '${resource.id}' was made over the API already. Take another name here, or delete that one first.`,
    );
  }
  return messages.map((message) => ({ source, message }));
}

/** Deployments made over the API must still fit when their resource gets another offer or place. */
function faultsOfKept(
  { id, offer, location, source }: DeclaredResource,
  kept: readonly PlacedDeployment[],
  { catalog }: PlanFacts,
): Fault[] {
  const own = new Map(kept.filter(({ resource }) => resource.id === id).map((one) => [quotaKey(one), one]));
  return [...own].flatMap(([key, one]) => {
    const limit = quotaTokensOf(one, catalog);
    const used = sumOf(kept.filter((other) => quotaKey(other) === key));
    if (limit === null || used <= limit) return [];
    const { sku, model } = one.row;
    const message = `The offer '${offer}' has a quota of ${limit} enqueued tokens for ${sku} of ${model} in '${location}', and deployments made over the API have ${used} of it already. Lower these first.`;
    return [{ source, message }];
  });
}

function planRemovals(
  declared: Declared,
  actual: Actual,
): { deployments: DeploymentRow[]; resources: string[]; warnings: string[] } {
  const warnings: string[] = [];
  const left = actual.deployments.filter(
    ({ row }) => row.owner === 'configuration' && !findDeclaredDeployment(declared, row),
  );
  const removed = actual.resources.filter(({ resource: { id, owner }, isEmpty }) => {
    if (owner !== 'configuration' || findDeclared(declared, id)) return false;
    const others = actual.deployments.filter(({ row }) => row.resourceId === id && row.owner === 'api');
    if (isEmpty && others.length === 0) return true;
    const what = isEmpty ? `${others.length} deployment(s) made over the API` : 'files or batches';
    warnings.push(
      `The resource '${id}' is no longer declared, but has ${what}: it stays, and can be deleted over the API.`,
    );
    return false;
  });
  for (const { row, isLive } of left) if (isLive) warnings.push(keptDeployment(row));
  return {
    deployments: left.filter(({ isLive }) => !isLive).map(({ row }) => row),
    resources: removed.map(({ resource }) => resource.id),
    warnings,
  };
}

export const keptDeployment = ({ resourceId, name }: Pick<DeploymentRow, 'resourceId' | 'name'>): string =>
  `The deployment '${name}' of the resource '${resourceId}' is no longer declared, but has live batches: it stays until they are over, and goes when the configuration is applied after that.`;
