import type { AppConfig } from '../config/config.ts';
import type { Resource } from '../contract/control.ts';
import { assert } from '../core/assert.ts';
import { nowS, systemClock } from '../core/clock.ts';
import type { Log } from '../core/log.ts';
import { toResource } from '../deployments/declared/plan.ts';
import type { Deployment, Deployments } from '../deployments/port.ts';
import { readSimulatorBehaviour } from './simulator.ts';
import type { Storage } from './storage.ts';
import { connectionOf } from './upstream-kinds.ts';

/** Opens the one deployment of `offpeak run`, on the first upstream, without a catalog and without a quota. */
export async function openRunDeployment(
  config: AppConfig,
  { state, log }: Pick<Storage, 'state'> & { readonly log: Log },
): Promise<{ readonly deployments: Deployments; close(): Promise<void> }> {
  const [resource] = config.resources;
  const deployment = resource?.deployments[0];
  const [first] = config.upstreams;
  assert(resource && deployment && first, 'a run has a deployment and an upstream');
  const atS = nowS(systemClock);
  const stored: Resource = { ...toResource(resource, atS), offer: 'unlimited', keyAuthDisabled: true };
  await state.resources.put(stored, { actor: 'cli', atS });
  const behaviour = await readSimulatorBehaviour(config);
  const upstream = (await connectionOf(first, { config, behaviour, log })).open(deployment.model);
  const only: Deployment = {
    name: deployment.name,
    model: deployment.model,
    version: null,
    sku: 'GlobalBatch',
    unusable: null,
    takesImages: true,
    enqueuedTokensMax: Number.MAX_SAFE_INTEGER,
    sharedTokensMax: null,
    whenFull: 'fail',
    concurrencyMax: deployment.concurrencyMax,
    upstreams: [upstream],
  };
  return {
    deployments: {
      find: async (_scope, name) => (name === only.name ? only : undefined),
      list: async () => [only],
    },
    close: () => upstream.close(),
  };
}
