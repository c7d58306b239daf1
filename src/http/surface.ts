/**
 * Which API a URL speaks to. Decided once per request, from the URL alone, before routing: all surfaces share one
 * router, whose paths start with `WIRE`. Source: contract §0, §1.
 */
import { ApiError } from '../contract/error.ts';

export type Dialect = 'azure' | 'openai';

export interface Surface {
  readonly dialect: Dialect;
  /** Where the caller found the API, for `Location`. */
  readonly root: string;
  /** `?api-version=…` on the surfaces that have one. */
  readonly query: string;
  readonly createStatus: 200 | 201;
  readonly uploadStatus: 200 | 201;
  /** `deployment-enqueued-tokens` on create. */
  readonly tokenHeaders: boolean;
  /** `$filter` and `$orderby`; ignored where absent, as the original ignores what a version does not know. */
  readonly filters: boolean;
  /** `expires_after` on upload. */
  readonly fileExpiry: boolean;
  /** `output_expires_after` on create. */
  readonly outputExpiry: boolean;
}

export interface Target {
  readonly surface: Surface;
  /** What the router sees, query included. */
  readonly url: string;
  /** False for health and documentation. */
  readonly needsKey: boolean;
  /** Why the surface turns the request away, told only to callers with a key. */
  readonly refusal: ApiError | undefined;
}

export const WIRE = '/wire';
const NOWHERE = '/nowhere';

export const CLASSIC_VERSIONS = [
  '2024-07-01-preview',
  '2024-08-01-preview',
  '2024-10-01-preview',
  '2024-10-21',
  '2024-12-01-preview',
  '2025-01-01-preview',
  '2025-03-01-preview',
  '2025-04-01-preview',
] as const;

/** An api-version starts with its date, so versions compare as text. */
const classic = (version: string): Surface => ({
  dialect: 'azure',
  root: '/openai',
  query: `?api-version=${version}`,
  createStatus: version >= '2024-12-01' ? 201 : 200,
  uploadStatus: 201,
  tokenHeaders: version >= '2024-10-01',
  filters: version >= '2024-10-01',
  fileExpiry: version >= '2025-03-01',
  outputExpiry: version >= '2025-04-01',
});

const everything = { query: '', tokenHeaders: true, filters: true, fileExpiry: true, outputExpiry: true };
const azureV1: Surface = {
  ...everything,
  dialect: 'azure',
  root: '/openai/v1',
  createStatus: 201,
  uploadStatus: 201,
};
const openai: Surface = {
  ...everything,
  dialect: 'openai',
  root: '/v1',
  createStatus: 200,
  uploadStatus: 200,
};

export function resolveTarget(url: string): Target {
  const queryStart = url.indexOf('?');
  const query = queryStart === -1 ? '' : url.slice(queryStart);
  // Base URLs often end in a slash and paths start with one.
  const path = (queryStart === -1 ? url : url.slice(0, queryStart)).replaceAll(/\/{2,}/g, '/');

  const underV1 = below(path, '/openai/v1');
  if (underV1 !== undefined) return wire(azureV1, underV1 + query, refusalOfV1(query));
  const underOpenai = below(path, '/v1');
  if (underOpenai !== undefined) return wire(openai, underOpenai + query, undefined);
  // One page of the original's documentation leaves out `/openai` before `/batches`.
  const underClassic = below(path, '/openai') ?? (below(path, '/batches') === undefined ? undefined : path);
  if (underClassic !== undefined) return resolveClassic(underClassic, query);

  const served = ['/healthz', '/openapi.json', '/docs'].some((root) => below(path, root) !== undefined);
  return {
    surface: azureV1,
    url: served ? path + query : NOWHERE,
    needsKey: false,
    refusal: undefined,
  };
}

/** The rest of `path` under `root`; undefined when it lies elsewhere. */
function below(path: string, root: string): string | undefined {
  if (path === root) return '';
  return path.startsWith(`${root}/`) ? path.slice(root.length) : undefined;
}

function wire(surface: Surface, url: string, refusal: ApiError | undefined): Target {
  return { surface, url: WIRE + url, needsKey: true, refusal };
}

function resolveClassic(path: string, query: string): Target {
  // SDKs that are given a deployment put it before `/batches`.
  const rest = path.replace(/^\/deployments\/[^/]+(?=\/batches(?:\/|$))/, '') + query;
  const version = apiVersion(query);
  const known = CLASSIC_VERSIONS.find((supported) => supported === version);
  if (known !== undefined) return wire(classic(known), rest, undefined);
  return wire(classic('2024-10-21'), rest, refusalOfVersion(version));
}

const apiVersion = (query: string): string | null => new URLSearchParams(query).get('api-version');

function refusalOfVersion(version: string | null): ApiError {
  if (version === null) return new ApiError('routeNotFound', 'Resource not found');
  const supported = CLASSIC_VERSIONS.join(', ');
  return new ApiError('badRequest', `API version not supported. Supported versions: ${supported}.`);
}

function refusalOfV1(query: string): ApiError | undefined {
  const version = apiVersion(query);
  if (version === null || version === 'v1' || version === 'preview') return undefined;
  return new ApiError('badRequest', 'api-version query parameter is not allowed when using /v1 path');
}
