/**
 * Which API a request speaks to, and which resource it addresses. Decided once per request, from URL and host alone,
 * before routing: the surfaces of the data plane share one router, whose paths start with `WIRE`; those of the control
 * plane start with `CONTROL`. Source: docs/contract.md §0, §1, §7.
 */
import { ApiError, type Dialect } from '../../contract/error.ts';
import { DEFAULT_RESOURCE_ID } from '../../contract/scope.ts';
import { addressOfPath, resourceOfHost } from './resource.ts';
import { CONTROL } from './router-paths.ts';
import { toControlPath } from './arm-path.ts';

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
  /** Whose door it is: everybody's (health, documentation), a resource's data, or the operators'. */
  readonly plane: 'open' | 'data' | 'control';
  /** The addressed resource, which may not exist. The control plane's routes name their own. */
  readonly resource: string;
  /** Why the surface turns the request away, told only to callers that the plane knows. */
  readonly refusal: ApiError | undefined;
}

export const WIRE = '/wire';
const NOWHERE = '/nowhere';

export const CLASSIC_VERSIONS = [
  '2024-07-01-preview',
  '2024-08-01-preview',
  '2024-09-01-preview',
  '2024-10-01-preview',
  '2024-10-21',
  '2024-12-01-preview',
  '2025-01-01-preview',
  '2025-02-01-preview',
  '2025-03-01-preview',
  '2025-04-01-preview',
] as const;

/** An api-version starts with its date, so versions compare as text. */
const classic = (root: string, version: string): Surface => ({
  dialect: 'azure',
  root,
  query: `?api-version=${version}`,
  createStatus: version >= '2024-12-01' ? 201 : 200,
  uploadStatus: 201,
  tokenHeaders: version >= '2024-10-01',
  filters: version >= '2024-10-01',
  fileExpiry: version >= '2025-03-01',
  outputExpiry: version >= '2025-04-01',
});

const everything = { query: '', tokenHeaders: true, filters: true, fileExpiry: true, outputExpiry: true };
const azureV1 = (root: string): Surface => ({
  ...everything,
  dialect: 'azure',
  root,
  createStatus: 201,
  uploadStatus: 201,
});
const openai = (root: string): Surface => ({
  ...everything,
  dialect: 'openai',
  root,
  createStatus: 200,
  uploadStatus: 200,
});

export interface Addressing {
  /** What follows a resource's name in a host: `localhost`, `openai.azure.com`. */
  readonly resourceDomains: readonly string[];
}

export function resolveTarget(
  url: string,
  host: string | undefined,
  { resourceDomains }: Addressing,
): Target {
  const queryStart = url.indexOf('?');
  const query = queryStart === -1 ? '' : url.slice(queryStart);
  // Base URLs often end in a slash and paths start with one.
  const whole = (queryStart === -1 ? url : url.slice(0, queryStart)).replaceAll(/\/{2,}/g, '/');
  const byHost = resourceOfHost(host, resourceDomains);
  const { resource: byPath, prefix, path } = addressOfPath(whole);

  const found = onDataPlane(path, query, prefix);
  if (found === undefined) return onOtherPlanes(whole, query);
  const conflict = byHost !== undefined && byPath !== undefined && byHost !== byPath;
  if (conflict) return { ...open(NOWHERE), surface: found.surface, refusal: twoResources(byHost, byPath) };
  return { ...found, plane: 'data', resource: byPath ?? byHost ?? DEFAULT_RESOURCE_ID };
}

type Wire = Pick<Target, 'surface' | 'url' | 'refusal'>;

function onDataPlane(path: string, query: string, prefix: string): Wire | undefined {
  const underV1 = below(path, '/openai/v1');
  if (underV1 !== undefined) return wire(azureV1(`${prefix}/openai/v1`), underV1 + query, refusalOfV1(query));
  const underOpenai = below(path, '/v1');
  if (underOpenai !== undefined)
    return wire(openai(`${prefix}/v1`), underOpenai + query, refusalOfTwo(query));
  // One page of the original's documentation leaves out `/openai` before `/batches`.
  const underClassic = below(path, '/openai') ?? (below(path, '/batches') === undefined ? undefined : path);
  return underClassic === undefined ? undefined : resolveClassic(`${prefix}/openai`, underClassic, query);
}

const OPEN_ROOTS = ['/healthz', '/openapi.json', '/docs'];

function onOtherPlanes(path: string, query: string): Target {
  if (below(path, '/audit') !== undefined) return control(CONTROL + path + query, undefined);
  if (below(path.toLowerCase(), '/subscriptions') !== undefined)
    return control((toControlPath(path) ?? NOWHERE) + query, refusalOfControl(query));
  if (path === '/' || path === '') return open(`/${query}`);
  return open(OPEN_ROOTS.some((root) => below(path, root) !== undefined) ? path + query : NOWHERE);
}

/** Refuses what it refuses in the words of Azure. */
const elsewhere = { surface: azureV1(''), resource: '', refusal: undefined };
const open = (url: string): Target => ({ ...elsewhere, url, plane: 'open' });
const control = (url: string, refusal: ApiError | undefined): Target => ({
  ...elsewhere,
  url,
  plane: 'control',
  refusal,
});

/** The rest of `path` under `root`; undefined when it lies elsewhere. */
function below(path: string, root: string): string | undefined {
  if (path === root) return '';
  return path.startsWith(`${root}/`) ? path.slice(root.length) : undefined;
}

function wire(surface: Surface, url: string, refusal: ApiError | undefined): Wire {
  return { surface, url: WIRE + url, refusal };
}

function resolveClassic(root: string, path: string, query: string): Wire {
  // SDKs that are given a deployment put it before `/batches`.
  const rest = path.replace(/^\/deployments\/[^/]+(?=\/batches(?:\/|$))/, '') + query;
  const version = apiVersion(query);
  const known = CLASSIC_VERSIONS.find((supported) => supported === version);
  if (known !== undefined) return wire(classic(root, known), rest, refusalOfTwo(query));
  return wire(classic(root, '2024-10-21'), rest, refusalOfVersion(version));
}

const apiVersion = (query: string): string | null => apiVersions(query)[0] ?? null;

/** The original reads the names of parameters in any case. */
const apiVersions = (query: string): string[] =>
  [...new URLSearchParams(query)]
    .filter(([name]) => name.toLowerCase() === 'api-version')
    .map(([, value]) => value);

/** Two readers of such a request could see two different versions. */
function refusalOfTwo(query: string): ApiError | undefined {
  if (apiVersions(query).length < 2) return undefined;
  return new ApiError('badRequest', 'The query parameter api-version was sent twice. Send it once.');
}

function refusalOfVersion(version: string | null): ApiError {
  if (version === null) return new ApiError('routeNotFound', 'Resource not found');
  const supported = CLASSIC_VERSIONS.join(', ');
  return new ApiError('badRequest', `API version not supported. Supported versions: ${supported}.`);
}

function refusalOfV1(query: string): ApiError | undefined {
  const version = apiVersion(query);
  if (version === null || version === 'v1' || version === 'preview') return refusalOfTwo(query);
  return new ApiError('badRequest', 'api-version query parameter is not allowed when using /v1 path');
}

function refusalOfControl(query: string): ApiError | undefined {
  const version = apiVersion(query);
  if (version === null || version === '')
    return new ApiError(
      'missingApiVersion',
      'The api-version query parameter (?api-version=) is required for all requests.',
    );
  if (/^\d{4}-\d{2}-\d{2}(?:-preview)?$/.test(version)) return refusalOfTwo(query);
  return new ApiError(
    'badRequest',
    `The api-version '${version.slice(0, 40)}' is invalid. It must be a date, as 2025-09-01 or 2025-10-01-preview.`,
  );
}

const twoResources = (byHost: string, byPath: string): ApiError =>
  new ApiError(
    'badRequest',
    `The host addresses the resource '${byHost}', and the path '${byPath}'. Name it in one of them, or the same in both.`,
  );
