/** Limits how much one address may have open at once. Callers on the machine itself are not counted. */
import type { FastifyInstance } from 'fastify';
import type { IncomingMessage, Server } from 'node:http';
import type { Socket } from 'node:net';
import { ApiError } from '../../contract/error.ts';
import type { CallerAddresses } from './caller-address.ts';

interface CallerLimits {
  readonly perAddressMax: number;
  readonly addresses: CallerAddresses;
}

/** A trusted proxy has as many connections as it needs. `limitProxied` counts its callers. */
export function limitConnections(server: Server, { perAddressMax, addresses }: CallerLimits): void {
  const open = new OpenByAddress(perAddressMax);
  server.on('connection', (socket: Socket) => {
    const address = socket.remoteAddress ?? '';
    if (isLoopback(address) || addresses.isProxy(address)) return;
    const close = open.take(address);
    if (close === undefined) socket.destroy();
    else socket.once('close', close);
  });
}

/** A caller behind a proxy has no connection of its own. Its requests under way are counted. */
export function limitProxied(app: FastifyInstance, { perAddressMax, addresses }: CallerLimits): void {
  const open = new OpenByAddress(perAddressMax);
  app.addHook('onRequest', async ({ raw }: { raw: IncomingMessage }, reply) => {
    if (!addresses.isProxy(raw.socket.remoteAddress ?? '')) return;
    const address = addresses.of(raw);
    if (isLoopback(address) || addresses.isProxy(address)) return;
    const close = open.take(address);
    if (close === undefined)
      throw new ApiError(
        'tooManyRequests',
        `The address ${address} has ${perAddressMax} requests under way, which is the most. Try again when some have ended.`,
        { retryAfterS: 1 },
      );
    reply.raw.once('close', close);
  });
}

class OpenByAddress {
  readonly #max: number;
  readonly #open = new Map<string, number>();
  constructor(max: number) {
    this.#max = max;
  }

  /** Returns the function that gives the place back, or undefined when no place is left. */
  take(address: string): (() => void) | undefined {
    const count = (this.#open.get(address) ?? 0) + 1;
    if (count > this.#max) return undefined;
    this.#open.set(address, count);
    return () => {
      const left = (this.#open.get(address) ?? 1) - 1;
      if (left === 0) this.#open.delete(address);
      else this.#open.set(address, left);
    };
  }
}

const isLoopback = (address: string): boolean => /^(?:::ffff:)?127\.|^::1$/.test(address);
