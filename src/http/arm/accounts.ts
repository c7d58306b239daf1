/** Accounts, as ARM calls resources, with their keys, models and quotas. */
import type { FastifyRequest } from 'fastify';
import type { z } from 'zod';
import { ApiError } from '../../contract/error.ts';
import type { Resource } from '../../contract/control.ts';
import type { ControlPlane } from '../../deployments/control/port.ts';
import { refuseAuthorization } from '../hooks/access.ts';
import {
  AccountBody,
  ByAccount,
  ByGroup,
  BySubscription,
  RegenerateKeyBody,
  toResourceWanted,
} from './bodies.ts';
import { actorOf, endpointOf, mayRead } from './caller.ts';
import { findAccount, findSubscription, lookUpAccount, same } from './lookup.ts';
import { renderAccountModel } from './models.ts';
import { renderAccount, renderKeys, renderUsage } from './render.ts';
import { ACCOUNT, ACCOUNTS, SUBSCRIPTION } from '../address/router-paths.ts';
import { PROVIDER } from './words.ts';
import type { Routes } from '../deps.ts';

export interface ArmDeps {
  readonly controlPlane: ControlPlane;
  /** What follows a resource's name in the host that callers ask. */
  readonly resourceDomains: readonly string[];
}

export function accountRoutes(app: Routes, deps: ArmDeps): void {
  const { controlPlane } = deps;
  const render = renderer(deps);

  const listed = async (request: FastifyRequest, belongs: (resource: Resource) => boolean) => {
    const resources = (await controlPlane.listResources({})).filter(
      (resource) => belongs(resource) && mayRead(request, resource.id),
    );
    return { value: resources.map((resource) => render(request, resource)) };
  };
  app.get(
    `${SUBSCRIPTION}/accounts`,
    { config: { action: 'accounts/read', reach: 'some' }, schema: { hide: true, params: BySubscription } },
    (request) => listed(request, ({ subscriptionId }) => same(subscriptionId, request.params.subscription)),
  );
  app.get(
    ACCOUNTS,
    { config: { action: 'accounts/read', reach: 'some' }, schema: { hide: true, params: ByGroup } },
    (request) =>
      listed(
        request,
        ({ subscriptionId, resourceGroup }) =>
          same(subscriptionId, request.params.subscription) && same(resourceGroup, request.params.group),
      ),
  );
  app.get(
    ACCOUNT,
    { config: { action: 'accounts/read' }, schema: { hide: true, params: ByAccount } },
    async (request) => render(request, await findAccount(controlPlane, request.params)),
  );

  changeRoutes(app, deps);
  keyRoutes(app, controlPlane);
  readRoutes(app, controlPlane);
}

const renderer =
  ({ resourceDomains }: ArmDeps) =>
  (request: FastifyRequest, resource: Resource) =>
    renderAccount(resource, endpointOf(request, resource.id, resourceDomains));

function changeRoutes(app: Routes, deps: ArmDeps): void {
  const { controlPlane } = deps;
  const render = renderer(deps);

  app.put(
    ACCOUNT,
    { config: { action: 'accounts/write' }, schema: { hide: true, params: ByAccount, body: AccountBody } },
    async (request, reply) => {
      const { account, group, subscription } = request.params;
      const id = account.toLowerCase();
      refuseOtherDomain(id, request.body);
      const existing = await lookUpAccount(controlPlane, request.params);
      refuseOffer(request, existing?.offer);
      // An account keeps the spelling of its group and subscription.
      const key = existing ?? {
        id,
        subscriptionId: await findSubscription(controlPlane, subscription),
        resourceGroup: group,
      };
      const wanted = toResourceWanted(key, request.body);
      const { created, resource } = await controlPlane.putResource(actorOf(request), wanted);
      reply.code(created ? 201 : 200);
      return render(request, resource);
    },
  );
  app.patch(
    ACCOUNT,
    {
      config: { action: 'accounts/write' },
      schema: { hide: true, params: ByAccount, body: AccountBody },
    },
    async (request) => {
      const existing = await findAccount(controlPlane, request.params);
      refuseOtherDomain(existing.id, request.body);
      refuseOffer(request, existing.offer);
      const wanted = toResourceWanted(existing, request.body);
      const { resource } = await controlPlane.putResource(actorOf(request), wanted);
      return render(request, resource);
    },
  );
  app.delete(
    ACCOUNT,
    { config: { action: 'accounts/delete' }, schema: { hide: true, params: ByAccount } },
    async (request, reply) => {
      const existing = await lookUpAccount(controlPlane, request.params);
      const deleted =
        existing !== undefined && (await controlPlane.deleteResource(actorOf(request), existing.id));
      return reply.code(deleted ? 200 : 204).send();
    },
  );
}

/** The subdomain of an account is its name. */
function refuseOtherDomain(id: string, { properties }: z.output<typeof AccountBody>): void {
  const wanted = properties?.customSubDomainName;
  if (wanted === undefined || same(wanted, id)) return;
  throw new ApiError(
    'invalidRequestContent',
    `Invalid value for 'properties.customSubDomainName': '${wanted.slice(0, 100)}'. An account's subdomain is its name: send '${id}', or leave it out.`,
    { param: 'properties.customSubDomainName' },
  );
}

/** An offer decides the quotas of a subscription, so whoever runs one resource cannot choose it. */
function refuseOffer(
  request: FastifyRequest<{ Body: z.output<typeof AccountBody> }>,
  present?: Resource['offer'],
): void {
  const wanted = request.body.properties?.offpeak?.offer;
  if (wanted !== undefined && wanted !== present && !request.principal.allows('accounts/write', null))
    throw refuseAuthorization(request, 'accounts/write');
}

function keyRoutes(app: Routes, controlPlane: ControlPlane): void {
  app.post(
    `${ACCOUNT}/listKeys`,
    { config: { action: 'accounts/listKeys/action' }, schema: { hide: true, params: ByAccount } },
    async (request, reply) => {
      const { id } = await findAccount(controlPlane, request.params);
      reply.header('cache-control', 'no-store');
      return renderKeys(await controlPlane.listKeys(actorOf(request), id));
    },
  );
  app.post(
    `${ACCOUNT}/regenerateKey`,
    {
      config: { action: 'accounts/regenerateKey/action' },
      schema: { hide: true, params: ByAccount, body: RegenerateKeyBody },
    },
    async (request, reply) => {
      const { id } = await findAccount(controlPlane, request.params);
      reply.header('cache-control', 'no-store');
      const slot = request.body.keyName === 'Key1' ? 1 : 2;
      return renderKeys(await controlPlane.regenerateKey(actorOf(request), id, slot));
    },
  );
}

function readRoutes(app: Routes, controlPlane: ControlPlane): void {
  app.get(
    `${ACCOUNT}/skus`,
    { config: { action: 'accounts/read' }, schema: { hide: true, params: ByAccount } },
    async (request) => {
      await findAccount(controlPlane, request.params);
      return { value: [{ resourceType: `${PROVIDER}/accounts`, sku: { name: 'S0', tier: 'Standard' } }] };
    },
  );
  app.get(
    `${ACCOUNT}/usages`,
    { config: { action: 'accounts/usages/read' }, schema: { hide: true, params: ByAccount } },
    async (request) => {
      const { subscriptionId, location } = await findAccount(controlPlane, request.params);
      return { value: (await controlPlane.listUsages(subscriptionId, location)).map(renderUsage) };
    },
  );
  app.get(
    `${ACCOUNT}/models`,
    { config: { action: 'accounts/models/read' }, schema: { hide: true, params: ByAccount } },
    async (request) => {
      const { subscriptionId, location } = await findAccount(controlPlane, request.params);
      const usages = await controlPlane.listUsages(subscriptionId, location);
      const models = await controlPlane.listModels(location);
      return { value: models.map((offered) => renderAccountModel(offered, usages)) };
    },
  );
}
