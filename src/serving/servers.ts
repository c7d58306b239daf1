import type { Upstream } from '../upstream/port.ts';
import type { ServingDeps } from './deps.ts';
import { Server } from './server.ts';

/** The model servers that this process knows: one for each address and key, however many deployments name it. */
export class Servers {
  readonly #deps: ServingDeps;
  readonly #known = new Map<string, Server>();

  constructor(deps: ServingDeps) {
    this.#deps = deps;
  }

  /** A server is kept when its upstream leaves the configuration, since that may come back. */
  of({ server: id, name }: Pick<Upstream, 'server' | 'name'>): Server {
    const server = this.#known.get(id) ?? new Server(name, this.#deps);
    this.#known.set(id, server);
    return server;
  }
}
