import type { FastifyInstance } from 'fastify';
import { STATUS_CODES, type IncomingMessage, type ServerResponse } from 'node:http';
import { INPUT_BYTES_MAX } from '../../contract/batch.ts';
import { ApiError, type Dialect } from '../../contract/error.ts';
import type { Clock } from '../../core/clock.ts';
import type { HttpLimits } from '../deps.ts';
import { renderError } from '../errors/render.ts';
import { FRAMING_BYTES_MAX } from '../files/multipart.ts';
import { endWith } from '../listener.ts';
import { hasBody } from './bodies.ts';

type BodyLimits = Pick<HttpLimits, 'bodyBytesPerIntervalMin' | 'bodyIntervalMs'>;

/** The socket also counts the framing of multipart and of chunks. */
const BYTES_MAX = INPUT_BYTES_MAX + 2 * FRAMING_BYTES_MAX;
const SWEEP_MS_MAX = 1_000;
const TOO_SLOW = 'The request body came too slowly. Send it again, on a better connection.';

/** Cuts off bodies that trickle (slowloris) or never end. */
export function cutOffSlowBodies(app: FastifyInstance, clock: Clock, limits: BodyLimits): void {
  const bodies = new BodyWatch(clock, limits);
  app.addHook('onRequest', async ({ raw, target }, reply) => {
    if (hasBody(raw)) bodies.add(raw, reply.raw, target.surface.dialect);
  });
  let sweeping: NodeJS.Timeout | undefined;
  app.addHook('onListen', async () => {
    sweeping = setInterval(() => bodies.sweep(), Math.min(SWEEP_MS_MAX, limits.bodyIntervalMs)).unref();
  });
  app.addHook('onClose', async () => clearInterval(sweeping));
}

interface Watched {
  readonly response: ServerResponse;
  readonly dialect: Dialect;
  readonly bytesAtStart: number;
  intervalStartedMs: number;
  bytesAtInterval: number;
}

/** Reads the sockets' counters at intervals. So it also sees what is drained after an early answer. */
class BodyWatch {
  readonly #clock: Clock;
  readonly #limits: BodyLimits;
  readonly #watched = new Map<IncomingMessage, Watched>();
  constructor(clock: Clock, limits: BodyLimits) {
    this.#clock = clock;
    this.#limits = limits;
  }

  add(request: IncomingMessage, response: ServerResponse, dialect: Dialect): void {
    const { bytesRead } = request.socket;
    this.#watched.set(request, {
      response,
      dialect,
      bytesAtStart: bytesRead,
      intervalStartedMs: this.#clock.mono(),
      bytesAtInterval: bytesRead,
    });
    request.once('close', () => this.#watched.delete(request));
  }

  sweep(): void {
    for (const [request, watched] of this.#watched) {
      if (request.complete) this.#watched.delete(request);
      else if (this.#isAbusive(request, watched)) cutOff(request, watched);
    }
  }

  #isAbusive(request: IncomingMessage, watched: Watched): boolean {
    const { bytesRead } = request.socket;
    if (bytesRead - watched.bytesAtStart > BYTES_MAX) return true;
    const now = this.#clock.mono();
    if (now - watched.intervalStartedMs < this.#limits.bodyIntervalMs) return false;
    // Bytes that wait in our buffers mean that the service is the slow side, and does not read the socket.
    const slow =
      bytesRead - watched.bytesAtInterval < this.#limits.bodyBytesPerIntervalMin &&
      request.readableLength === 0;
    watched.intervalStartedMs = now;
    watched.bytesAtInterval = bytesRead;
    return slow;
  }
}

function cutOff({ socket }: IncomingMessage, { response, dialect }: Watched): void {
  if (response.headersSent) return socket.destroySoon();
  const { status, body } = renderError(new ApiError('requestTimeout', TOO_SLOW), dialect);
  endWith(socket, `${status} ${STATUS_CODES[status]}`, JSON.stringify(body));
}
