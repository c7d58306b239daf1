/** The HTTP surface: one Fastify instance, its hooks in the order in which a request meets them, and the routes. */
import multipart from '@fastify/multipart';
import Fastify, {
  type FastifyInstance,
  type FastifyReply,
  type FastifyRequest,
  type HTTPMethods,
} from 'fastify';
import type { IncomingMessage } from 'node:http';
import type { ServerOptions } from 'node:https';
import type { Socket } from 'node:net';
import type { Engine } from '../batch/engine.ts';
import type { Importer } from '../batch/upload/import.ts';
import type { Uploader } from '../batch/upload/upload.ts';
import { INPUT_BYTES_MAX } from '../contract/batch.ts';
import { API_ERRORS, ApiError } from '../contract/error.ts';
import type { Clock } from '../core/clock.ts';
import type { UuidSource } from '../core/ids.ts';
import type { IpRange } from '../core/ip-ranges.ts';
import type { Log } from '../core/log.ts';
import type { ControlPlane } from '../deployments/control/port.ts';
import type { Deployments } from '../deployments/port.ts';
import type { BlobStore } from '../stores/blobs/port.ts';
import type { StateStore } from '../stores/state/ports.ts';
import type { Authenticate } from '../identity/port.ts';
import { controlAccess } from './hooks/access.ts';
import { callerAddresses } from './hooks/caller-address.ts';
import { limitConnections, limitProxied } from './hooks/caller-limits.ts';
import { armRoutes } from './arm/routes.ts';
import { isFatal, renderError, toApiError } from './errors/api-error.ts';
import { FRAMING_BYTES_MAX } from './files/multipart.ts';
import { BodyWatch, contentCoding, continueOnceAllowed, findSmell, hasBody } from './hooks/malformed.ts';
import { registerOpenApi } from './service/openapi.ts';
import { logRequests } from './hooks/request-log.ts';
import { batchRoutes } from './data-plane/batches.ts';
import { deploymentRoutes } from './data-plane/deployments.ts';
import { modelRoutes } from './data-plane/models.ts';
import { contentRoutes } from './data-plane/contents.ts';
import { fileRoutes } from './data-plane/files.ts';
import { onlineRoutes } from './data-plane/online.ts';
import { partUploadRoutes } from './data-plane/part-uploads.ts';
import { serviceRoutes } from './service/routes.ts';
import { uploadRoutes } from './data-plane/uploads.ts';
import { resolveTarget, type Target } from './address/surface.ts';
import { compileValidator } from './wire/validation.ts';

export interface HttpDeps {
  readonly state: StateStore;
  readonly blobs: BlobStore;
  readonly uploader: Pick<Uploader, 'uploadFile' | 'deleteFile' | 'inParts'>;
  readonly importer: Pick<Importer, 'importFile'>;
  readonly engine: Pick<Engine, 'createBatch' | 'progress' | 'wake'>;
  readonly deployments: Deployments;
  readonly control: ControlPlane;
  readonly authenticate: Authenticate;
  readonly clock: Clock;
  readonly uuid: UuidSource;
  readonly log: Log;
  /** Whether work is accepted: `/healthz` tells. */
  readonly ready: () => boolean;
  /** The store failed in a way that nobody can go on from (P9): the process must end. */
  readonly onFatal: (error: unknown) => void;
  /** Given: HTTPS alone is spoken. */
  readonly tls?: Pick<ServerOptions, 'cert' | 'key' | 'minVersion' | 'SNICallback'>;
  readonly options?: Partial<HttpOptions>;
}

export interface HttpOptions {
  /** What follows a resource's name in the host that callers ask. */
  readonly resourceDomains: readonly string[];
  readonly authFailuresPerMinuteMax: number;
  /** Also requests under way that a trusted proxy passes on for an address. */
  readonly connectionsPerAddressMax: number;
  /** Who is believed about whom a request comes from. */
  readonly trustedProxies: readonly IpRange[];
  readonly jsonBytesMax: number;
  /** How long answers under way may go on once the server closes. */
  readonly closeGraceMs: number;
  /** A body that brings fewer bytes than this within the window is cut off. */
  readonly bodyBytesPerWindowMin: number;
  readonly bodyWindowMs: number;
}

const HTTP_DEFAULTS: HttpOptions = {
  resourceDomains: ['localhost', 'openai.azure.com'],
  authFailuresPerMinuteMax: 20,
  connectionsPerAddressMax: 100,
  trustedProxies: [],
  jsonBytesMax: 1024 * 1024,
  closeGraceMs: 10_000,
  bodyBytesPerWindowMin: 16 * 1024,
  bodyWindowMs: 30_000,
};

declare module 'fastify' {
  interface FastifyRequest {
    /** Which API the URL speaks to. */
    target: Target;
    /** Its address. */
    caller: string;
  }
}

const HEADER_BYTES_MAX = 16 * 1024;
const HEADERS_TIMEOUT_MS = 20_000;

export function createHttpServer(deps: HttpDeps): FastifyInstance {
  const options = { ...HTTP_DEFAULTS, ...deps.options };
  const targets = new WeakMap<IncomingMessage, Target>();
  const resolve = ({ url, headers }: IncomingMessage): Target =>
    resolveTarget(url ?? '/', headers.host, options);
  const targetOf = (raw: IncomingMessage): Target => targets.get(raw) ?? resolve(raw);

  const app = Fastify({
    logger: false,
    genReqId: () => deps.uuid(),
    bodyLimit: options.jsonBytesMax,
    // Our own hook does, in the caller's dialect.
    return503OnClosing: false,
    routerOptions: { ignoreTrailingSlash: true, maxParamLength: 200 },
    ...listenerOptions(deps.tls),
    rewriteUrl: (raw) => {
      const target = resolve(raw as IncomingMessage);
      targets.set(raw as IncomingMessage, target);
      return target.url;
    },
    frameworkErrors: (error, request, reply) => {
      // The router gave up before any hook ran.
      request.target = targetOf(request.raw);
      standardHeaders(request, reply);
      sendError(error, request, reply, deps);
    },
    clientErrorHandler: refuseUnparsable,
  });

  app.setValidatorCompiler(compileValidator);
  // Our own rows are the source of every answer, so they are shaped by types and not checked again.
  app.setSerializerCompiler(() => JSON.stringify);
  app.setErrorHandler((error, request, reply) => sendError(error, request, reply, deps));
  app.setNotFoundHandler((request) => {
    throw routeNotFound(request);
  });

  app.decorateRequest('target');
  app.decorateRequest('caller', '');
  parseBodies(app);
  addHooks(app, deps, { options, targetOf });
  registerOpenApi(app);
  void app.register(async (routes) => {
    const registerRefusals = refuseOtherMethods(routes);
    uploadRoutes(routes, deps);
    partUploadRoutes(routes, deps.uploader);
    fileRoutes(routes, deps);
    batchRoutes(routes, deps);
    contentRoutes(routes, deps);
    onlineRoutes(routes, deps.deployments);
    deploymentRoutes(routes, deps.control);
    modelRoutes(routes, deps.control);
    armRoutes(routes, { ...deps, ...options });
    serviceRoutes(routes, deps);
    registerRefusals();
  });
  return app;
}

function listenerOptions(tls: HttpDeps['tls']) {
  // A missing Host is refused by our own hook, with a body.
  const http = {
    maxHeaderSize: HEADER_BYTES_MAX,
    headersTimeout: HEADERS_TIMEOUT_MS,
    requireHostHeader: false,
  };
  // The type of the server differs, and nothing here depends on it.
  return tls === undefined
    ? { http }
    : ({ https: { ...tls, ...http, allowHalfOpen: true } } as unknown as { http: typeof http });
}

function addHooks(
  app: FastifyInstance,
  deps: HttpDeps,
  { options, targetOf }: { options: HttpOptions; targetOf: (raw: IncomingMessage) => Target },
): void {
  const bodies = new BodyWatch(deps.clock, {
    bytesMax: INPUT_BYTES_MAX + 2 * FRAMING_BYTES_MAX,
    bytesPerWindowMin: options.bodyBytesPerWindowMin,
    windowMs: options.bodyWindowMs,
  });
  const addresses = callerAddresses(options.trustedProxies);
  const callers = { perAddressMax: options.connectionsPerAddressMax, addresses };
  limitConnections(app.server, callers);
  // Who has said all it has to say, and closes its half of the connection, waits for the answer.
  Object.assign(app.server, { httpAllowHalfOpen: true });
  app.server.on('connect', (_request, socket: Socket) =>
    closeWith(socket, '405 Method Not Allowed', 'This service is no proxy: CONNECT is not allowed.'),
  );
  app.server.on('checkExpectation', ({ socket }) =>
    closeWith(socket, '417 Expectation Failed', 'The header Expect may only say 100-continue.'),
  );

  let closing = false;
  app.addHook('preClose', async () => {
    closing = true;
    setTimeout(() => app.server.closeAllConnections(), options.closeGraceMs).unref();
  });

  app.addHook('onRequest', async (request, reply) => {
    request.target = targetOf(request.raw);
    standardHeaders(request, reply);
    if (closing)
      throw new ApiError('notReady', 'The service is stopping. Try again soon.', { retryAfterS: 5 });
    const smell = findSmell(request.raw);
    if (smell !== undefined) {
      reply.header('connection', 'close');
      throw new ApiError('badRequest', smell);
    }
    request.caller = addresses.of(request.raw);
    if (hasBody(request.raw)) bodies.add(request.raw, reply.raw, request.target.surface.dialect);
    // SDKs announce JSON on calls that have no body.
    else delete request.headers['content-type'];
  });

  limitProxied(app, callers);
  controlAccess(app, { ...deps, ...options });
  app.addHook('onRequest', async (request, reply) => {
    const { raw } = request;
    // Whatever body it has, nobody waits for it.
    if (request.is404) throw routeNotFound(request);
    const coding = hasBody(raw) ? contentCoding(raw) : undefined;
    if (coding === undefined) return;
    reply.header('accept-encoding', 'identity');
    throw new ApiError(
      'unsupportedMediaType',
      `The body is sent with Content-Encoding '${coding}'. Send it uncompressed, without that header.`,
    );
  });
  continueOnceAllowed(app);
  logRequests(app, deps.log);

  let sweeping: NodeJS.Timeout | undefined;
  app.addHook('onListen', async () => {
    sweeping = setInterval(() => bodies.sweep(), Math.min(1_000, options.bodyWindowMs)).unref();
  });
  app.addHook('onClose', async () => clearInterval(sweeping));
}

/** As the originals have it; queries carry secrets. */
function routeNotFound({ method, originalUrl }: FastifyRequest): ApiError {
  const path = originalUrl.split('?')[0]?.slice(0, SHOWN_PATH_MAX);
  // HEAD has the headers of GET, the length of the body among them.
  const told = method === 'HEAD' ? 'GET' : method;
  return new ApiError('routeNotFound', 'Resource not found', {
    openai: { message: `Invalid URL (${told} ${path})`, param: null },
  });
}

const SHOWN_PATH_MAX = 200;

function standardHeaders(request: FastifyRequest, reply: FastifyReply): void {
  reply.header('x-request-id', request.id).header('x-content-type-options', 'nosniff');
  if (request.target.surface.dialect === 'azure') reply.header('apim-request-id', request.id);
  // The one that ARM's clients report.
  if (request.target.plane === 'control') reply.header('x-ms-request-id', request.id);
  if (request.protocol === 'https')
    reply.header('strict-transport-security', 'max-age=31536000; includeSubDomains');
}

function parseBodies(app: FastifyInstance): void {
  app.removeAllContentTypeParsers();
  app.addContentTypeParser('application/json', { parseAs: 'string' }, (_request, text: string, done) => {
    if (text.trim() === '') return done(null, undefined);
    try {
      done(null, JSON.parse(text));
    } catch (cause) {
      const why = cause instanceof Error ? cause.message : String(cause);
      done(new ApiError('badRequest', `The request body is not valid JSON: ${why}.`, { cause }));
    }
  });
  void app.register(multipart);
}

/** A path that exists answers 405 and not 404 to a method that it does not have. Call what it returns after all routes. */
function refuseOtherMethods(app: FastifyInstance): () => void {
  const methods = new Map<string, Set<string>>();
  let closed = false;
  app.addHook('onRoute', ({ url, method }) => {
    if (closed) return;
    const known = methods.get(url) ?? new Set();
    for (const name of [method].flat()) known.add(name);
    methods.set(url, known);
  });
  app.addHook('onReady', async () => {
    closed = true;
  });
  const register = async (others: FastifyInstance): Promise<void> => {
    closed = true;
    const all: HTTPMethods[] = ['GET', 'HEAD', 'POST', 'PUT', 'PATCH', 'DELETE', 'OPTIONS'];
    for (const [url, known] of methods) {
      const allow = [...known].join(', ');
      others.route({
        url,
        method: all.filter((method) => !known.has(method)),
        schema: { hide: true },
        config: { action: 'none' },
        onRequest: async (request, reply) => {
          reply.header('allow', allow);
          const path = request.originalUrl.split('?')[0] ?? '';
          throw new ApiError(
            'methodNotAllowed',
            `${request.method} is not allowed on ${path}. Use ${allow}.`,
          );
        },
        handler: async () => undefined,
      });
    }
  };
  return () => void app.register(register);
}

function sendError(error: unknown, request: FastifyRequest, reply: FastifyReply, deps: HttpDeps): void {
  const apiError = toApiError(error);
  if (API_ERRORS[apiError.code].status >= 500)
    deps.log.event('request.failed', {
      request: request.id,
      reason: apiError.code,
      error: error instanceof Error ? (error.stack ?? error.message) : String(error),
    });
  if (isFatal(error)) deps.onFatal(error);
  const { status, headers, body } = renderError(apiError, request.target.surface.dialect);
  // Headers of the answer that did not come to be.
  for (const name of [
    'content-length',
    'content-disposition',
    'etag',
    'accept-ranges',
    'x-incomplete',
    'x-last-line',
  ])
    reply.removeHeader(name);
  void reply.code(status).headers(headers).type('application/json; charset=utf-8').send(body);
}

/** Node could not parse the request, so there is no surface and no dialect: an error that both kinds of client read. */
function refuseUnparsable(error: Error & { code?: string }, socket: Socket): void {
  if (!socket.writable || error.code === 'ECONNRESET') {
    socket.destroy();
    return;
  }
  closeWith(socket, ...(UNPARSABLE[error.code ?? ''] ?? ['400 Bad Request', 'The request is malformed.']));
}

function closeWith(socket: Socket, status: string, message: string): void {
  const body = JSON.stringify({
    error: { code: 'BadRequest', message, type: 'invalid_request_error', param: null },
  });
  const head = `HTTP/1.1 ${status}\r\nconnection: close\r\ncontent-type: application/json\r\ncontent-length: ${body.length}`;
  socket.write(`${head}\r\n\r\n${body}`);
  socket.destroySoon();
}

const UNPARSABLE: Readonly<Record<string, readonly [status: string, message: string]>> = {
  HPE_HEADER_OVERFLOW: [
    '431 Request Header Fields Too Large',
    `The headers exceed ${HEADER_BYTES_MAX} bytes.`,
  ],
  ERR_HTTP_REQUEST_TIMEOUT: ['408 Request Timeout', 'The request headers came too slowly.'],
};
