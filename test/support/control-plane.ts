import { createHash } from 'node:crypto';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

import type { CatalogModel } from '../../src/contract/catalog.ts';
import type { Offer } from '../../src/contract/control.ts';
import type { Clock } from '../../src/core/clock.ts';
import { silentLog } from '../../src/core/log.ts';
import { applyConfiguration, type Applied } from '../../src/deployments/declared/apply.ts';
import { createCatalog, type Catalog } from '../../src/deployments/catalog/catalog.ts';
import { createControlPlane } from '../../src/deployments/control/control-plane.ts';
import type { Declared, DeclaredDeployment, DeclaredResource } from '../../src/config/declared.ts';
import { createDeployments } from '../../src/deployments/directory.ts';
import { createExclusive } from '../../src/deployments/exclusive.ts';
import { Fleet } from '../../src/deployments/fleet/fleet.ts';
import type { FleetUpstream } from '../../src/deployments/fleet/serving.ts';
import { upgradeVersions } from '../../src/deployments/declared/versions.ts';
import { openSqliteInline } from '../../src/stores/state/sqlite/inline.ts';
import { createSimulator } from '../../src/upstream/simulator/simulator.ts';

export const SUBSCRIPTION = '00000000-0000-0000-0000-000000000000';

/** Fields of what a test declares; the rest is as the configuration would have it. */
export const declaredDeployment = (
  name: string,
  given: Partial<DeclaredDeployment> = {},
): DeclaredDeployment => ({
  source: `deployments[${name}]`,
  name,
  model: 'gpt-4o',
  version: null,
  sku: 'GlobalBatch',
  enqueuedTokensMax: 1_000,
  dynamicQuota: false,
  whenFull: 'fail',
  versionUpgradeOption: 'OnceNewDefaultVersionAvailable',
  contentFilter: null,
  concurrencyMax: 8,
  upstreams: null,
  tags: {},
  ...given,
});

export const declaredResource = (id: string, given: Partial<DeclaredResource> = {}): DeclaredResource => ({
  source: `resources[${id}]`,
  id,
  location: 'eastus',
  subscriptionId: SUBSCRIPTION,
  resourceGroup: 'offpeak',
  offer: 'enterprise',
  keyAuthDisabled: false,
  tags: {},
  keys: [],
  sharesKeys: given.keys === undefined,
  deployments: [],
  ...given,
});

export const upstreamOf = (
  name: string,
  region = 'eastus',
  given: Partial<FleetUpstream> = {},
): FleetUpstream => ({
  name,
  kind: 'simulator',
  region,
  dataZone: createCatalog().dataZoneOf(region),
  models: null,
  onlyFor: null,
  fingerprint: name,
  open: () => createSimulator(),
  ...given,
});

/** A model of the catalog as `models:` of a configuration gives it. */
export const modelOf = (name: string, version: string, given: Partial<CatalogModel> = {}): CatalogModel => ({
  name,
  version,
  isDefault: false,
  inputs: ['text'],
  regions: { GlobalBatch: 'everywhere' },
  quotaTokens: {},
  batchPrice: null,
  ...given,
});

export const digest = (key: string): string => createHash('sha256').update(key).digest('hex');

/** The control plane over a real store of its own, with a configuration that a test can change. */
export async function openControlPlane(options: { readonly offer?: Offer } = {}) {
  const dir = await mkdtemp(join(tmpdir(), 'offpeak-control-'));
  const store = await openSqliteInline({ path: join(dir, 'offpeak.db') });
  const exclusive = createExclusive();
  let atS = 1_000;
  const clock: Clock = { now: () => atS * 1_000, mono: () => atS * 1_000, sleep: async () => {} };
  let catalog: Catalog = createCatalog();
  let declared: Declared = {
    resources: [],
    offer: options.offer ?? 'enterprise',
    enqueuedTokensDefault: 7_000_000,
    concurrencyMax: 16,
  };
  const fleet = new Fleet({ dataZoneOf: (region) => catalog.dataZoneOf(region), log: silentLog });
  fleet.replace([upstreamOf('east')]);
  const settings = { store, fleet, clock, exclusive, digest };
  const controlPlane = createControlPlane({
    ...settings,
    catalog: () => catalog,
    declared: () => declared,
  });
  return {
    store,
    fleet,
    controlPlane,
    exclusive,
    directory: createDeployments({ ...store, fleet, catalog: () => catalog }),
    useCatalog: (next: Catalog) => (catalog = next),
    advance: (seconds: number) => (atS += seconds),
    /** Does what a start or a reload does: only what was applied is in force. */
    async apply(resources: readonly DeclaredResource[]): Promise<Applied> {
      const next = { ...declared, resources };
      const applied = await applyConfiguration(next, { ...settings, catalog, upstreams: fleet.upstreams });
      if (applied.faults.length === 0) declared = next;
      return applied;
    },
    upgrade: (before: Catalog) => upgradeVersions({ ...settings, before, catalog, log: silentLog }),
    /** A batch that holds tokens of a deployment. */
    async startBatch(resourceId: string, deployment: string, enqueuedTokens = 10): Promise<void> {
      const id = `batch_${deployment}_${Math.random()}`;
      await store.batches.create(
        { resourceId, actor: 'key:1' },
        {
          id,
          endpoint: '/chat/completions',
          dialect: 'azure',
          inputFileId: 'f',
          inputBlobId: 'f',
          outputFileId: `${id}-o`,
          errorFileId: `${id}-e`,
          deployment,
          enqueuedTokens,
          createdAt: atS,
          expiresAt: atS + 86_400,
          metadata: null,
          outputExpiresAfterS: null,
          whenFull: 'fail',
          errors: null,
        },
        { room: null },
      );
    },
    async endBatches(): Promise<void> {
      for (const { seq } of await store.batches.live())
        await store.batches.fail(seq, { from: 'validating', atS, errors: { data: [], omitted: 0 } });
    },
    async close(): Promise<void> {
      await fleet.close();
      await store.close();
      await rm(dir, { recursive: true, force: true });
    },
  };
}
export type ControlWorld = Awaited<ReturnType<typeof openControlPlane>>;
