/** The address of a caller is the other end of the connection, or what a trusted proxy there names. */
import type { FastifyInstance } from 'fastify';
import type { IncomingMessage } from 'node:http';
import { inRanges, plainAddress, type IpRange } from '../../core/ip-ranges.ts';

declare module 'fastify' {
  interface FastifyRequest {
    /** The address of the caller. */
    caller: string;
  }
}

export function setCallerAddress(app: FastifyInstance, addresses: CallerAddresses): void {
  app.decorateRequest('caller', '');
  app.addHook('onRequest', async (request) => {
    request.caller = addresses.of(request.raw);
  });
}

export interface CallerAddresses {
  isProxy(address: string): boolean;
  of(request: IncomingMessage): string;
}

export function callerAddresses(trustedProxies: readonly IpRange[]): CallerAddresses {
  const isProxy = inRanges(trustedProxies);
  return {
    isProxy: (address) => isProxy(plainAddress(address) ?? ''),
    of({ socket, headers }) {
      const peer = plainAddress(socket.remoteAddress ?? '') ?? '';
      if (!isProxy(peer)) return peer;
      const chains = [hopsOf(headers['x-forwarded-for']), hopsOf(forwardedFor(headers.forwarded))];
      const named = chains.flatMap((hops) => (hops === undefined ? [] : [farthest(peer, hops, isProxy)]));
      const [first = peer] = named;
      // A proxy sets one of the two headers. It may pass the other on as a caller made it up.
      return named.every((address) => address === first) ? first : peer;
    },
  };
}

/** Goes back from the connection, as long as a trusted proxy says who was before it. */
function farthest(peer: string, hops: readonly string[], isProxy: (address: string) => boolean): string {
  let known = peer;
  for (const hop of hops.toReversed()) {
    const address = plainAddress(hop);
    if (address === undefined) return known;
    known = address;
    if (!isProxy(address)) return known;
  }
  return known;
}

function hopsOf(header: string | readonly string[] | undefined): string[] | undefined {
  if (header === undefined) return undefined;
  return [header]
    .flat()
    .join(',')
    .split(',')
    .map((hop) => hop.trim());
}

/** RFC 7239: `for=192.0.2.60;proto=http, for="[2001:db8::1]:4711"`. */
function forwardedFor(header: string | undefined): string | undefined {
  return header
    ?.split(',')
    .map((hop) => /(?:^|;)\s*for=\s*"?([^";]*)"?/i.exec(hop)?.[1] ?? '')
    .join(',');
}
