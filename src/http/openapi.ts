/** The OpenAPI document, generated from the routes' schemas. */
import swagger from '@fastify/swagger';
import type { FastifyInstance } from 'fastify';
import { jsonSchemaTransform, jsonSchemaTransformObject } from 'fastify-type-provider-zod';
import { CLASSIC_VERSIONS, WIRE } from './surface.ts';

const DESCRIPTION = [
  'The Batch service of Azure OpenAI, self-hosted.',
  'The same operations are served under `/openai` (with `api-version`), `/openai/v1` and `/v1`.',
  'The first two answer as Azure does, the last as OpenAI does.',
].join(' ');

export function registerOpenApi(app: FastifyInstance): void {
  void app.register(swagger, {
    openapi: {
      openapi: '3.1.0',
      info: { title: 'Offpeak', version: '1', description: DESCRIPTION },
      servers: [
        { url: '/openai/v1', description: 'Azure OpenAI v1' },
        { url: '/v1', description: 'OpenAI' },
        {
          url: '/openai',
          description: `Azure OpenAI with the query parameter api-version: ${CLASSIC_VERSIONS.join(', ')}`,
        },
      ],
      components: {
        securitySchemes: {
          apiKey: { type: 'apiKey', in: 'header', name: 'api-key' },
          bearer: { type: 'http', scheme: 'bearer', description: 'The same key' },
        },
      },
      security: [{ apiKey: [] }, { bearer: [] }],
    },
    transform: (document) => {
      const { schema, url } = jsonSchemaTransform(document);
      return { schema, url: url.startsWith(WIRE) ? url.slice(WIRE.length) : url };
    },
    transformObject: jsonSchemaTransformObject,
  });
}
