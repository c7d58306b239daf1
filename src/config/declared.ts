import type { DeploymentSettings, Offer, Resource } from '../contract/control.ts';

/**
 * The resources and deployments of a configuration, which are read-only over the API, and the defaults of those that the API
 * makes. ARCHITECTURE.md draws the way of a deployment from the file to an upstream.
 */
export interface Declared {
  /** The default resource is first. Ids are unique. */
  readonly resources: readonly DeclaredResource[];
  /** The offer of a resource that is the first one of its subscription. */
  readonly offer: Offer;
  /** The limit of deployments that name none and whose model has no quota. */
  readonly enqueuedTokensDefault: number;
  readonly concurrencyMax: number;
}

export interface DeclaredResource extends Pick<
  Resource,
  'id' | 'location' | 'subscriptionId' | 'resourceGroup' | 'offer' | 'keyAuthDisabled' | 'tags'
> {
  /** Key 1 and key 2, as far as the configuration gives them. */
  readonly keys: readonly string[];
  /** Whether the API may make the keys that are not given here. When it may not, the resource has no other keys. */
  readonly sharesKeys: boolean;
  /** Names are unique. */
  readonly deployments: readonly DeclaredDeployment[];
  /** Where it is declared: `offpeak.yaml:12`. */
  readonly source: string;
}

export interface DeclaredDeployment extends DeploymentSettings {
  readonly name: string;
  /** Null: it takes an equal share of what the others of its quota leave. */
  readonly enqueuedTokensMax: number | null;
  readonly source: string;
}

export const findDeclared = ({ resources }: Declared, resourceId: string): DeclaredResource | undefined =>
  resources.find(({ id }) => id === resourceId);

export const findDeclaredDeployment = (
  declared: Declared,
  { resourceId, name }: { readonly resourceId: string; readonly name: string },
): DeclaredDeployment | undefined =>
  findDeclared(declared, resourceId)?.deployments.find((one) => one.name === name);
