import type { FastifyReply, FastifyRequest } from 'fastify';

/** The headers that every answer has, errors too. */
export function standardHeaders(request: FastifyRequest, reply: FastifyReply): void {
  reply.header('x-request-id', request.id).header('x-content-type-options', 'nosniff');
  if (request.target.surface.dialect === 'azure') reply.header('apim-request-id', request.id);
  // ARM's clients report this one.
  if (request.target.plane === 'control') reply.header('x-ms-request-id', request.id);
  if (request.protocol === 'https')
    reply.header('strict-transport-security', 'max-age=31536000; includeSubDomains');
}
