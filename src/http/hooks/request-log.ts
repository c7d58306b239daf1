import type { FastifyInstance, FastifyRequest } from 'fastify';
import type { Log } from '../../core/log.ts';
import { CONTROL_PLANE, DATA_PLANE } from '../address/router-paths.ts';

/** Logs named fields alone: no query, no body, no header. */
export function logRequests(app: FastifyInstance, log: Log): void {
  app.addHook('onResponse', async (request, reply) => {
    const call = {
      request: request.id,
      method: request.method,
      // The pattern lets calls of one kind be found together. It has the root that the caller used.
      route: shownRoute(request),
      status: reply.statusCode,
      ms: Math.round(reply.elapsedTime),
    };
    if (isProbe(request)) return log.event('request.probe', call);
    const { resourceId: resource, actor } = request.principal?.scope ?? {};
    log.event('request', { ...call, resource, actor, caller: request.caller, ...idIn(request) });
  });
}

/** Load balancers and orchestrators ask every few seconds. */
const isProbe = ({ method, routeOptions }: FastifyRequest): boolean =>
  routeOptions.url === '/healthz' && (method === 'GET' || method === 'HEAD');

function shownRoute({ routeOptions, target }: FastifyRequest): string {
  const { url = 'none' } = routeOptions;
  if (url.startsWith(CONTROL_PLANE)) return url.slice(CONTROL_PLANE.length);
  return url.replace(DATA_PLANE, target.surface.root);
}

const OUR_ID = /^(batch|file)[_-][0-9a-f-]{32,36}$/;

/** Only an id of ours is logged. Anything else in its place may be a secret that was pasted there. */
function idIn({ params }: FastifyRequest): { readonly batch?: string; readonly file?: string } {
  const id = typeof params === 'object' && params !== null && 'id' in params ? params.id : undefined;
  const kind = typeof id === 'string' ? OUR_ID.exec(id)?.[1] : undefined;
  return kind === undefined ? {} : { [kind]: id };
}
