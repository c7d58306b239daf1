/**
 * The routes of single requests. All are refused now: by batch deployments in the original's words (docs/contract.md §3, §8),
 * by deployments of other SKUs because they do not serve them yet.
 */
import { z } from 'zod';
import { BATCH_SKUS } from '../../contract/control.ts';
import { ApiError } from '../../contract/error.ts';
import type { Scope } from '../../contract/scope.ts';
import type { Deployments } from '../../deployments/port.ts';
import { DATA_PLANE } from '../address/router-paths.ts';
import type { Routes } from '../deps.ts';

const OPERATIONS = [
  ['/chat/completions', 'chatCompletion'],
  ['/completions', 'completion'],
  ['/embeddings', 'embeddings'],
  ['/responses', 'responses'],
] as const;

/** The body is read only to learn the model. Images make it larger than other JSON. */
const BODY_BYTES_MAX = 8 * 1024 * 1024;

/** Azure has one action for all of these operations. */
const config = { action: 'accounts/OpenAI/deployments/chat/completions/action' } as const;

export function singleRequestRoutes(app: Routes, deployments: Deployments): void {
  for (const [path, operation] of OPERATIONS) {
    app.post(
      `${DATA_PLANE}/deployments/:deployment${path}`,
      {
        config,
        bodyLimit: BODY_BYTES_MAX,
        schema: { hide: true, params: z.object({ deployment: z.string() }) },
      },
      (request) => refuse(request.principal.scope, { name: request.params.deployment, operation }),
    );
    app.post(
      `${DATA_PLANE}${path}`,
      {
        config,
        bodyLimit: BODY_BYTES_MAX,
        schema: { hide: true, body: z.looseObject({ model: z.string() }) },
      },
      (request) => refuse(request.principal.scope, { name: request.body.model, operation }),
    );
  }

  async function refuse(
    scope: Scope,
    { name, operation }: { name: string; operation: string },
  ): Promise<never> {
    const deployment = await deployments.find(scope, name);
    if (deployment === undefined)
      throw new ApiError(
        'deploymentNotFound',
        'The API deployment for this resource does not exist. If you created the deployment within the last 5 minutes, please wait a moment and try again.',
      );
    if (!BATCH_SKUS.includes(deployment.sku))
      throw new ApiError(
        'operationNotSupported',
        `The deployment '${name}' has the SKU ${deployment.sku}, which is for single requests, and this service does not serve those yet. Send a batch to a deployment with a batch SKU, or the request to your model server.`,
        { param: 'model' },
      );
    throw new ApiError(
      'operationNotSupported',
      `The ${operation} operation does not work with the specified model, ${deployment.model}. Please choose different model and try again. You can learn more about which models can be used with each operation here: https://go.microsoft.com/fwlink/?linkid=2197993.`,
    );
  }
}
