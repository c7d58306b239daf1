/** What the HTTP server is given. Routes take from it what they use. */
import type {
  FastifyBaseLogger,
  FastifyInstance,
  RawReplyDefaultExpression,
  RawRequestDefaultExpression,
  RawServerDefault,
} from 'fastify';
import type { ZodTypeProvider } from 'fastify-type-provider-zod';
import type { ServerOptions } from 'node:https';
import type { Engine } from '../batch/engine.ts';
import type { Importer } from '../batch/upload/import.ts';
import type { Uploader } from '../batch/upload/upload.ts';
import type { Clock } from '../core/clock.ts';
import type { UuidSource } from '../core/ids.ts';
import type { IpRange } from '../core/ip-ranges.ts';
import type { Log } from '../core/log.ts';
import type { ControlPlane } from '../deployments/control/port.ts';
import type { Deployments } from '../deployments/port.ts';
import type { Authenticate } from '../identity/port.ts';
import type { BlobStore } from '../stores/blobs/port.ts';
import type { StateStore } from '../stores/state/ports.ts';

/** Where routes are registered. Their requests have the types of their schemas. */
export type Routes = FastifyInstance<
  RawServerDefault,
  RawRequestDefaultExpression,
  RawReplyDefaultExpression,
  FastifyBaseLogger,
  ZodTypeProvider
>;

export interface HttpDeps {
  readonly state: StateStore;
  readonly blobs: BlobStore;
  readonly uploader: Pick<Uploader, 'uploadFile' | 'deleteFile' | 'inParts'>;
  readonly importer: Pick<Importer, 'importFile'>;
  readonly engine: Pick<Engine, 'createBatch' | 'progress' | 'notify'>;
  readonly deployments: Deployments;
  readonly controlPlane: ControlPlane;
  readonly authenticate: Authenticate;
  readonly clock: Clock;
  readonly uuid: UuidSource;
  readonly log: Log;
  /** Whether the service takes work: `/healthz` says so. */
  readonly ready: () => boolean;
  /** The store failed in a way that nobody can go on from (P9): the process must end. */
  readonly onFatal: (error: unknown) => void;
  /** With it the server speaks HTTPS alone. */
  readonly tls?: Pick<ServerOptions, 'cert' | 'key' | 'minVersion' | 'SNICallback'>;
  readonly options: HttpOptions;
}

export interface HttpOptions extends Partial<HttpLimits> {
  /** What follows a resource's name in the host that callers ask. */
  readonly resourceDomains: readonly string[];
  /** It also limits the requests under way that trusted proxies pass on for one address. */
  readonly connectionsPerAddressMax: number;
  /** The service believes these when they name the address of a caller. */
  readonly trustedProxies: readonly IpRange[];
}

export interface HttpLimits {
  readonly authFailuresPerMinuteMax: number;
  /** How long answers under way may go on once the server closes. */
  readonly closeGraceMs: number;
  /** A body that brings fewer bytes than this in one interval is cut off. */
  readonly bodyBytesPerIntervalMin: number;
  readonly bodyIntervalMs: number;
}

export const HTTP_LIMITS: HttpLimits = {
  authFailuresPerMinuteMax: 20,
  closeGraceMs: 10_000,
  bodyBytesPerIntervalMin: 16 * 1024,
  bodyIntervalMs: 30_000,
};
