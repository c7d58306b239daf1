import type { DeploymentRow, Resource } from '../contract/control.ts';
import type { DeploymentStore, ResourceStore } from '../stores/state/ports.ts';
import type { Catalog } from './catalog/catalog.ts';
import type { Fleet } from './fleet/fleet.ts';
import { servingQuery } from './fleet/serving.ts';
import type { Deployment, Deployments } from './port.ts';

export interface DirectoryDeps {
  readonly resources: Pick<ResourceStore, 'get'>;
  readonly deployments: Pick<DeploymentStore, 'get' | 'list'>;
  /** The catalog of the present configuration. */
  readonly catalog: () => Catalog;
  readonly fleet: Fleet;
}

/** Joins stored deployments with the upstreams that serve them just now. It keeps nothing: each call reads the store. */
export function createDeployments(deps: DirectoryDeps): Deployments {
  return {
    find: async (scope, name) => {
      const [resource, row] = await Promise.all([
        deps.resources.get(scope.resourceId),
        deps.deployments.get(scope, name),
      ]);
      return resource && row && toDeployment(resource, row, deps);
    },
    list: async (scope) => {
      const [resource, rows] = await Promise.all([
        deps.resources.get(scope.resourceId),
        deps.deployments.list(scope),
      ]);
      return resource ? rows.map((row) => toDeployment(resource, row, deps)) : [];
    },
  };
}

function toDeployment(
  resource: Pick<Resource, 'offer' | 'location'>,
  row: DeploymentRow,
  { catalog, fleet }: DirectoryDeps,
): Deployment {
  const { name, version, sku } = row;
  const present = catalog();
  const model = present.find(row.model, version);
  return {
    name,
    model: row.model,
    version,
    sku,
    unusable: model === undefined ? whyGone(row, present) : null,
    takesImages: model?.inputs.includes('image') ?? true,
    enqueuedTokensMax: row.enqueuedTokensMax,
    // Where the model has no quota, nothing but the deployment's own limit counts.
    sharedTokensMax: row.dynamicQuota
      ? (present.quotaTokens({ ...row, offer: resource.offer }) ?? Number.MAX_SAFE_INTEGER)
      : null,
    whenFull: row.whenFull,
    upstreams: fleet.serving(servingQuery(resource, row)),
    concurrencyMax: row.concurrencyMax,
  };
}

function whyGone({ name, model, version }: DeploymentRow, catalog: Catalog): string {
  const versions = catalog.versions(model).map((one) => `'${one.version}'`);
  return versions.length === 0
    ? `The model '${model}' of the deployment '${name}' has left the model catalog. Deploy another model, or have the operator add it under 'models:'.`
    : `The version '${version}' of the model '${model}', which the deployment '${name}' has, has left the model catalog. Change the deployment to one of these versions: ${versions.join(', ')}.`;
}
