/** Who calls an ARM route, and how the caller names this service. */
import type { FastifyRequest } from 'fastify';
import { resourceOfHost } from '../address/resource.ts';

export const actorOf = (request: FastifyRequest): string => request.principal.scope.actor;

export const mayRead = ({ principal }: FastifyRequest, resourceId: string): boolean =>
  principal.allows('accounts/read', resourceId);

/**
 * The address of a resource's data plane. It names the resource in the host where the caller's own host does, and in the
 * path otherwise, since not every resolver knows names below `localhost`.
 */
export function endpointOf(
  { protocol, host }: FastifyRequest,
  resourceId: string,
  domains: readonly string[],
): string {
  const named = resourceOfHost(host, domains);
  return named === undefined
    ? `${protocol}://${host}/${resourceId}/`
    : `${protocol}://${resourceId}${host.slice(named.length)}/`;
}
