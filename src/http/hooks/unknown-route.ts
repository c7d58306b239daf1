import type { FastifyInstance, FastifyRequest } from 'fastify';
import { ApiError } from '../../contract/error.ts';

const SHOWN_PATH_MAX = 200;

/** Refuses a path that no route has, before its body is read. */
export function refuseUnknownRoutes(app: FastifyInstance): void {
  app.addHook('onRequest', async (request) => {
    if (request.is404) throw routeNotFound(request);
  });
}

/** The words are those of the originals. The query is left out, since queries carry secrets. */
function routeNotFound({ method, originalUrl }: FastifyRequest): ApiError {
  const path = originalUrl.split('?')[0]?.slice(0, SHOWN_PATH_MAX);
  // The answer to HEAD has the headers of GET, and the length of the body is one of them.
  const shownMethod = method === 'HEAD' ? 'GET' : method;
  return new ApiError('routeNotFound', 'Resource not found', {
    openai: { message: `Invalid URL (${shownMethod} ${path})`, param: null },
  });
}
