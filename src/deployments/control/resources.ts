import { findDeclared } from '../../config/declared.ts';
import type { Offer, Resource } from '../../contract/control.ts';
import { ApiError } from '../../contract/error.ts';
import { nowS } from '../../core/clock.ts';
import { tokenCount } from '../../core/token-unit.ts';
import type { ControlPlaneDeps } from './deps.ts';
import type { ControlPlane, ResourceWanted } from './port.ts';
import { growShares } from '../declared/reshare.ts';
import { faultOfResource } from '../rules.ts';

type ResourceCalls = Pick<ControlPlane, 'listResources' | 'getResource' | 'putResource' | 'deleteResource'>;

export function resourcesOf(deps: ControlPlaneDeps): ResourceCalls {
  const { store, exclusive } = deps;
  return {
    listResources: (filter) => store.resources.list(filter),
    getResource: (resourceId) => store.resources.get(resourceId),
    putResource: (actor, wanted) => exclusive(() => putResource(actor, wanted, deps)),
    deleteResource: (actor, resourceId) => exclusive(() => deleteResource(actor, resourceId, deps)),
  };
}

async function putResource(
  actor: string,
  wanted: ResourceWanted,
  deps: ControlPlaneDeps,
): Promise<{ created: boolean; resource: Resource }> {
  const { store, clock } = deps;
  const before = await store.resources.get(wanted.id);
  if (before) {
    refuseDeclared(before, deps);
    refuseMove(before, wanted);
  }
  const atS = nowS(clock);
  const resource: Resource = {
    id: wanted.id,
    location: before?.location ?? locationOf(wanted),
    subscriptionId: wanted.subscriptionId,
    resourceGroup: wanted.resourceGroup,
    offer: wanted.offer ?? before?.offer ?? (await offerOf(wanted.subscriptionId, deps)),
    keyAuthDisabled: wanted.keyAuthDisabled ?? before?.keyAuthDisabled ?? false,
    owner: 'api',
    tags: wanted.tags ?? before?.tags ?? {},
    createdAt: before?.createdAt ?? atS,
  };
  const fault = faultOfResource(resource);
  if (fault) throw fault;
  if (before && before.offer !== resource.offer) await refuseLowerOffer(resource, deps);
  const outcome = await store.resources.put(resource, { actor, atS });
  return { created: outcome === 'created', resource };
}

function refuseDeclared({ id, owner }: Resource, { declared }: ControlPlaneDeps): void {
  const found = findDeclared(declared(), id);
  if (owner !== 'configuration' || !found) return;
  throw new ApiError(
    'ownedByConfiguration',
    `The resource '${id}' is declared in the configuration (${found.source}) and is read-only here. Change it there and reload.`,
  );
}

function refuseMove(before: Resource, wanted: ResourceWanted): void {
  if (before.subscriptionId !== wanted.subscriptionId || before.resourceGroup !== wanted.resourceGroup) {
    throw new ApiError(
      'resourceNameTaken',
      `The resource name '${wanted.id}' is in use already: names are unique over the whole service. Take another name.`,
      { param: 'name' },
    );
  }
  if (wanted.location !== undefined && wanted.location !== before.location) {
    throw new ApiError(
      'invalidResource',
      `The resource '${wanted.id}' lies in '${before.location}' and cannot be moved to '${wanted.location.slice(0, 100)}'. Leave the location out, or make another resource there.`,
      { param: 'location' },
    );
  }
}

function locationOf({ id, location }: ResourceWanted): string {
  if (location !== undefined) return location;
  throw new ApiError(
    'invalidResource',
    `The resource '${id.slice(0, 100)}' is new and needs a location. Name a region, such as 'koreacentral'.`,
    { param: 'location' },
  );
}

/** A subscription has one offer, so another resource of it has the right one. */
async function offerOf(subscriptionId: string, { store, declared }: ControlPlaneDeps): Promise<Offer> {
  const [other] = await store.resources.list({ subscriptionId });
  return other?.offer ?? declared().offer;
}

/** The tokens that deployments have already must fit the quota of the new offer. */
async function refuseLowerOffer(
  { id, offer, subscriptionId, location }: Resource,
  { store, catalog }: ControlPlaneDeps,
): Promise<void> {
  const rows = await store.deployments.list({ resourceId: id, actor: 'control' });
  const usages = await store.deployments.usages({ subscriptionId, location });
  for (const { model, version, sku } of rows) {
    const quota = catalog().quotaTokens({ offer, sku, model, version });
    const usage = usages.find((one) => one.model === model && one.sku === sku);
    if (quota === null || usage === undefined || usage.allocatedTokens <= quota) continue;
    throw new ApiError(
      'insufficientQuota',
      `The offer '${offer}' has a quota of ${tokenCount(quota)} enqueued tokens for ${sku} of ${model} in '${location}', and deployments have ${tokenCount(usage.allocatedTokens)} of it already. Lower these first.`,
      { param: 'offer' },
    );
  }
}

async function deleteResource(actor: string, resourceId: string, deps: ControlPlaneDeps): Promise<boolean> {
  const { store, clock } = deps;
  const resource = await store.resources.get(resourceId);
  if (!resource) return false;
  refuseDeclared(resource, deps);
  const rows = await store.deployments.list({ resourceId, actor });
  const outcome = await store.resources.delete(resourceId, { actor, atS: nowS(clock) });
  if (outcome !== 'in_use') {
    for (const row of rows) await growShares({ resource, row }, deps);
    return outcome === 'deleted';
  }
  const live = (await store.batches.live()).filter((batch) => batch.resourceId === resourceId).length;
  throw new ApiError(
    'resourceInUse',
    `The resource '${resourceId}' has ${live} live batch(es). Wait until they are over or cancel them, then delete it again.`,
  );
}
