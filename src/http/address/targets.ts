import type { IncomingMessage } from 'node:http';
import { resolveTarget, type Addressing, type Target } from './surface.ts';

declare module 'fastify' {
  interface FastifyRequest {
    /** Which API the URL speaks to. */
    target: Target;
  }
}

/** The targets of requests under way. Each is resolved once, when the router asks for its URL. */
export class Targets {
  readonly #addressing: Addressing;
  readonly #resolved = new WeakMap<IncomingMessage, Target>();
  constructor(addressing: Addressing) {
    this.#addressing = addressing;
  }

  resolve(raw: IncomingMessage): Target {
    const target = resolveTarget(raw.url ?? '/', raw.headers.host, this.#addressing);
    this.#resolved.set(raw, target);
    return target;
  }

  of(raw: IncomingMessage): Target {
    return this.#resolved.get(raw) ?? this.resolve(raw);
  }
}
