import { CliError, EXIT } from './exit.ts';

/** Where a client command sends its requests, and how they are signed. */
export interface Endpoint {
  /** `/files` and `/batches` are appended. */
  readonly baseUrl: string;
  readonly style: 'azure' | 'openai';
  readonly headers: Readonly<Record<string, string>>;
  readonly query: Readonly<Record<string, string>>;
  /** What to do about a refused key. */
  readonly keyHint: string;
}

export interface EndpointFlags {
  readonly endpoint?: string | undefined;
  readonly apiKey?: string | undefined;
  readonly apiVersion?: string | undefined;
}

const LOCAL = 'http://127.0.0.1:8080';
const API_VERSION = '2024-10-21';

/**
 * A key goes only to the endpoint that it was set for: OPENAI_API_KEY to OPENAI_BASE_URL, AZURE_OPENAI_API_KEY to
 * AZURE_OPENAI_ENDPOINT, OFFPEAK_API_KEY to anything named by --endpoint, OFFPEAK_ENDPOINT or nobody.
 */
export function resolveEndpoint(flags: EndpointFlags, env: NodeJS.ProcessEnv): Endpoint {
  const source = sources(flags, env).find(({ url }) => url) ?? { url: LOCAL, variable: 'OFFPEAK_API_KEY' };
  const url = URL.parse(source.url ?? '');
  if (!url || !/^https?:$/.test(url.protocol)) {
    throw new CliError(`'${source.url}' is not a URL. Give one like ${LOCAL} with --endpoint.`, EXIT.usage);
  }
  const key = flags.apiKey ?? env[source.variable];
  const base = (url.origin + url.pathname).replace(/\/+$/, '');
  const keyHint = `Check the key: --api-key or ${source.variable}.`;
  if (base.endsWith('/v1') || source.variable === 'OPENAI_API_KEY') {
    const headers: Record<string, string> = key ? { authorization: `Bearer ${key}` } : {};
    return { baseUrl: base, style: 'openai', headers, query: {}, keyHint };
  }
  const apiVersion =
    flags.apiVersion ?? (env.AZURE_OPENAI_API_VERSION || env.OPENAI_API_VERSION || API_VERSION);
  return {
    baseUrl: `${base.replace(/\/openai$/, '')}/openai`,
    style: 'azure',
    headers: key ? { 'api-key': key } : {},
    query: { 'api-version': apiVersion },
    keyHint,
  };
}

/** In the order in which they are asked. */
const sources = (flags: EndpointFlags, env: NodeJS.ProcessEnv) => [
  { url: flags.endpoint, variable: 'OFFPEAK_API_KEY' },
  { url: env.OFFPEAK_ENDPOINT, variable: 'OFFPEAK_API_KEY' },
  { url: env.AZURE_OPENAI_ENDPOINT, variable: 'AZURE_OPENAI_API_KEY' },
  { url: env.OPENAI_BASE_URL, variable: 'OPENAI_API_KEY' },
];
