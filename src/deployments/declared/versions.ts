import type { DeploymentRow } from '../../contract/control.ts';
import { type Clock, nowS } from '../../core/clock.ts';
import type { Log } from '../../core/log.ts';
import type { StateStore } from '../../stores/state/ports.ts';
import type { Catalog } from '../catalog/catalog.ts';
import type { Exclusive } from '../exclusive.ts';

export interface UpgradeDeps {
  /** The catalog of the configuration that was in force before. At a start it is the built-in one. */
  readonly before: Catalog;
  readonly catalog: Catalog;
  readonly store: StateStore;
  readonly exclusive: Exclusive;
  readonly clock: Clock;
  readonly log: Log;
}

const ACTOR = 'version-upgrade';

/**
 * Moves deployments that were made over the API to another version of their model, where they asked for it. Those of the
 * configuration move with their file.
 */
export const upgradeVersions = (deps: UpgradeDeps): Promise<void> =>
  deps.exclusive(async () => {
    const { store, catalog, clock, log } = deps;
    for (const { id: resourceId, location, offer } of await store.resources.list({})) {
      const scope = { resourceId, actor: ACTOR };
      for (const row of await store.deployments.list(scope)) {
        const version = nextVersion(row, { ...deps, location });
        if (version === row.version) continue;
        const atS = nowS(clock);
        const quotaTokensMax = catalog.quotaTokens({ ...row, offer, version });
        const { kind } = await store.deployments.put(
          scope,
          { ...row, version, updatedAt: atS },
          { quotaTokensMax, atS },
        );
        const fields = { resource: resourceId, deployment: row.name, from: row.version, to: version };
        log.event(kind === 'updated' ? 'deployment.upgraded' : 'deployment.not_upgraded', fields);
      }
    }
  });

/** A deployment keeps its version unless something asks for another. */
function nextVersion(
  { owner, model, version, sku, versionUpgradeOption }: DeploymentRow,
  facts: { readonly before: Catalog; readonly catalog: Catalog; readonly location: string },
): string | null {
  const next = facts.catalog.defaultVersion(model);
  if (owner === 'configuration' || versionUpgradeOption === 'NoAutoUpgrade' || next === undefined)
    return version;
  if (!facts.catalog.offered(next, facts.location).includes(sku)) return version;
  const isGone = facts.catalog.find(model, version) === undefined;
  // A deployment that never had the default version was given another one on purpose.
  const wasDefault = facts.before.defaultVersion(model)?.version === version;
  const follows = versionUpgradeOption === 'OnceNewDefaultVersionAvailable' && wasDefault;
  return isGone || follows ? next.version : version;
}
