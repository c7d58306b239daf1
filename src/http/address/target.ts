/**
 * Which plane, surface and resource a request speaks to. URL and host alone decide it, once per request and before
 * routing. Source: docs/contract.md §0, §1, §7.
 */
import type { IncomingMessage } from 'node:http';
import { ApiError } from '../../contract/error.ts';
import { DEFAULT_RESOURCE_ID } from '../../contract/scope.ts';
import {
  classicRefusal,
  classicVersion,
  controlPlaneRefusal,
  repeatRefusal,
  v1Refusal,
} from './api-version.ts';
import { toControlPlanePath } from './arm-path.ts';
import { addressOfPath, resourceOfHost } from './resource.ts';
import { CONTROL_PLANE, DATA_PLANE, PUBLIC_ROOTS } from './router-paths.ts';
import { azureV1, classic, openai, type Surface } from './surface.ts';

export interface Target {
  readonly surface: Surface;
  /** What the router sees, query included. */
  readonly url: string;
  /** `data` is of one resource. `control` is for operators. `public` is health and documentation, without a key. */
  readonly plane: 'data' | 'control' | 'public';
  /** The addressed resource, which may not exist. Routes of the control plane name their own. */
  readonly resource: string;
  /** Why the surface refuses the request. Only callers that the plane knows are told. */
  readonly refusal: ApiError | undefined;
}

declare module 'fastify' {
  interface FastifyRequest {
    target: Target;
  }
}

interface Addressing {
  /** What follows a resource's name in a host: `localhost`, `openai.azure.com`. */
  readonly resourceDomains: readonly string[];
}

/** The targets of requests under way. Each is resolved when the router asks for its URL. */
export class Targets {
  readonly #addressing: Addressing;
  readonly #resolved = new WeakMap<IncomingMessage, Target>();
  constructor(addressing: Addressing) {
    this.#addressing = addressing;
  }

  resolve(raw: IncomingMessage): Target {
    const target = resolveTarget(raw.url ?? '/', raw.headers.host, this.#addressing);
    this.#resolved.set(raw, target);
    return target;
  }

  of(raw: IncomingMessage): Target {
    return this.#resolved.get(raw) ?? this.resolve(raw);
  }
}

export function resolveTarget(
  url: string,
  host: string | undefined,
  { resourceDomains }: Addressing,
): Target {
  const queryStart = url.indexOf('?');
  const query = queryStart === -1 ? '' : url.slice(queryStart);
  // Base URLs often end in a slash, and paths start with one.
  const path = (queryStart === -1 ? url : url.slice(0, queryStart)).replaceAll(/\/{2,}/g, '/');
  return (
    onDataPlane(path, query, resourceOfHost(host, resourceDomains)) ??
    onControlPlane(path, query) ??
    onPublicPlane(path, query)
  );
}

function onDataPlane(whole: string, query: string, byHost: string | undefined): Target | undefined {
  const { resource: byPath, prefix, path } = addressOfPath(whole);
  const found = surfaceOf(path, query, prefix);
  if (found === undefined) return undefined;
  const { surface, rest, refusal } = found;
  if (byHost !== undefined && byPath !== undefined && byHost !== byPath)
    return { ...onPublic(NOWHERE), surface, refusal: twoResources(byHost, byPath) };
  const resource = byPath ?? byHost ?? DEFAULT_RESOURCE_ID;
  return { surface, refusal, url: DATA_PLANE + rest + query, plane: 'data', resource };
}

interface Found extends Pick<Target, 'surface' | 'refusal'> {
  /** The path below the root of the surface. */
  readonly rest: string;
}

function surfaceOf(path: string, query: string, prefix: string): Found | undefined {
  const underV1 = below(path, '/openai/v1');
  if (underV1 !== undefined)
    return { surface: azureV1(`${prefix}/openai/v1`), rest: underV1, refusal: v1Refusal(query) };
  const underOpenai = below(path, '/v1');
  if (underOpenai !== undefined)
    return { surface: openai(`${prefix}/v1`), rest: underOpenai, refusal: repeatRefusal(query) };
  // One page of the original's documentation leaves out `/openai` before `/batches`.
  const underClassic = below(path, '/openai') ?? (below(path, '/batches') === undefined ? undefined : path);
  if (underClassic === undefined) return undefined;
  return {
    surface: classic(`${prefix}/openai`, classicVersion(query) ?? '2024-10-21'),
    // SDKs that are given a deployment put it before `/batches`.
    rest: underClassic.replace(/^\/deployments\/[^/]+(?=\/batches(?:\/|$))/, ''),
    refusal: classicRefusal(query),
  };
}

/** These planes refuse in Azure's words what they refuse. */
const elsewhere = { surface: azureV1(''), resource: '', refusal: undefined };

function onControlPlane(path: string, query: string): Target | undefined {
  const plane = 'control';
  if (below(path, '/audit') !== undefined) return { ...elsewhere, plane, url: CONTROL_PLANE + path + query };
  if (below(path.toLowerCase(), '/subscriptions') === undefined) return undefined;
  const url = (toControlPlanePath(path) ?? NOWHERE) + query;
  return { ...elsewhere, plane, url, refusal: controlPlaneRefusal(query) };
}

const NOWHERE = '/nowhere';

function onPublicPlane(path: string, query: string): Target {
  if (path === '/' || path === '') return onPublic(`/${query}`);
  return onPublic(PUBLIC_ROOTS.some((root) => below(path, root) !== undefined) ? path + query : NOWHERE);
}

const onPublic = (url: string): Target => ({ ...elsewhere, url, plane: 'public' });

/** Returns the rest of `path` under `root`, or undefined when it lies elsewhere. */
function below(path: string, root: string): string | undefined {
  if (path === root) return '';
  return path.startsWith(`${root}/`) ? path.slice(root.length) : undefined;
}

const twoResources = (byHost: string, byPath: string): ApiError =>
  new ApiError(
    'badRequest',
    `The host addresses the resource '${byHost}', and the path '${byPath}'. Name it in one of them, or the same in both.`,
  );
