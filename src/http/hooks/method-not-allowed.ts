import type { FastifyInstance, HTTPMethods } from 'fastify';
import { ApiError } from '../../contract/error.ts';

const METHODS: readonly HTTPMethods[] = ['GET', 'HEAD', 'POST', 'PUT', 'PATCH', 'DELETE', 'OPTIONS'];

/** A path that exists answers 405, not 404, to a method that it does not have. Call the result after all routes. */
export function refuseOtherMethods(app: FastifyInstance): () => void {
  const methods = new Map<string, Set<string>>();
  app.addHook('onRoute', ({ url, method }) => {
    const known = methods.get(url) ?? new Set();
    for (const name of [method].flat()) known.add(name);
    methods.set(url, known);
  });
  const register = async (others: FastifyInstance): Promise<void> => {
    for (const [url, known] of methods) {
      const allow = [...known].join(', ');
      others.route({
        url,
        method: METHODS.filter((method) => !known.has(method)),
        schema: { hide: true },
        config: { action: 'none' },
        onRequest: async (request, reply) => {
          reply.header('allow', allow);
          const path = request.originalUrl.split('?')[0] ?? '';
          throw new ApiError(
            'methodNotAllowed',
            `${request.method} is not allowed on ${path}. Use ${allow}.`,
          );
        },
        handler: async () => undefined,
      });
    }
  };
  return () => void app.register(register);
}
