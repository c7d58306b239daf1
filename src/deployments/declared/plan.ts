import type { DeploymentRow, Resource } from '../../contract/control.ts';
import { DEFAULT_RESOURCE_ID } from '../../contract/scope.ts';
import type { Catalog } from '../catalog/catalog.ts';
import {
  findDeclared,
  type Declared,
  type DeclaredDeployment,
  type DeclaredFault,
  type DeclaredResource,
} from './declared.ts';
import type { FleetUpstream } from '../fleet/serving.ts';
import { faultOfPlacement, faultOfResource, faultOfSettings } from '../rules.ts';
import { faultsOfStanding, shareOut, type PlannedDeployment, type Sharer } from './shares.ts';

/** What the store has before a configuration is applied. */
export interface Standing {
  readonly resources: readonly {
    readonly resource: Resource;
    /** False: it has files or batches. */
    readonly isEmpty: boolean;
  }[];
  readonly deployments: readonly { readonly row: DeploymentRow; readonly isLive: boolean }[];
  /** The resources that declared keys open already. */
  readonly keyOwners: ReadonlyMap<string, string>;
  /** The slots that have a key, by resource. */
  readonly keySlots: ReadonlyMap<string, readonly (1 | 2)[]>;
}

/** What to do, or what keeps it from being done. */
export interface Plan {
  readonly faults: readonly DeclaredFault[];
  readonly warnings: readonly string[];
  readonly resources: readonly Resource[];
  readonly keys: readonly { readonly resourceId: string; readonly slot: 1 | 2; readonly key: string }[];
  /** Keys that are there and no longer declared, of resources whose keys are. */
  readonly revokedKeys: readonly { readonly resourceId: string; readonly slot: 1 | 2 }[];
  /** Those that shrink first. */
  readonly deployments: readonly PlannedDeployment[];
  readonly removedDeployments: readonly DeploymentRow[];
  readonly removedResources: readonly string[];
}

export interface PlanFacts {
  readonly catalog: Catalog;
  readonly upstreams: readonly FleetUpstream[];
  readonly enqueuedTokensDefault: number;
  readonly atS: number;
}

/** Pure: the same declaration over the same store gives the same plan, and over what it made, one that changes nothing. */
export function planConfiguration(declared: Declared, standing: Standing, facts: PlanFacts): Plan {
  const resources = declared.resources.map((one) => toResource(one, standing, facts));
  const removals = planRemovals(declared, standing);
  const wanted = declared.resources.flatMap((resource) =>
    resource.deployments.map((deployment) => ({
      path: deployment.path,
      declared: deployment,
      row: toRow(deployment, resource, standing, facts),
    })),
  );
  const kept = standing.deployments
    .map(({ row }) => row)
    .filter((row) => !removals.deployments.includes(row) && !wanted.some((one) => isSame(one.row, row)));
  const placed = [
    ...resources,
    ...standing.resources
      .map(({ resource }) => resource)
      .filter(({ id }) => !resources.some((one) => one.id === id)),
  ];
  const sharers: Sharer[] = wanted.map(({ path, row, declared: { enqueuedTokensMax } }) => ({
    path,
    row,
    isFixed: enqueuedTokensMax !== null,
  }));
  const shares = shareOut(sharers, { kept, resources: placed, ...facts });
  const faults = [
    ...faultsOfResources(declared, standing, resources),
    ...declared.resources.flatMap((one) => faultsOfDeployments(one, standing, facts)),
    ...shares.faults,
    ...faultsOfStanding(declared, { kept, resources: placed, ...facts }),
  ];
  return {
    faults,
    warnings: removals.warnings,
    resources,
    keys: declared.resources.flatMap(({ id, keys }) =>
      (keys ?? []).map((key, index) => ({ resourceId: id, slot: index === 0 ? 1 : 2, key }) as const),
    ),
    revokedKeys: declared.resources.flatMap(({ id, keys, sharesKeys }) =>
      (standing.keySlots.get(id) ?? [])
        .filter((slot) => keys !== null && !sharesKeys && slot > keys.length)
        .map((slot) => ({ resourceId: id, slot })),
    ),
    deployments: shrinkingFirst(shares.deployments, standing),
    removedDeployments: removals.deployments,
    removedResources: removals.resources,
  };
}

const isSame = (one: DeploymentRow, other: DeploymentRow): boolean =>
  one.resourceId === other.resourceId && one.name === other.name;

const findStanding = (standing: Standing, resourceId: string): Resource | undefined =>
  standing.resources.find(({ resource }) => resource.id === resourceId)?.resource;

function toResource(declared: DeclaredResource, standing: Standing, { atS }: PlanFacts): Resource {
  const { id, location, subscriptionId, resourceGroup, offer, keyAuthDisabled, tags } = declared;
  return {
    id,
    location,
    subscriptionId,
    resourceGroup,
    offer,
    keyAuthDisabled,
    owner: 'configuration',
    tags,
    createdAt: findStanding(standing, id)?.createdAt ?? atS,
  };
}

/** Its tokens are what is declared, or none yet. */
function toRow(
  declared: DeclaredDeployment,
  { id: resourceId }: DeclaredResource,
  standing: Standing,
  { catalog, atS }: PlanFacts,
): DeploymentRow {
  const { path: _, version, enqueuedTokensMax, ...settings } = declared;
  const before = standing.deployments.find(
    ({ row }) => row.resourceId === resourceId && row.name === declared.name,
  );
  return {
    ...settings,
    resourceId,
    version: version ?? catalog.defaultVersion(declared.model)?.version ?? null,
    enqueuedTokensMax: enqueuedTokensMax ?? 0,
    owner: 'configuration',
    createdAt: before?.row.createdAt ?? atS,
    updatedAt: atS,
  };
}

function faultsOfResources(
  declared: Declared,
  { resources: standing, keyOwners }: Standing,
  resources: readonly Resource[],
): DeclaredFault[] {
  return declared.resources.flatMap(({ path, id, keys }, index) => {
    const messages: string[] = [];
    const resource = resources[index];
    const fault = resource && faultOfResource(resource);
    if (fault) messages.push(fault.message);
    if (declared.resources.findIndex((one) => one.id === id) < index)
      messages.push(`The resource '${id}' is declared twice. Keep one of them.`);
    // The one that was always there, also before there were configurations of it.
    const isApis = standing.some((one) => one.resource.id === id && one.resource.owner === 'api');
    if (isApis && id !== DEFAULT_RESOURCE_ID) {
      messages.push(
        `A resource '${id}' was made over the API already. Take another name here, or delete that one first.`,
      );
    }
    messages.push(...messagesOfKeys({ id, keys }, declared, keyOwners));
    return messages.map((message) => ({ path, message }));
  });
}

function messagesOfKeys(
  { id, keys }: Pick<DeclaredResource, 'id' | 'keys'>,
  { resources }: Declared,
  keyOwners: ReadonlyMap<string, string>,
): string[] {
  if (keys === null) return [];
  const messages: string[] = [];
  if (keys.length > 2)
    messages.push(`The resource '${id}' has ${keys.length} keys. A resource has two at most.`);
  if (keys.includes(''))
    messages.push(`A key of the resource '${id}' is empty. Give it one, or leave it out.`);
  if (new Set(keys).size < keys.length)
    messages.push(`The two keys of the resource '${id}' are the same. Give two, or one of them.`);
  for (const key of new Set(keys)) {
    const other = resources.find((one) => one.id !== id && one.keys?.includes(key))?.id ?? keyOwners.get(key);
    if (other === undefined || other === id) continue;
    messages.push(`A key of the resource '${id}' opens the resource '${other}' too. Give it one of its own.`);
  }
  return messages;
}

function faultsOfDeployments(
  resource: DeclaredResource,
  standing: Standing,
  facts: PlanFacts,
): DeclaredFault[] {
  return resource.deployments.flatMap((declared, index) => {
    const row = toRow(declared, resource, standing, facts);
    // A share that is not known yet is not at fault.
    const fault =
      faultOfSettings({ ...row, enqueuedTokensMax: declared.enqueuedTokensMax ?? 1 }) ??
      faultOfPlacement(row, { resource, catalog: facts.catalog, upstreams: facts.upstreams });
    const messages = fault ? [fault.message] : [];
    if (resource.deployments.findIndex(({ name }) => name === declared.name) < index) {
      messages.push(
        `The deployment '${declared.name}' of the resource '${resource.id}' is declared twice. Keep one of them.`,
      );
    }
    if (standing.deployments.some((one) => isSame(one.row, row) && one.row.owner === 'api')) {
      messages.push(
        `A deployment '${declared.name}' of the resource '${resource.id}' was made over the API already. Take another name here, or delete that one first.`,
      );
    }
    return messages.map((message) => ({ path: declared.path, message }));
  });
}

function planRemovals(
  declared: Declared,
  standing: Standing,
): { deployments: DeploymentRow[]; resources: string[]; warnings: string[] } {
  const warnings: string[] = [];
  const left = standing.deployments.filter(({ row }) => {
    const resource = findDeclared(declared, row.resourceId);
    return row.owner === 'configuration' && !resource?.deployments.some(({ name }) => name === row.name);
  });
  const resources = standing.resources.filter(
    ({ resource }) => resource.owner === 'configuration' && !findDeclared(declared, resource.id),
  );
  const removed = resources.filter(({ resource: { id }, isEmpty }) => {
    const others = standing.deployments.filter(({ row }) => row.resourceId === id && row.owner === 'api');
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

function shrinkingFirst(deployments: readonly PlannedDeployment[], standing: Standing): PlannedDeployment[] {
  const grows = ({ row }: PlannedDeployment): number => {
    const before = standing.deployments.find((one) => isSame(one.row, row))?.row;
    const had = before?.model === row.model && before.sku === row.sku ? before.enqueuedTokensMax : 0;
    return row.enqueuedTokensMax - had;
  };
  return deployments.toSorted((a, b) => grows(a) - grows(b));
}
