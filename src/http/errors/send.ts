import type { FastifyReply, FastifyRequest } from 'fastify';
import { API_ERRORS } from '../../contract/error.ts';
import type { HttpDeps } from '../deps.ts';
import { isFatal, toApiError } from './api-error.ts';
import { renderError } from './render.ts';

/** They describe the answer that failed, and must not go out with the error. */
const HEADERS_OF_CONTENT = [
  'content-length',
  'content-disposition',
  'etag',
  'accept-ranges',
  'x-incomplete',
  'x-last-line',
];

/** Answers with an error in the caller's dialect. A fault of the service is logged; a fatal one ends the process. */
export function sendError(
  error: unknown,
  request: FastifyRequest,
  reply: FastifyReply,
  { log, onFatal }: Pick<HttpDeps, 'log' | 'onFatal'>,
): void {
  const apiError = toApiError(error);
  if (API_ERRORS[apiError.code].status >= 500)
    log.event('request.failed', {
      request: request.id,
      reason: apiError.code,
      error: error instanceof Error ? (error.stack ?? error.message) : String(error),
    });
  if (isFatal(error)) onFatal(error);
  const { status, headers, body } = renderError(apiError, request.target.surface.dialect);
  for (const name of HEADERS_OF_CONTENT) reply.removeHeader(name);
  void reply.code(status).headers(headers).type('application/json; charset=utf-8').send(body);
}
