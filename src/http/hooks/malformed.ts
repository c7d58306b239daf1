/** What Node's parser lets through and a server should not: refused before anything looks at the request. */
import type { FastifyInstance } from 'fastify';
import { STATUS_CODES, type IncomingMessage, type ServerResponse } from 'node:http';
import type { Socket } from 'node:net';
import { ApiError, type Dialect } from '../../contract/error.ts';
import type { Clock } from '../../core/clock.ts';
import { renderError } from '../errors/api-error.ts';

/** Node joins or drops repeats of these, so two readers of one request could see two different requests. */
const SINGLE_HEADERS = new Set([
  'host',
  'api-key',
  'authorization',
  'content-encoding',
  'content-length',
  'content-type',
  'transfer-encoding',
  'expect',
  'idempotency-key',
]);

/** Why the request is refused, as a sentence for the caller; undefined when it is sound. */
export function findSmell(raw: IncomingMessage): string | undefined {
  if (raw.httpVersion !== '1.1' && raw.httpVersion !== '1.0') return 'Use HTTP/1.1.';
  // `originalUrl` is where Fastify keeps what the caller sent when a rewrite changed it.
  const url = (raw as IncomingMessage & { originalUrl?: string }).originalUrl ?? raw.url ?? '';
  if (!url.startsWith('/')) return 'Send the path alone in the request line, not a whole URL.';
  const seen = new Set<string>();
  for (let index = 0; index < raw.rawHeaders.length; index += 2) {
    const name = (raw.rawHeaders[index] ?? '').toLowerCase();
    if (!SINGLE_HEADERS.has(name)) continue;
    if (seen.has(name)) return `The header '${name}' was sent twice. Send it once.`;
    seen.add(name);
  }
  if (!seen.has('host') && raw.httpVersion === '1.1') return 'Send a Host header.';
  const encoding = raw.headers['transfer-encoding'];
  if (encoding === undefined) return undefined;
  // Who speaks 1.0 on the way here does not know of chunks, and would see another end of the body.
  if (raw.httpVersion === '1.0')
    return 'HTTP/1.0 has no Transfer-Encoding. Use HTTP/1.1, or send Content-Length.';
  if (encoding.toLowerCase() !== 'chunked') return 'Transfer-Encoding must be chunked, or absent.';
  return undefined;
}

/** How the body is compressed, which nothing here undoes; undefined when it is not. */
export function contentCoding({ headers }: IncomingMessage): string | undefined {
  const coding = headers['content-encoding']?.trim().toLowerCase() ?? '';
  return coding === '' || coding === 'identity' ? undefined : coding.slice(0, 40);
}

/** Callers that say `Expect: 100-continue` are told to go on once they may, and not before: see `controlAccess`. */
export function continueOnceAllowed(app: FastifyInstance): void {
  const waiting = new WeakMap<ServerResponse, { readonly keepAlive: boolean }>();
  app.server.on('checkContinue', (request: IncomingMessage, response: ServerResponse) => {
    waiting.set(response, { keepAlive: response.shouldKeepAlive });
    // Whether the body of a refused request still comes cannot be known, so nothing after it could be read.
    response.shouldKeepAlive = false;
    app.server.emit('request', request, response);
  });
  app.addHook('preParsing', async (_request, { raw }) => {
    const waits = waiting.get(raw);
    if (waits === undefined) return;
    raw.shouldKeepAlive = waits.keepAlive;
    raw.writeContinue();
  });
}

export const hasBody = (raw: IncomingMessage): boolean =>
  raw.headers['transfer-encoding'] !== undefined || Number(raw.headers['content-length'] ?? 0) > 0;

export interface BodyLimits {
  /** Over the socket, with the framing of multipart. */
  readonly bytesMax: number;
  /** A caller that sends fewer bytes than this in `windowMs` is cut off. */
  readonly bytesPerWindowMin: number;
  readonly windowMs: number;
}

interface Watched {
  readonly response: ServerResponse;
  readonly dialect: Dialect;
  readonly bytesAtStart: number;
  windowStartedMs: number;
  bytesAtWindow: number;
}

/**
 * Cuts off bodies that trickle (slowloris) or never end. Looks at the sockets' counters now and then instead of at
 * every chunk, and also sees what is drained after an early answer.
 */
export class BodyWatch {
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
      windowStartedMs: this.#clock.mono(),
      bytesAtWindow: bytesRead,
    });
    request.once('close', () => this.#watched.delete(request));
  }

  sweep(): void {
    for (const [request, watched] of this.#watched) {
      if (request.complete) this.#watched.delete(request);
      else if (this.#isAbusive(request, watched)) cutOff(request.socket, watched);
    }
  }

  #isAbusive(request: IncomingMessage, watched: Watched): boolean {
    const { bytesRead } = request.socket;
    if (bytesRead - watched.bytesAtStart > this.#limits.bytesMax) return true;
    const now = this.#clock.mono();
    if (now - watched.windowStartedMs < this.#limits.windowMs) return false;
    // Bytes that wait in our buffers mean that we are the slow side, and the socket is not read.
    const slow =
      bytesRead - watched.bytesAtWindow < this.#limits.bytesPerWindowMin && request.readableLength === 0;
    watched.windowStartedMs = now;
    watched.bytesAtWindow = bytesRead;
    return slow;
  }
}

function cutOff(socket: Socket, { response, dialect }: Watched): void {
  if (!response.headersSent) {
    const { status, body } = renderError(new ApiError('requestTimeout', TOO_SLOW), dialect);
    const text = JSON.stringify(body);
    socket.write(
      `HTTP/1.1 ${status} ${STATUS_CODES[status]}\r\nconnection: close\r\ncontent-type: application/json\r\n` +
        `content-length: ${Buffer.byteLength(text)}\r\n\r\n${text}`,
    );
  }
  socket.destroySoon();
}

const TOO_SLOW = 'The request body came too slowly. Send it again, on a better connection.';
