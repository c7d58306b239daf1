/** Who calls an ARM route, and how the caller names this service. */
import type { FastifyRequest } from 'fastify';

export const actorOf = (request: FastifyRequest): string => request.principal.scope.actor;

export const mayRead = ({ principal }: FastifyRequest, resourceId: string): boolean =>
  principal.allows('accounts/read', resourceId);

/** The address of a resource's data plane, in the form in which the caller addressed the control plane. */
export function endpointOf(request: FastifyRequest, resourceId: string): string {
  return `${request.protocol}://${request.host}/${resourceId}/`;
}
