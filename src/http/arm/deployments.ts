/** Deployments of an account. */
import type { FastifyRequest } from 'fastify';
import type { z } from 'zod';
import { ApiError } from '../../contract/error.ts';
import type { Resource, Sku } from '../../contract/control.ts';
import type { Scope } from '../../contract/scope.ts';
import type { ControlPlane } from '../../deployments/control/port.ts';
import { ByAccount, ByDeployment, DeploymentBody, toDeploymentWanted } from './bodies.ts';
import { actorOf } from './caller.ts';
import { findAccount, findDeployment, lookUpAccount, type AccountPath } from './lookup.ts';
import { capacityRange } from './models.ts';
import { DEPLOYMENT, DEPLOYMENTS } from '../address/router-paths.ts';
import { renderDeployment } from './render.ts';
import { PROVIDER } from './words.ts';
import type { Routes } from '../deps.ts';

export function deploymentRoutes(app: Routes, controlPlane: ControlPlane): void {
  app.get(
    DEPLOYMENTS,
    { config: { action: 'accounts/deployments/read' }, schema: { hide: true, params: ByAccount } },
    async (request) => {
      const { resource, scope } = await accountOf(controlPlane, request, request.params);
      const deployments = await controlPlane.listDeployments(scope);
      return { value: deployments.map((deployment) => renderDeployment(deployment, resource)) };
    },
  );
  app.get(
    DEPLOYMENT,
    { config: { action: 'accounts/deployments/read' }, schema: { hide: true, params: ByDeployment } },
    async (request) => {
      const { resource, scope } = await accountOf(controlPlane, request, request.params);
      return renderDeployment(await findDeployment(controlPlane, scope, request.params.deployment), resource);
    },
  );
  app.get(
    `${DEPLOYMENT}/skus`,
    { config: { action: 'accounts/deployments/read' }, schema: { hide: true, params: ByDeployment } },
    async (request) => {
      const { resource, scope } = await accountOf(controlPlane, request, request.params);
      const deployment = await findDeployment(controlPlane, scope, request.params.deployment);
      return { value: await skusOf(controlPlane, resource, deployment) };
    },
  );

  changeRoutes(app, controlPlane);
}

function changeRoutes(app: Routes, controlPlane: ControlPlane): void {
  const schema = { hide: true, params: ByDeployment, body: DeploymentBody };

  app.put(
    DEPLOYMENT,
    { config: { action: 'accounts/deployments/write' }, schema },
    async (request, reply) => {
      const { resource, scope } = await accountOf(controlPlane, request, request.params);
      refuseUnsupported(request.body);
      const wanted = toDeploymentWanted(request.params.deployment, request.body);
      const { created, deployment } = await controlPlane.putDeployment(scope, wanted);
      reply.code(created ? 201 : 200);
      return renderDeployment(deployment, resource);
    },
  );
  app.patch(DEPLOYMENT, { config: { action: 'accounts/deployments/write' }, schema }, async (request) => {
    const { resource, scope } = await accountOf(controlPlane, request, request.params);
    refuseUnsupported(request.body);
    const { name } = await findDeployment(controlPlane, scope, request.params.deployment);
    const { deployment } = await controlPlane.putDeployment(scope, toDeploymentWanted(name, request.body));
    return renderDeployment(deployment, resource);
  });
  app.delete(
    DEPLOYMENT,
    { config: { action: 'accounts/deployments/delete' }, schema: { hide: true, params: ByDeployment } },
    async (request, reply) => {
      const resource = await lookUpAccount(controlPlane, request.params);
      const deleted =
        resource !== undefined &&
        (await controlPlane.deleteDeployment(scopeOf(resource, request), request.params.deployment));
      return reply.code(deleted ? 200 : 204).send();
    },
  );
}

async function accountOf(
  controlPlane: ControlPlane,
  request: FastifyRequest,
  path: AccountPath,
): Promise<{ readonly resource: Resource; readonly scope: Scope }> {
  const resource = await findAccount(controlPlane, path);
  return { resource, scope: scopeOf(resource, request) };
}

const scopeOf = (resource: Resource, request: FastifyRequest): Scope => ({
  resourceId: resource.id,
  actor: actorOf(request),
});

type Body = z.output<typeof DeploymentBody>;

/** Some members change what is deployed. If they were ignored, the caller would get something else than was asked for. */
function refuseUnsupported({ sku, properties }: Body): void {
  if (properties?.model?.source !== undefined || given(properties?.model?.['sourceAccount']))
    throw new ApiError(
      'modelNotSupported',
      "Fine-tuned models cannot be deployed here. Leave out 'properties.model.source' and name a base model.",
      { param: 'properties.model.source' },
    );
  if (given(properties?.['scaleSettings']) && sku?.name === undefined)
    throw new ApiError(
      'invalidRequestContent',
      '\'properties.scaleSettings\' is of older api-versions and is not read. Send \'sku\' with a name and a capacity instead, such as {"name": "GlobalBatch", "capacity": 50}.',
      { param: 'sku' },
    );
  const unsupported = UNSUPPORTED_MEMBERS.find((name) => given(properties?.[name]));
  if (unsupported !== undefined)
    throw new ApiError(
      'invalidRequestContent',
      `Deployments have no 'properties.${unsupported}' here. Leave it out, and make the deployment as it should be by itself.`,
      { param: `properties.${unsupported}` },
    );
}

/** They send requests elsewhere, take settings from elsewhere, or set capacity aside. */
const UNSUPPORTED_MEMBERS = ['spilloverDeploymentName', 'parentDeploymentName', 'capacitySettings'] as const;

const given = (value: unknown): boolean => value !== undefined && value !== null && value !== '';

async function skusOf(
  controlPlane: ControlPlane,
  { subscriptionId, location }: Resource,
  {
    model,
    version,
    sku: own,
  }: { readonly model: string; readonly version: string | null; readonly sku: Sku },
) {
  const models = await controlPlane.listModels(location);
  const offered = models.find(
    (candidate) => candidate.model.name === model && candidate.model.version === version,
  );
  const usages = await controlPlane.listUsages(subscriptionId, location);
  return [...new Set([own, ...(offered?.skus ?? [])])].map((sku) => ({
    resourceType: `${PROVIDER}/accounts/deployments`,
    sku: { name: sku },
    capacity: capacityRange({ model, sku }, usages),
  }));
}
