/** OpenAI's clients see what they may put in `model`. Azure's clients see the base models that can be deployed. */
import type { FastifyRequest } from 'fastify';
import { ApiError } from '../../contract/error.ts';
import {
  WireAnyModel,
  WireModelList,
  type WireBaseModel,
  type WireModel,
} from '../../contract/wire-control.ts';
import type { ControlPlane, DeploymentView, ModelOffered } from '../../deployments/control/port.ts';
import { isEmbedding } from '../arm/models.ts';
import { findResource } from './lookup.ts';
import { ById } from '../wire/schemas.ts';
import { DATA_PLANE } from '../address/router-paths.ts';
import type { Routes } from '../deps.ts';

export function modelRoutes(app: Routes, controlPlane: ControlPlane): void {
  const config = { action: 'accounts/OpenAI/models/read' } as const;

  const deployed = async ({ principal }: FastifyRequest): Promise<WireModel[]> =>
    (await controlPlane.listDeployments(principal.scope)).map(renderDeployed);
  const offered = async ({ principal }: FastifyRequest): Promise<WireBaseModel[]> => {
    const { location } = await findResource(controlPlane, principal.scope);
    return (await controlPlane.listModels(location)).map(renderOffered);
  };

  app.get(
    `${DATA_PLANE}/models`,
    { config, schema: { summary: 'List models', response: { 200: WireModelList } } },
    async (request) =>
      request.target.surface.dialect === 'openai'
        ? { object: 'list' as const, data: await deployed(request) }
        : { object: 'list' as const, data: await offered(request) },
  );
  app.get(
    `${DATA_PLANE}/models/:id`,
    { config, schema: { summary: 'Get a model', params: ById, response: { 200: WireAnyModel } } },
    async (request) => {
      const { id } = request.params;
      const isOpenAi = request.target.surface.dialect === 'openai';
      const all: readonly (WireModel | WireBaseModel)[] = await (isOpenAi
        ? deployed(request)
        : offered(request));
      const model = all.find((candidate) => candidate.id === id);
      if (model !== undefined) return model;
      throw new ApiError(
        'modelNotFound',
        `The model '${id}' does not exist${isOpenAi ? ' in this resource' : " in the resource's location"}. GET /models lists those that do.`,
        { param: 'model' },
      );
    },
  );
}

const renderDeployed = ({ name, createdAt }: DeploymentView): WireModel => ({
  id: name,
  object: 'model',
  created: createdAt,
  owned_by: 'offpeak',
});

const renderOffered = ({ model, skus }: ModelOffered): WireBaseModel => {
  const embeds = isEmbedding(model);
  const released = releaseOf(model.version);
  return {
    id: model.version === null ? model.name : `${model.name}-${model.version}`,
    object: 'model',
    status: 'succeeded',
    created_at: released,
    updated_at: released,
    lifecycle_status: 'generally-available',
    capabilities: {
      completion: false,
      chat_completion: !embeds,
      embeddings: embeds,
      fine_tune: false,
      inference: true,
    },
    deprecation: {},
    model: model.name,
    version: model.version,
    inputs: [...model.inputs],
    skus: [...skus],
  };
};

/** Most versions are dates. The release of any other version is not known, and 0 is shown. */
function releaseOf(version: string | null): number {
  const date = /\d{4}-\d{2}-\d{2}$/.exec(version ?? '')?.[0];
  const atMs = date === undefined ? Number.NaN : Date.parse(`${date}T00:00:00Z`);
  return Number.isNaN(atMs) ? 0 : atMs / 1000;
}
