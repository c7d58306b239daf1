/** The HTTP server: its hooks in the order in which a request meets them, and its routes. */
import Fastify, { type FastifyInstance, type FastifyReply, type FastifyRequest } from 'fastify';
import type { ZodTypeProvider } from 'fastify-type-provider-zod';
import type { IncomingMessage } from 'node:http';
import { Targets } from './address/target.ts';
import { armRoutes } from './arm/routes.ts';
import { batchRoutes } from './data-plane/batches.ts';
import { contentRoutes } from './data-plane/contents.ts';
import { deploymentRoutes } from './data-plane/deployments.ts';
import { fileRoutes } from './data-plane/files.ts';
import { modelRoutes } from './data-plane/models.ts';
import { singleRequestRoutes } from './data-plane/single-requests.ts';
import { partUploadRoutes } from './data-plane/part-uploads.ts';
import { uploadRoutes } from './data-plane/uploads.ts';
import { HTTP_LIMITS, type HttpDeps } from './deps.ts';
import { sendError } from './errors/send.ts';
import { enforceAccess } from './hooks/access.ts';
import { takePlainBodies } from './hooks/bodies.ts';
import { callerAddresses, setCallerAddress } from './hooks/caller-address.ts';
import { limitConnections, limitProxied } from './hooks/caller-limits.ts';
import { refuseWhileClosing } from './hooks/closing.ts';
import { continueOnceAllowed } from './hooks/expect-continue.ts';
import { refuseMalformed } from './hooks/malformed.ts';
import { refuseOtherMethods } from './hooks/method-not-allowed.ts';
import { logRequests } from './hooks/request-log.ts';
import { cutOffSlowBodies } from './hooks/slow-bodies.ts';
import { standardHeaders } from './hooks/standard-headers.ts';
import { refuseUnknownRoutes } from './hooks/unknown-route.ts';
import { listenerOptions, refuseUnparsable, refuseConnectAndExpect } from './listener.ts';
import { registerOpenApi } from './public/openapi.ts';
import { publicRoutes } from './public/routes.ts';
import { compileValidator } from './wire/validation.ts';

const JSON_BYTES_MAX = 1024 * 1024;

export function createHttpServer(deps: HttpDeps): FastifyInstance {
  const options = { ...HTTP_LIMITS, ...deps.options };
  const targets = new Targets(options);
  const begin = (request: FastifyRequest, reply: FastifyReply): void => {
    request.target = targets.of(request.raw);
    standardHeaders(request, reply);
  };

  const app = Fastify({
    ...listenerOptions(deps.tls),
    logger: false,
    genReqId: () => deps.uuid(),
    bodyLimit: JSON_BYTES_MAX,
    // `refuseWhileClosing` answers it, in the caller's dialect.
    return503OnClosing: false,
    routerOptions: { ignoreTrailingSlash: true, maxParamLength: 200 },
    rewriteUrl: (raw) => targets.resolve(raw as IncomingMessage).url,
    frameworkErrors: (error, request, reply) => {
      // The router gave up before any hook ran.
      begin(request, reply);
      sendError(error, request, reply, deps);
    },
    clientErrorHandler: refuseUnparsable,
  });
  app.setValidatorCompiler(compileValidator);
  // Answers are made of our own rows, which types shape. They are not checked again.
  app.setSerializerCompiler(() => JSON.stringify);
  app.setErrorHandler((error, request, reply) => sendError(error, request, reply, deps));

  const addresses = callerAddresses(options.trustedProxies);
  const callers = { perAddressMax: options.connectionsPerAddressMax, addresses };
  limitConnections(app.server, callers);
  refuseConnectAndExpect(app.server);

  app.decorateRequest('target');
  app.addHook('onRequest', async (request, reply) => begin(request, reply));
  refuseWhileClosing(app, options);
  refuseMalformed(app);
  setCallerAddress(app, addresses);
  cutOffSlowBodies(app, deps.clock, options);
  limitProxied(app, callers);
  enforceAccess(app, { ...deps, ...options });
  refuseUnknownRoutes(app);
  takePlainBodies(app);
  continueOnceAllowed(app);
  logRequests(app, deps.log);

  registerOpenApi(app);
  void app.register(async (instance) => {
    const routes = instance.withTypeProvider<ZodTypeProvider>();
    const registerRefusals = refuseOtherMethods(instance);
    uploadRoutes(routes, deps);
    partUploadRoutes(routes, deps.uploader);
    fileRoutes(routes, deps);
    batchRoutes(routes, deps);
    contentRoutes(routes, deps);
    singleRequestRoutes(routes, deps.deployments);
    deploymentRoutes(routes, deps.controlPlane);
    modelRoutes(routes, deps.controlPlane);
    armRoutes(routes, { ...deps, ...options });
    publicRoutes(instance, deps);
    registerRefusals();
  });
  return app;
}
