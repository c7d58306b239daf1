/** The models, capacities and quotas of a subscription in each location. */
import { z } from 'zod';
import type { ControlPlane, ModelOffered, UsageView } from '../../deployments/control/port.ts';
import { ByLocation, BySubscription } from './bodies.ts';
import { findSubscription, same } from './lookup.ts';
import { renderCapacity, renderModel } from './models.ts';
import { SUBSCRIPTION } from '../address/router-paths.ts';
import { renderUsage } from './render.ts';
import type { Routes } from '../deps.ts';

const LOCATION = `${SUBSCRIPTION}/locations/:location`;
const CapacityQuery = z.object({
  modelFormat: z.string().optional(),
  modelName: z.string(),
  modelVersion: z.string().optional(),
});

export function locationRoutes(app: Routes, controlPlane: ControlPlane): void {
  app.get(
    `${LOCATION}/usages`,
    { config: { action: 'locations/usages/read' }, schema: { hide: true, params: ByLocation } },
    async ({ params }) => ({ value: (await usagesAt(controlPlane, params)).map(renderUsage) }),
  );
  app.get(
    `${LOCATION}/models`,
    {
      config: { action: 'locations/models/read', reach: 'some' },
      schema: { hide: true, params: ByLocation },
    },
    async ({ params }) => {
      const usages = await usagesAt(controlPlane, params);
      const models = await controlPlane.listModels(params.location);
      return { value: models.map((offered) => renderModel(offered, usages)) };
    },
  );
  app.get(
    `${LOCATION}/modelCapacities`,
    {
      config: { action: 'locations/models/read', reach: 'some' },
      schema: { hide: true, params: ByLocation, querystring: CapacityQuery },
    },
    async ({ params, query }) => {
      const subscriptionId = await findSubscription(controlPlane, params.subscription);
      return { value: await capacitiesAt(controlPlane, params.location, { ...query, subscriptionId }) };
    },
  );
  app.get(
    `${SUBSCRIPTION}/modelCapacities`,
    {
      config: { action: 'locations/models/read', reach: 'some' },
      schema: { hide: true, params: BySubscription, querystring: CapacityQuery },
    },
    async ({ params, query }) => {
      const wanted = { ...query, subscriptionId: await findSubscription(controlPlane, params.subscription) };
      const locations = await controlPlane.listLocations();
      const value = await Promise.all(
        locations.map((location) => capacitiesAt(controlPlane, location, wanted)),
      );
      return { value: value.flat() };
    },
  );
}

const usagesAt = async (
  controlPlane: ControlPlane,
  { subscription, location }: z.output<typeof ByLocation>,
): Promise<UsageView[]> =>
  controlPlane.listUsages(await findSubscription(controlPlane, subscription), location);

type Wanted = z.output<typeof CapacityQuery> & { readonly subscriptionId: string };

async function capacitiesAt(controlPlane: ControlPlane, location: string, wanted: Wanted) {
  const { subscriptionId } = wanted;
  const models = (await controlPlane.listModels(location)).filter((offered) => matches(offered, wanted));
  if (models.length === 0) return [];
  const usages = await controlPlane.listUsages(subscriptionId, location);
  return models.flatMap(({ model, skus }) =>
    skus.map((sku) => renderCapacity({ model, sku, location }, { subscriptionId, usages })),
  );
}

const matches = ({ model }: ModelOffered, { modelName, modelVersion }: Wanted): boolean =>
  same(model.name, modelName) &&
  (modelVersion === undefined || modelVersion === '' || model.version === modelVersion);
