import type { FastifyInstance } from 'fastify';
import { ApiError } from '../../contract/error.ts';
import type { HttpLimits } from '../deps.ts';

/** Once the server closes, new requests are refused, and answers under way have `closeGraceMs` to end. */
export function refuseWhileClosing(
  app: FastifyInstance,
  { closeGraceMs }: Pick<HttpLimits, 'closeGraceMs'>,
): void {
  let closing = false;
  app.addHook('preClose', async () => {
    closing = true;
    setTimeout(() => app.server.closeAllConnections(), closeGraceMs).unref();
  });
  app.addHook('onRequest', async () => {
    if (closing)
      throw new ApiError('notReady', 'The service is stopping. Try again soon.', { retryAfterS: 5 });
  });
}
