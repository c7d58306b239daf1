/** The key of a resource may read its deployments and quotas. The control plane changes them. */
import { z } from 'zod';
import { ApiError } from '../../contract/error.ts';
import {
  WireDeployment,
  WireDeploymentList,
  WireQuotaUsageList,
  type WireQuotaUsage,
} from '../../contract/wire-control.ts';
import type { ControlPlane, DeploymentView, UsageView } from '../../deployments/control/port.ts';
import { renderTokens, toCapacity, usageName } from '../arm/render.ts';
import { findResource } from './lookup.ts';
import { DATA_PLANE } from '../address/router-paths.ts';
import type { Routes } from '../deps.ts';

export function deploymentRoutes(app: Routes, controlPlane: ControlPlane): void {
  app.get(
    `${DATA_PLANE}/deployments`,
    {
      config: { action: 'accounts/OpenAI/deployments/read' },
      schema: { summary: 'List deployments', response: { 200: WireDeploymentList } },
    },
    async ({ principal }) => {
      const deployments = await controlPlane.listDeployments(principal.scope);
      return { object: 'list' as const, data: deployments.map(renderDeployment) };
    },
  );
  app.get(
    `${DATA_PLANE}/deployments/:deployment`,
    {
      config: { action: 'accounts/OpenAI/deployments/read' },
      schema: {
        summary: 'Get a deployment',
        params: z.object({ deployment: z.string() }),
        response: { 200: WireDeployment },
      },
    },
    async ({ principal, params }) => {
      const deployment = await controlPlane.getDeployment(principal.scope, params.deployment);
      if (deployment !== undefined) return renderDeployment(deployment);
      throw new ApiError(
        'deploymentNotFound',
        `The deployment '${params.deployment}' does not exist in this resource. GET /deployments lists those that do.`,
        { param: 'deployment' },
      );
    },
  );
  app.get(
    `${DATA_PLANE}/usages`,
    {
      config: { action: 'accounts/OpenAI/usages/read' },
      schema: { summary: 'Read the quotas', response: { 200: WireQuotaUsageList } },
    },
    async ({ principal }) => {
      const resource = await findResource(controlPlane, principal.scope);
      const usages = await controlPlane.listUsages(resource.subscriptionId, resource.location);
      const own = await controlPlane.listDeployments(principal.scope);
      return { object: 'list' as const, data: usages.map((usage) => renderUsage(usage, own)) };
    },
  );
}

const renderDeployment = (deployment: DeploymentView): WireDeployment => ({
  id: deployment.name,
  object: 'deployment',
  model: deployment.model,
  model_version: deployment.version,
  sku: deployment.sku,
  capacity: toCapacity(deployment.enqueuedTokensMax),
  status: 'succeeded',
  created_at: deployment.createdAt,
  updated_at: deployment.updatedAt,
  enqueued_tokens: renderTokens(deployment.tokens, deployment.enqueuedTokensMax),
});

/** The quota is the subscription's. Of other resources' use of it, only what they leave is shown. */
function renderUsage(usage: UsageView, all: readonly DeploymentView[]): WireQuotaUsage {
  const { model, sku, location, limitTokens, availableTokens } = usage;
  const own = all.filter((deployment) => deployment.model === model && deployment.sku === sku);
  const sum = (of: (deployment: DeploymentView) => number): number =>
    own.reduce((total, deployment) => total + of(deployment), 0);
  return {
    id: usageName({ model, sku }),
    object: 'usage',
    model,
    sku,
    location,
    limit_tokens: limitTokens,
    available_tokens: availableTokens,
    allocated_tokens: sum(({ enqueuedTokensMax }) => enqueuedTokensMax),
    held_tokens: sum(({ tokens }) => tokens.held),
    waiting_tokens: sum(({ tokens }) => tokens.waiting),
  };
}
