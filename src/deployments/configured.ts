import { DEFAULT_RESOURCE_ID } from '../contract/scope.ts';
import { assert } from '../core/assert.ts';
import type { Deployment, Deployments } from './port.ts';

/** The deployments of the default resource, as configured. Names are exact, as in `model`. */
export function createConfiguredDeployments(list: readonly Deployment[]): Deployments {
  const byName = new Map(list.map((deployment) => [deployment.name, deployment]));
  assert(byName.size === list.length, 'two configured deployments have the same name');
  for (const { name, upstreams, concurrencyMax, enqueuedTokensMax } of list) {
    assert(upstreams.length > 0, `deployment '${name}' has no upstream`);
    assert(concurrencyMax >= 1 && enqueuedTokensMax >= 1, `deployment '${name}' has a limit below 1`);
  }
  return {
    find: async ({ resourceId }, name) => (resourceId === DEFAULT_RESOURCE_ID ? byName.get(name) : undefined),
    list: async ({ resourceId }) => (resourceId === DEFAULT_RESOURCE_ID ? [...list] : []),
  };
}
