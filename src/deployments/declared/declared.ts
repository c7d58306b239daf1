import type { DeploymentSettings, Resource } from '../../contract/control.ts';

/** Resources and deployments as the configuration declares them: parsed, with every default that does not depend on others. */
export interface Declared {
  readonly resources: readonly DeclaredResource[];
}

export interface DeclaredResource extends Pick<
  Resource,
  'id' | 'location' | 'subscriptionId' | 'resourceGroup' | 'offer' | 'keyAuthDisabled' | 'tags'
> {
  /** Where it is declared, as faults name it: `resources[0]`. */
  readonly path: string;
  /** Key 1 and key 2 as they are; null: whatever keys it has, it keeps. */
  readonly keys: readonly string[] | null;
  /** True: only the keys that are given are declared (`--api-key` gives key 1 alone); the other one is the API's. */
  readonly sharesKeys?: boolean;
  readonly deployments: readonly DeclaredDeployment[];
}

export interface DeclaredDeployment extends DeploymentSettings {
  readonly name: string;
  /** `deployments[1]`, `resources[0].deployments[2]`. */
  readonly path: string;
  /** Null: an equal share of what the others of its quota leave. */
  readonly enqueuedTokensMax: number | null;
}

/** What is wrong with one of them: what, which, what next. */
export interface DeclaredFault {
  readonly path: string;
  readonly message: string;
}

/** `faults` is not empty: nothing was changed. */
export interface Applied {
  readonly faults: readonly DeclaredFault[];
  /** What people should know, and which does not keep the rest from being applied. */
  readonly warnings: readonly string[];
}

export const findDeclared = ({ resources }: Declared, resourceId: string): DeclaredResource | undefined =>
  resources.find(({ id }) => id === resourceId);
