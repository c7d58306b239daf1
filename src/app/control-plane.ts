import type { AppConfig } from '../config/config.ts';
import { systemClock } from '../core/clock.ts';
import type { Log } from '../core/log.ts';
import { createControlPlane } from '../deployments/control/control-plane.ts';
import type { ControlPlane } from '../deployments/control/port.ts';
import { createDeployments } from '../deployments/directory.ts';
import type { Exclusive } from '../deployments/exclusive.ts';
import { createUpstreamCheck, type UpstreamState } from '../deployments/fleet/upstream-check.ts';
import type { Deployments } from '../deployments/port.ts';
import { createIdentity } from '../identity/identity.ts';
import { keyDigest } from '../identity/keys.ts';
import type { Authenticate } from '../identity/port.ts';
import type { StateStore } from '../stores/state/ports.ts';
import { identityOf, startConfiguration } from './configuration.ts';
import { makeFirstKeys, type FirstKeys, type KeepFirstKeys } from './first-keys.ts';
import type { Storage } from './storage.ts';

/** What the configuration declares and what the API has changed, in force. */
export interface OpenedControlPlane {
  readonly controlPlane: ControlPlane;
  readonly deployments: Deployments;
  readonly authenticate: Authenticate;
  readonly firstKeys: FirstKeys;
  /** Asks new upstreams whether they can serve, and logs the answers. It takes two seconds at most. */
  readonly checkUpstreams: () => Promise<readonly UpstreamState[]>;
  /** Puts another configuration in force. It rejects with a `ConfigError`, and changes nothing, when that has faults. */
  apply(config: AppConfig): Promise<void>;
  close(): Promise<void>;
}

export async function openControlPlane(
  config: AppConfig,
  { state, pepper }: Pick<Storage, 'state' | 'pepper'>,
  {
    log,
    exclusive,
    keepFirstKeys = async () => {},
  }: { readonly log: Log; readonly exclusive: Exclusive; readonly keepFirstKeys?: KeepFirstKeys },
): Promise<OpenedControlPlane> {
  const digest = (key: string): string => keyDigest(pepper, key);
  const identity = createIdentity(
    { resources: state.resources, pepper, clock: systemClock, log },
    identityOf(config),
  );
  const store: StateStore = { ...state, resources: identity.resources };
  const present = await startConfiguration(config, { store, identity, digest, exclusive, log });
  const { catalog, fleet } = present;
  return {
    controlPlane: createControlPlane({
      store,
      catalog,
      fleet,
      declared: present.config,
      digest,
      clock: systemClock,
      exclusive,
    }),
    deployments: createDeployments({ ...store, catalog, fleet }),
    authenticate: identity.authenticate,
    firstKeys: await makeFirstKeys(config, { resources: store.resources, digest, keepFirstKeys }),
    checkUpstreams: createUpstreamCheck({ fleet, store, log }),
    apply: present.apply,
    close: () => fleet.close(),
  };
}
