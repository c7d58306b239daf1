/** The OpenAPI document, generated from the routes' schemas. */
import swagger from '@fastify/swagger';
import type { FastifyInstance, FastifySchema } from 'fastify';
import { createJsonSchemaTransform, createJsonSchemaTransformObject } from 'fastify-type-provider-zod';
import { WireError } from '../../contract/wire.ts';
import { CONTROL_PLANE, DATA_PLANE } from '../address/router-paths.ts';
import { OPERATIONS, TOPICS, type Operation } from './operations.ts';
import { CLASSIC_VERSIONS } from '../address/api-version.ts';

/** Callers never see it. */
const PREFIX = new RegExp(`^(?:${DATA_PLANE}|${CONTROL_PLANE})(?=/)`);

const DESCRIPTION = [
  'The Batch service of Azure OpenAI, self-hosted.',
  'The same operations are served under /openai (with api-version), /openai/v1 and /v1.',
  'The first two answer as Azure does, the last as OpenAI does.',
  'Each resource has its own address: /NAME/openai/v1, or NAME in front of the host. Without a name it is the resource default.',
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
          bearer: { type: 'http', scheme: 'bearer', description: 'The same key, or a token' },
        },
      },
      security: [{ apiKey: [] }, { bearer: [] }],
      tags: Object.entries(TOPICS).map(([name, description]) => ({ name, description })),
    },
    transform: (document) => {
      const { schema, url, route } = document;
      const operation = OPERATIONS.get(`${String(route.method)} ${url}`);
      if (operation === undefined) return { schema: { hide: true }, url };
      const shown = jsonSchemaTransform({
        ...document,
        schema: { ...schema, ...describe(operation, { url, schema, method: String(route.method) }) },
      });
      return { ...shown, url: shownPath(url) };
    },
    transformObject: jsonSchemaTransformObject,
  });
}

const PROVIDER = '/providers/Microsoft.CognitiveServices';

/** The path as callers write it: under a root of the data plane, or from the root of the address. */
const shownPath = (url: string): string =>
  url
    .replace(PREFIX, '')
    .replace(
      /^(\/subscriptions\/[^/]+(?:\/resourceGroups\/[^/]+)?)(?=\/)(?!\/resourceGroups)/,
      `$1${PROVIDER}`,
    );

const AT_ROOT = [{ url: '/', description: 'The root of the address' }];

function describe(
  { topic, sentence, curl = '', summary }: Operation,
  { url, schema, method }: { url: string; schema: FastifySchema; method: string },
): FastifySchema & Record<string, unknown> {
  const isOpen = !url.startsWith(DATA_PLANE) && !url.startsWith(CONTROL_PLANE);
  const path = shownPath(url).replaceAll(/:(\w+)/g, '{$1}');
  const base = url.startsWith(DATA_PLANE) ? '$OFFPEAK/openai/v1' : '$OFFPEAK';
  const query = path.startsWith('/subscriptions') ? '?api-version=2025-09-01' : '';
  const key = isOpen ? '' : ` -H "api-key: ${url.startsWith(CONTROL_PLANE) ? '$ADMIN_KEY' : '$KEY'}"`;
  const source = `curl "${base}${path}${query}"${key}${curl === '' ? '' : ` ${curl}`}`;
  return {
    hide: false,
    tags: [topic],
    summary: summary ?? schema.summary ?? `${method} ${path}`,
    description: [sentence, schema.description].filter(Boolean).join('\n\n'),
    response: { ...(schema.response as object), default: WireError },
    'x-codeSamples': [{ lang: 'curl', source }],
    ...(!url.startsWith(DATA_PLANE) && { servers: AT_ROOT }),
    ...(isOpen && { security: [] }),
  };
}

/** The document as it is served, without the schemas that nothing refers to. */
export function openApiDocument(app: FastifyInstance): object {
  const document = app.swagger();
  const components = 'components' in document ? document.components : {};
  return {
    ...document,
    components: { ...components, schemas: referenced(document.paths, components?.schemas ?? {}) },
  };
}

/** zod gives every integer the bounds of JavaScript, which say nothing to a reader. */
const zodToJsonConfig: NonNullable<Parameters<typeof createJsonSchemaTransform>[0]['zodToJsonConfig']> = {
  override: ({ jsonSchema }) => {
    if (jsonSchema.minimum === Number.MIN_SAFE_INTEGER) delete jsonSchema.minimum;
    if (jsonSchema.maximum === Number.MAX_SAFE_INTEGER) delete jsonSchema.maximum;
  },
};
const jsonSchemaTransform = createJsonSchemaTransform({ zodToJsonConfig });
const jsonSchemaTransformObject = createJsonSchemaTransformObject({ zodToJsonConfig });

/** Every schema is registered for requests and again for answers. Most are used in one of them. */
function referenced(paths: unknown, schemas: Readonly<Record<string, unknown>>): Record<string, unknown> {
  const found = new Set<string>();
  const follow = (value: unknown): void => {
    for (const [, name = ''] of (JSON.stringify(value) ?? '').matchAll(
      /"#\/components\/schemas\/([^"]+)"/g,
    )) {
      if (found.has(name)) continue;
      found.add(name);
      follow(schemas[name]);
    }
  };
  follow(paths);
  return Object.fromEntries(Object.entries(schemas).filter(([name]) => found.has(name)));
}
