import multipart from '@fastify/multipart';
import type { FastifyInstance } from 'fastify';
import type { IncomingMessage } from 'node:http';
import { ApiError } from '../../contract/error.ts';

/** Bodies are JSON or a form, and not compressed: the service undoes no Content-Encoding. */
export function takePlainBodies(app: FastifyInstance): void {
  app.removeAllContentTypeParsers();
  app.addContentTypeParser('application/json', { parseAs: 'string' }, (_request, text: string, done) => {
    if (text.trim() === '') return done(null, undefined);
    try {
      done(null, JSON.parse(text));
    } catch (cause) {
      const why = cause instanceof Error ? cause.message : String(cause);
      done(new ApiError('badRequest', `The request body is not valid JSON: ${why}.`, { cause }));
    }
  });
  void app.register(multipart);

  app.addHook('onRequest', async ({ raw, headers }, reply) => {
    // SDKs announce JSON on calls that have no body.
    if (!hasBody(raw)) delete headers['content-type'];
    const coding = headers['content-encoding']?.trim().toLowerCase() ?? '';
    if (!hasBody(raw) || coding === '' || coding === 'identity') return;
    reply.header('accept-encoding', 'identity');
    throw new ApiError(
      'unsupportedMediaType',
      `The body is sent with Content-Encoding '${coding.slice(0, CODING_CHARS_MAX)}'. Send it uncompressed, without that header.`,
    );
  });
}

const CODING_CHARS_MAX = 40;

export const hasBody = ({ headers }: IncomingMessage): boolean =>
  headers['transfer-encoding'] !== undefined || Number(headers['content-length'] ?? 0) > 0;
