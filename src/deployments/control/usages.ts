import { SKUS, type Offer, type Sku } from '../../contract/control.ts';
import type { Catalog } from '../catalog/catalog.ts';
import type { ControlPlaneDeps } from './deps.ts';
import type { ControlPlane, UsageView } from './port.ts';
import { deploymentsAt, yieldedBy } from '../declared/reshare.ts';

type CatalogCalls = Pick<ControlPlane, 'listLocations' | 'listModels' | 'listUsages'>;

export function usagesOf(deps: ControlPlaneDeps): CatalogCalls {
  const { store, catalog } = deps;
  return {
    listLocations: async () => {
      const places = catalog().models.flatMap(({ regions }) => Object.values(regions));
      const named = places.flatMap((place) => (place === 'everywhere' ? [] : place));
      const own = (await store.resources.list({})).map(({ location }) => location);
      return [...new Set([...own, ...named])].sort();
    },
    listModels: async (location) =>
      catalog()
        .models.map((model) => ({ model, skus: catalog().offered(model, location) }))
        .filter(({ skus }) => skus.length > 0),
    listUsages: (subscriptionId, location) => listUsages({ subscriptionId, location }, deps),
  };
}

async function listUsages(
  place: { readonly subscriptionId: string; readonly location: string },
  { store, catalog, declared }: ControlPlaneDeps,
): Promise<UsageView[]> {
  const [resources, used, deployments] = await Promise.all([
    store.resources.list({ subscriptionId: place.subscriptionId }),
    store.deployments.usages(place),
    deploymentsAt(place, store),
  ]);
  const here = resources.filter(({ location }) => location === place.location);
  const known = here.length > 0 ? here : resources;
  const offers = known.length === 0 ? [declared().offer] : known.map(({ offer }) => offer);
  const present = catalog();
  const offered = present.names.flatMap((model) =>
    SKUS.filter((sku) => isOffered(present, { model, sku }, place.location)).map((sku) => ({ model, sku })),
  );
  const left = used.filter(
    (one) => !offered.some(({ model, sku }) => one.model === model && one.sku === sku),
  );
  return [...offered, ...left].flatMap(({ model, sku }) => {
    const usage = used.find((one) => one.model === model && one.sku === sku);
    const limitTokens = limitOf(present, { model, sku }, offers);
    if (usage === undefined && limitTokens === null) return [];
    const { allocatedTokens, heldTokens } = usage ?? { allocatedTokens: 0, heldTokens: 0 };
    const yielded = deployments
      .filter(({ row }) => row.model === model && row.sku === sku)
      .reduce((sum, { row }) => sum + yieldedBy(row, declared()), 0);
    const availableTokens =
      limitTokens === null ? null : Math.max(0, limitTokens - allocatedTokens + yielded);
    return [{ ...place, model, sku, allocatedTokens, heldTokens, limitTokens, availableTokens }];
  });
}

interface ModelSku {
  readonly model: string;
  readonly sku: Sku;
}

const isOffered = (catalog: Catalog, { model, sku }: ModelSku, location: string): boolean =>
  catalog.versions(model).some((version) => catalog.offered(version, location).includes(sku));

/** Versions and offers may differ. The largest limit is shown, so that nobody is told less than they can have. */
function limitOf(catalog: Catalog, { model, sku }: ModelSku, offers: readonly Offer[]): number | null {
  const limits = catalog
    .versions(model)
    .flatMap(({ version }) => offers.map((offer) => catalog.quotaTokens({ offer, sku, model, version })));
  const known = limits.filter((limit) => limit !== null);
  return known.length < limits.length || known.length === 0 ? null : Math.max(...known);
}
