import type { FastifyInstance } from 'fastify';
import type { IncomingMessage, ServerResponse } from 'node:http';

/** A caller that says `Expect: 100-continue` is told to go on once all `onRequest` hooks have let it pass. */
export function continueOnceAllowed(app: FastifyInstance): void {
  const waiting = new WeakMap<ServerResponse, { readonly keepAlive: boolean }>();
  app.server.on('checkContinue', (request: IncomingMessage, response: ServerResponse) => {
    waiting.set(response, { keepAlive: response.shouldKeepAlive });
    // Nobody can know whether the body of a refused request still comes, so nothing after it could be read.
    response.shouldKeepAlive = false;
    app.server.emit('request', request, response);
  });
  app.addHook('preParsing', async (_request, { raw }) => {
    const waits = waiting.get(raw);
    if (waits === undefined) return;
    raw.shouldKeepAlive = waits.keepAlive;
    raw.writeContinue();
  });
}
