/** Access control: who calls, and what that caller may do. It comes before parameters are checked and a body is read. */
import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify';
import type { IncomingHttpHeaders } from 'node:http';
import type { Action } from '../../contract/control.ts';
import { ApiError } from '../../contract/error.ts';
import type { Clock } from '../../core/clock.ts';
import type { Authenticate, Credential, Principal } from '../../identity/port.ts';
import { CONTROL_PLANE, DATA_PLANE } from '../address/router-paths.ts';
import { FailureLimiter } from './failure-limiter.ts';
import type { Target } from '../address/target.ts';

declare module 'fastify' {
  interface FastifyContextConfig {
    /** What callers must be allowed on the addressed resource. A route with `none` refuses everybody. */
    action?: Action | 'none';
    /**
     * For routes of the control plane that name no resource. `every`, the default, asks for the action on the service
     * as a whole. With `some` one resource is enough, and the route shows what `principal.allows` lets it.
     */
    reach?: 'every' | 'some';
  }
  interface FastifyRequest {
    /** Who calls. It is set on every route under `DATA_PLANE` and `CONTROL_PLANE`. */
    principal: Principal;
  }
}

interface AccessOptions {
  readonly authenticate: Authenticate;
  readonly clock: Clock;
  readonly authFailuresPerMinuteMax: number;
}

export function enforceAccess(app: FastifyInstance, options: AccessOptions): void {
  const failures = new FailureLimiter(options.clock, options.authFailuresPerMinuteMax);
  app.decorateRequest('principal');

  app.addHook('onRoute', ({ url, method, config }) => {
    const isGuarded = url.startsWith(DATA_PLANE) || url.startsWith(CONTROL_PLANE);
    if (isGuarded && config?.action === undefined)
      throw new Error(
        `The route ${String(method)} ${url} does not say what callers must be allowed: config.action.`,
      );
  });

  app.addHook('onRequest', async (request, reply) => {
    const { target } = request;
    if (target.plane !== 'public') {
      request.principal = await identify(request, target, { authenticate: options.authenticate, failures });
      if (target.refusal === undefined) authorize(request, reply);
    }
    if (target.refusal !== undefined) throw target.refusal;
  });
}

async function identify(
  request: FastifyRequest,
  { plane, resource, surface }: Target,
  { authenticate, failures }: { readonly authenticate: Authenticate; readonly failures: FailureLimiter },
): Promise<Principal> {
  const isControlPlane = plane === 'control';
  const credential = presentedCredential(request.headers);
  const outcome = await authenticate(
    credential,
    isControlPlane ? { plane, resourceId: namedResource(request) } : { plane: 'data', resourceId: resource },
  );
  switch (outcome.kind) {
    case 'known':
      return outcome.principal;
    case 'unknown': {
      const retryAfterS = failures.count(request.caller);
      if (retryAfterS !== undefined)
        throw new ApiError(
          'tooManyRequests',
          `Too many requests with a wrong key or token. Try again in ${retryAfterS} seconds.`,
          { retryAfterS },
        );
      throw isControlPlane ? refuseOperator(credential) : refuseCaller(request.headers, surface.dialect);
    }
    case 'key_auth_disabled':
      throw new ApiError('keyAuthDisabled', 'Key based authentication is disabled for this resource.');
    case 'issuer_unavailable':
      throw new ApiError(
        'notReady',
        'The token cannot be checked: the keys of its issuer cannot be fetched just now. Try again soon.',
        { retryAfterS: outcome.retryAfterS },
      );
  }
}

/** OpenAI's and Azure's clients send a key in `api-key`, and a key or a token as `Authorization: Bearer`. */
export function presentedCredential(headers: IncomingHttpHeaders): Credential {
  const apiKey = headers['api-key'];
  if (typeof apiKey === 'string' && apiKey !== '') return { kind: 'key', value: apiKey };
  const value = /^Bearer +(\S+)$/i.exec(headers.authorization ?? '')?.[1];
  if (value === undefined) return { kind: 'none' };
  return { kind: isJwt(value) ? 'token' : 'key', value };
}

const isJwt = (value: string): boolean => /^eyJ[^.]*\.[^.]*\.[^.]*$/.test(value);

/** The original answers a bad bearer token and a bad key in different words and shapes (docs/contract.md §8). */
function refuseCaller(headers: IncomingHttpHeaders, dialect: Target['surface']['dialect']): ApiError {
  const missing = headers['api-key'] === undefined && headers.authorization === undefined;
  if (dialect === 'openai')
    return new ApiError(
      'unauthorized',
      missing
        ? "You didn't provide an API key. Send it in an Authorization header with Bearer auth (Authorization: Bearer YOUR_KEY)."
        : 'Incorrect API key provided. Check the key of the resource.',
    );
  if (headers.authorization !== undefined && headers['api-key'] === undefined)
    return new ApiError(
      'tokenRejected',
      'Unauthorized. Access token is missing, invalid, audience is incorrect (https://cognitiveservices.azure.com), or have expired.',
    );
  return new ApiError(
    'unauthorized',
    'Access denied due to invalid subscription key or wrong API endpoint. Make sure to provide a valid key for an active subscription and use a correct regional API endpoint for your resource.',
  );
}

function refuseOperator({ kind }: Credential): ApiError {
  if (kind === 'none')
    return new ApiError(
      'authenticationFailed',
      "Authentication failed. The 'Authorization' header is missing. Send the admin key or a token in it, as 'Bearer ...'.",
    );
  return new ApiError(
    'invalidAuthenticationToken',
    'The access token or admin key is invalid, expired, or meant for another service. The keys of a resource do not open the control plane.',
  );
}

/** A refusal has the same words whether the resource exists or not. */
function authorize(request: FastifyRequest, reply: FastifyReply): void {
  const { target, principal } = request;
  const { action = 'none', reach = 'every' } = request.routeOptions.config;
  if (action === 'none') return;
  if (target.plane === 'data') {
    if (!principal.allows(action, target.resource)) throw refuseOperation(request, action);
    if (principal.location === null)
      throw new ApiError('resourceNotFound', `No resource is named '${target.resource}'. Check the address.`);
    if (target.surface.dialect === 'azure') reply.header('x-ms-region', principal.location);
    return;
  }
  const resource = namedResource(request);
  const allowed =
    resource === '' && reach === 'some'
      ? principal.allowsSome(action)
      : principal.allows(action, resource === '' ? null : resource);
  if (!allowed) throw refuseAuthorization(request, action);
}

/** The resource in the path of a route of the control plane. */
function namedResource({ params }: FastifyRequest): string {
  const account: unknown = typeof params === 'object' && params !== null && Reflect.get(params, 'account');
  return typeof account === 'string' ? account : '';
}

function refuseOperation(request: FastifyRequest, action: Action): ApiError {
  const { principal, target } = request;
  const dataAction = `Microsoft.CognitiveServices/${action}`;
  if (target.surface.dialect === 'openai')
    return new ApiError(
      'permissionDenied',
      `You have insufficient permissions for this operation. The principal '${principal.id}' lacks '${dataAction}'. Ask for a role on the resource that has it.`,
    );
  return new ApiError(
    'permissionDenied',
    `The principal \`${principal.id}\` lacks the required data action \`${dataAction}\` to perform \`${operationOf(request)}\` operation.`,
  );
}

const PARAMETERS: Readonly<Record<string, string>> = {
  files: '{file-id}',
  batches: '{batch-id}',
  deployments: '{deployment-id}',
  models: '{model-id}',
  uploads: '{upload-id}',
};

/** The original names what was tried in this way: `POST /openai/batches/{batch-id}/cancel`. */
function operationOf({ method, routeOptions }: FastifyRequest): string {
  const path = (routeOptions.url ?? '')
    .slice(DATA_PLANE.length)
    .replaceAll(/\/([a-z]+)\/:[^/]+/g, (_all, kind: string) => `/${kind}/${PARAMETERS[kind] ?? '{id}'}`);
  return `${method} /openai${path}`;
}

const SCOPE_CHARS_MAX = 500;

/** Some routes use it too: they learn only from the query or the body what a caller wants. */
export function refuseAuthorization(request: FastifyRequest, action: Action): ApiError {
  const { id } = request.principal;
  const [path = ''] = request.originalUrl.split('?');
  return new ApiError(
    'authorizationFailed',
    `The client '${id}' with object id '${id}' does not have authorization to perform action 'Microsoft.CognitiveServices/${action}' over scope '${path.slice(0, SCOPE_CHARS_MAX)}' or the scope is invalid. If access was recently granted, please refresh your credentials.`,
  );
}
