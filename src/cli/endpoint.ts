import { CliError, EXIT } from './exit.ts';
import type { Service } from './http.ts';

/** Where a client command sends its requests; `/files` and `/batches` are appended to the base URL. */
export interface Endpoint extends Service {
  readonly style: 'azure' | 'openai';
}

export interface EndpointFlags {
  readonly endpoint?: string | undefined;
  readonly apiKey?: string | undefined;
  readonly apiVersion?: string | undefined;
  /** Of a service with several; it is addressed by path. */
  readonly resource?: string | undefined;
}

const LOCAL = 'http://127.0.0.1:8080';
const API_VERSION = '2024-10-21';

/**
 * A key goes only to the endpoint that it was set for: OPENAI_API_KEY to OPENAI_BASE_URL, AZURE_OPENAI_API_KEY to
 * AZURE_OPENAI_ENDPOINT, OFFPEAK_API_KEY or OFFPEAK_TOKEN to anything named by --endpoint, OFFPEAK_ENDPOINT or nobody.
 */
export function resolveEndpoint(flags: EndpointFlags, env: NodeJS.ProcessEnv): Endpoint {
  const source = sources(flags, env).find(({ url }) => url) ?? { url: LOCAL, variable: 'OFFPEAK_API_KEY' };
  const key = flags.apiKey ?? env[source.variable];
  const token = source.variable === 'OFFPEAK_API_KEY' && !key ? env.OFFPEAK_TOKEN : undefined;
  const base = baseOf(source.url ?? '');
  const keyHint = token
    ? 'Check the token: OFFPEAK_TOKEN.'
    : `Check the key: --api-key or ${source.variable}.`;
  if (base.endsWith('/v1') || source.variable === 'OPENAI_API_KEY') {
    return {
      baseUrl: withResource(base, flags.resource),
      style: 'openai',
      headers: bearer(key ?? token),
      query: {},
      keyHint,
    };
  }
  const apiVersion =
    flags.apiVersion ?? (env.AZURE_OPENAI_API_VERSION || env.OPENAI_API_VERSION || API_VERSION);
  return {
    baseUrl: withResource(`${base.replace(/\/openai$/, '')}/openai`, flags.resource),
    style: 'azure',
    headers: key ? { 'api-key': key } : bearer(token),
    query: { 'api-version': apiVersion },
    keyHint,
  };
}

export interface ControlFlags {
  readonly endpoint?: string | undefined;
  readonly adminKey?: string | undefined;
}

const ARM_API_VERSION = '2025-09-01';

/** The control plane of an Offpeak service. What the environment says of cloud services is never used for it. */
export function resolveControl(flags: ControlFlags, env: NodeJS.ProcessEnv): Service {
  const key = flags.adminKey ?? (env.OFFPEAK_ADMIN_KEY || env.OFFPEAK_TOKEN);
  return {
    // It lies at the root of the service, beside its data plane.
    baseUrl: baseOf(flags.endpoint ?? (env.OFFPEAK_ENDPOINT || LOCAL)).replace(/(\/openai)?(\/v1)?$/, ''),
    headers: bearer(key),
    query: { 'api-version': ARM_API_VERSION },
    keyHint:
      'Check the admin key, --admin-key or OFFPEAK_ADMIN_KEY, or the token, OFFPEAK_TOKEN. The service showed its ' +
      'admin key at its first start; the key of a resource does not do.',
  };
}

function baseOf(text: string): string {
  const url = URL.parse(text);
  if (!url || !/^https?:$/.test(url.protocol)) {
    throw new CliError(`'${text}' is not a URL. Give one like ${LOCAL} with --endpoint.`, EXIT.usage);
  }
  return (url.origin + url.pathname).replace(/\/+$/, '');
}

/** The resource stands before the paths of the API: `/team-a/openai`, `/team-a/v1`. */
function withResource(baseUrl: string, resource: string | undefined): string {
  if (resource === undefined) return baseUrl;
  if (!/^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$/i.test(resource)) {
    throw new CliError(
      `--resource '${resource}': expected its name: letters, digits and hyphens.`,
      EXIT.usage,
    );
  }
  return baseUrl.replace(/(\/openai)?(\/v1)?$/, (api) => `/${resource.toLowerCase()}${api}`);
}

const bearer = (secret: string | undefined): Record<string, string> =>
  secret ? { authorization: `Bearer ${secret}` } : {};

/** In the order in which they are asked. */
const sources = (flags: EndpointFlags, env: NodeJS.ProcessEnv) => [
  { url: flags.endpoint, variable: 'OFFPEAK_API_KEY' },
  { url: env.OFFPEAK_ENDPOINT, variable: 'OFFPEAK_API_KEY' },
  { url: env.AZURE_OPENAI_ENDPOINT, variable: 'AZURE_OPENAI_API_KEY' },
  { url: env.OPENAI_BASE_URL, variable: 'OPENAI_API_KEY' },
];
