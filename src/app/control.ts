import type { AppConfig } from '../config/config.ts';
import { findDeclared, findDeclaredDeployment } from '../config/declared.ts';
import { ConfigError } from '../config/fault.ts';
import { DEFAULT_RESOURCE_ID } from '../contract/scope.ts';
import { nowS, systemClock } from '../core/clock.ts';
import type { Log } from '../core/log.ts';
import { applyConfiguration } from '../deployments/declared/apply.ts';
import { createCatalog, type Catalog } from '../deployments/catalog/catalog.ts';
import { createControlPlane } from '../deployments/control/control-plane.ts';
import type { ControlPlane } from '../deployments/control/port.ts';
import { createDeployments } from '../deployments/directory.ts';
import { createExclusive, type Exclusive } from '../deployments/exclusive.ts';
import { Fleet } from '../deployments/fleet/fleet.ts';
import type { FleetUpstream } from '../deployments/fleet/serving.ts';
import { hintOf, makeKey } from '../deployments/keys.ts';
import type { Deployments } from '../deployments/port.ts';
import { createUpstreamCheck, type UpstreamState } from '../deployments/fleet/upstream-check.ts';
import { upgradeVersions } from '../deployments/declared/versions.ts';
import { createIdentity, type Identity } from '../identity/identity.ts';
import { keyDigest } from '../identity/keys.ts';
import type { Authenticate, IdentityConfig } from '../identity/port.ts';
import type { ResourceStore, StateStore } from '../stores/state/ports.ts';
import { fleetOf } from './fleet.ts';
import type { Storage } from './storage.ts';

/** Keys that were made just now; they are shown now or never. */
export interface FirstKeys {
  /** Key 1 of the default resource. */
  readonly apiKey: string | null;
  readonly adminKey: string | null;
}

/** Called before the first keys are in force: nobody can read them once they are. */
export type KeepFirstKeys = (keys: FirstKeys) => Promise<void>;

/** What is configured and what is changed over the API, in force. */
export interface Control {
  readonly plane: ControlPlane;
  readonly deployments: Deployments;
  readonly authenticate: Authenticate;
  readonly firstKeys: FirstKeys;
  /** Asks upstreams that are new whether they can serve, and tells the log. Two seconds at most. */
  readonly checkUpstreams: () => Promise<readonly UpstreamState[]>;
  /** Puts another configuration in force. Rejects with a `ConfigError`, and changes nothing, when it has faults. */
  apply(config: AppConfig): Promise<void>;
  close(): Promise<void>;
}

/** A configuration, ready to be in force. */
interface Prepared {
  readonly config: AppConfig;
  readonly catalog: Catalog;
  readonly upstreams: readonly FleetUpstream[];
}

export async function openControl(
  config: AppConfig,
  { state, pepper }: Pick<Storage, 'state' | 'pepper'>,
  { log, keepFirstKeys }: { readonly log: Log; readonly keepFirstKeys: KeepFirstKeys },
): Promise<Control> {
  const digest = (key: string): string => keyDigest(pepper, key);
  const identity = createIdentity(
    { resources: state.resources, pepper, clock: systemClock, log },
    identityOf(config),
  );
  const store: StateStore = { ...state, resources: identity.resources };
  const exclusive = createExclusive();
  const { current, fleet, apply } = startConfiguration(config, { store, identity, digest, exclusive, log });
  await apply(config);

  return {
    plane: createControlPlane({
      store,
      catalog: () => current().catalog,
      fleet,
      declared: () => current().config,
      get offerDefault() {
        return current().config.offer;
      },
      get enqueuedTokensDefault() {
        return current().config.enqueuedTokensDefault;
      },
      get concurrencyDefault() {
        return current().config.concurrencyMax;
      },
      makeKey,
      digest,
      clock: systemClock,
      exclusive,
    }),
    deployments: createDeployments({ ...store, catalog: () => current().catalog, fleet }),
    authenticate: identity.authenticate,
    firstKeys: await makeFirstKeys(config, { resources: store.resources, digest, keepFirstKeys }),
    checkUpstreams: createUpstreamCheck({ fleet, store, log }),
    apply,
    close: () => fleet.close(),
  };
}

interface Parts {
  readonly store: StateStore;
  readonly identity: Identity;
  readonly digest: (key: string) => string;
  readonly exclusive: Exclusive;
  readonly log: Log;
}

/** What is in force, which nothing is before the first `apply`. */
function startConfiguration(config: AppConfig, { store, identity, digest, exclusive, log }: Parts) {
  let current: Omit<Prepared, 'upstreams'> = { config, catalog: createCatalog() };
  const fleet = new Fleet({ dataZoneOf: (region) => current.catalog.dataZoneOf(region), log });
  const apply = async (next: AppConfig): Promise<void> => {
    const prepared = await prepare(next, log);
    const before = current.catalog;
    const { faults, warnings } = await applyConfiguration(next, {
      store,
      ...prepared,
      enqueuedTokensDefault: next.enqueuedTokensDefault,
      digest,
      clock: systemClock,
      exclusive,
    });
    if (faults.length > 0) throw new ConfigError(faults);
    for (const warning of warnings) log.event('configuration.warning', { reason: warning });
    current = prepared;
    identity.replace(identityOf(next));
    const stillUsed = await stillUsedOf(fleet.upstreams, prepared, store);
    fleet.replace([...prepared.upstreams, ...stillUsed]);
    if (next.adminKey !== null) await store.resources.setAdminKeyDigest(digest(next.adminKey), change());
    await upgradeVersions({ ...prepared, before, store, exclusive, clock: systemClock, log });
  };
  return { current: () => current, fleet, apply };
}

async function prepare(config: AppConfig, log: Log): Promise<Prepared> {
  const catalog = createCatalog({
    models: config.models,
    dataZones: config.dataZones,
    impliedModels: [
      ...config.resources.flatMap(({ deployments }) => deployments.map(({ model }) => model)),
      ...config.upstreams.flatMap(({ models }) => Object.keys(models ?? {})),
    ],
  });
  const { upstreams, faults } = await fleetOf(config, catalog, log);
  if (faults.length > 0) throw new ConfigError(faults);
  return { config, catalog, upstreams };
}

/** Upstreams of deployments that are no longer declared, but stay until their batches are over. */
async function stillUsedOf(
  upstreams: readonly FleetUpstream[],
  { config }: Prepared,
  { deployments }: StateStore,
): Promise<FleetUpstream[]> {
  const used: FleetUpstream[] = [];
  for (const upstream of upstreams) {
    const { onlyFor } = upstream;
    if (onlyFor === null) continue;
    const { resourceId, deployment } = onlyFor;
    if (findDeclaredDeployment(config, { resourceId, name: deployment })) continue;
    if (await deployments.get({ resourceId, actor: 'configuration' }, deployment)) used.push(upstream);
  }
  return used;
}

const identityOf = ({ identity, roleAssignments }: AppConfig): IdentityConfig => ({
  tokens: identity && { ...identity, clockSkewMs: identity.clockSkew },
  roleAssignments,
});

const change = () => ({ actor: 'configuration', atS: nowS(systemClock) });

/** Without any key nobody could get in. */
async function makeFirstKeys(
  config: AppConfig,
  {
    resources,
    digest,
    keepFirstKeys,
  }: {
    readonly resources: ResourceStore;
    readonly digest: (key: string) => string;
    readonly keepFirstKeys: KeepFirstKeys;
  },
): Promise<FirstKeys> {
  const needsAdmin = config.adminKey === null && (await resources.adminKeyDigest()) === undefined;
  const isClosed = findDeclared(config, DEFAULT_RESOURCE_ID)?.keyAuthDisabled ?? false;
  const needsKey = !isClosed && (await resources.keys(DEFAULT_RESOURCE_ID)).length === 0;
  const made = { apiKey: needsKey ? makeKey() : null, adminKey: needsAdmin ? makeKey() : null };
  if (needsKey || needsAdmin) await keepFirstKeys(made);
  if (made.adminKey !== null) await resources.setAdminKeyDigest(digest(made.adminKey), change());
  if (made.apiKey !== null) {
    const key = { slot: 1, digest: digest(made.apiKey), hint: hintOf(made.apiKey) } as const;
    await resources.putKey(DEFAULT_RESOURCE_ID, key, change());
  }
  return made;
}
