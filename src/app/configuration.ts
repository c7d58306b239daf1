import type { AppConfig } from '../config/config.ts';
import { findDeclaredDeployment } from '../config/declared.ts';
import { ConfigError } from '../config/fault.ts';
import { nowS, systemClock } from '../core/clock.ts';
import type { Log } from '../core/log.ts';
import { createCatalog, type Catalog } from '../deployments/catalog/catalog.ts';
import { applyConfiguration } from '../deployments/declared/apply.ts';
import { upgradeVersions } from '../deployments/declared/versions.ts';
import type { Exclusive } from '../deployments/exclusive.ts';
import { Fleet } from '../deployments/fleet/fleet.ts';
import type { FleetUpstream } from '../deployments/fleet/serving.ts';
import type { Identity } from '../identity/identity.ts';
import type { IdentityConfig } from '../identity/port.ts';
import type { StateStore } from '../stores/state/ports.ts';
import { fleetOf } from './fleet.ts';

interface ConfigurationDeps {
  readonly store: StateStore;
  readonly identity: Identity;
  readonly digest: (key: string) => string;
  readonly exclusive: Exclusive;
  readonly log: Log;
}

/** The configuration in force, with the catalog and the fleet that it makes. */
export interface Configuration {
  readonly config: () => AppConfig;
  readonly catalog: () => Catalog;
  readonly fleet: Fleet;
  /** Puts another one in force. It rejects with a `ConfigError`, and changes nothing, when that has faults. */
  readonly apply: (next: AppConfig) => Promise<void>;
}

/** Applies the first configuration. It rejects as `apply` does. */
export async function startConfiguration(
  first: AppConfig,
  { store, identity, digest, exclusive, log }: ConfigurationDeps,
): Promise<Configuration> {
  let config = first;
  let catalog = createCatalog();
  const fleet = new Fleet({ dataZoneOf: (region) => catalog.dataZoneOf(region), log });
  const apply = async (next: AppConfig): Promise<void> => {
    const before = catalog;
    const nextCatalog = catalogOf(next);
    const upstreams = await fleetOf(next, nextCatalog, log);
    const deps = { store, catalog: nextCatalog, exclusive, clock: systemClock, log };
    const { faults, warnings } = await applyConfiguration(next, { ...deps, upstreams, digest });
    if (faults.length > 0) throw new ConfigError(faults);
    for (const warning of warnings) log.event('configuration.warning', { reason: warning });
    [config, catalog] = [next, nextCatalog];
    identity.replace(identityOf(next));
    fleet.replace([...upstreams, ...(await stillUsedOf(fleet.upstreams, next, store))]);
    if (next.adminKey !== null) {
      const change = { actor: 'configuration', atS: nowS(systemClock) };
      await store.resources.setAdminKeyDigest(digest(next.adminKey), change);
    }
    await upgradeVersions({ ...deps, before });
  };
  await apply(first);
  return { config: () => config, catalog: () => catalog, fleet, apply };
}

const catalogOf = ({ models, dataZones, resources, upstreams }: AppConfig): Catalog =>
  createCatalog({
    models,
    dataZones,
    impliedModels: [
      ...resources.flatMap(({ deployments }) => deployments.map(({ model }) => model)),
      ...upstreams.flatMap((upstream) => Object.keys(upstream.models ?? {})),
    ],
  });

/** Upstreams of deployments that are no longer declared, but stay until their batches are over. */
async function stillUsedOf(
  upstreams: readonly FleetUpstream[],
  config: AppConfig,
  { deployments }: StateStore,
): Promise<FleetUpstream[]> {
  const used: FleetUpstream[] = [];
  for (const upstream of upstreams) {
    if (upstream.onlyFor === null) continue;
    const { resourceId, deployment: name } = upstream.onlyFor;
    if (findDeclaredDeployment(config, { resourceId, name })) continue;
    if (await deployments.get({ resourceId, actor: 'configuration' }, name)) used.push(upstream);
  }
  return used;
}

export const identityOf = ({ identity, roleAssignments }: AppConfig): IdentityConfig => ({
  tokens: identity && { ...identity, clockSkewMs: identity.clockSkew },
  roleAssignments,
});
