/** Who calls. Keys are stored and looked up as digests; a key itself is never kept, logged or compared. */
import { createHmac, timingSafeEqual } from 'node:crypto';
import type { IncomingHttpHeaders } from 'node:http';
import { ApiError } from '../contract/error.ts';
import type { Scope } from '../contract/scope.ts';
import type { Clock } from '../core/clock.ts';
import type { Resource, ResourceStore } from '../stores/state/ports.ts';
import type { Dialect } from './surface.ts';

export interface Principal {
  readonly scope: Scope;
  readonly location: string;
}

/** Undefined: nobody has this key. */
export type Authenticate = (key: string) => Promise<Principal | undefined>;

/** HMAC-SHA256, so that a stolen database does not allow guesses without the pepper. Lower-case hex. */
export const keyDigest = (pepper: string | Uint8Array, key: string): string =>
  createHmac('sha256', pepper).update(key).digest('hex');

interface AuthenticatorOptions {
  readonly resources: Pick<ResourceStore, 'findByKeyDigest'>;
  readonly pepper: string | Uint8Array;
  readonly clock: Clock;
  /** How long a revoked key may still open the door. */
  readonly cacheMs?: number;
}

const CACHED_KEYS_MAX = 1_000;

export function createAuthenticator(options: AuthenticatorOptions): Authenticate {
  const { resources, pepper, clock, cacheMs = 5_000 } = options;
  const cache = new Map<string, { readonly principal: Principal; readonly untilMs: number }>();

  return async (key) => {
    const digest = keyDigest(pepper, key);
    const cached = cache.get(digest);
    if (cached !== undefined && cached.untilMs > clock.mono()) return cached.principal;
    cache.delete(digest);
    const resource = await resources.findByKeyDigest(digest);
    const principal = resource && toPrincipal(resource, digest);
    if (principal === undefined) return undefined;
    if (cache.size >= CACHED_KEYS_MAX) cache.clear();
    cache.set(digest, { principal, untilMs: clock.mono() + cacheMs });
    return principal;
  };
}

function toPrincipal(resource: Resource, digest: string): Principal | undefined {
  const presented = Buffer.from(digest, 'hex');
  const index = resource.keyDigests.findIndex((known) => {
    const stored = Buffer.from(known, 'hex');
    return stored.length === presented.length && timingSafeEqual(stored, presented);
  });
  if (index === -1) return undefined;
  return {
    scope: { resourceId: resource.id, actor: `key:${index + 1}` },
    location: resource.location,
  };
}

/** The key of a request: `api-key`, or `Authorization: Bearer` as OpenAI's clients send it. */
export function presentedKey(headers: IncomingHttpHeaders): string | undefined {
  const apiKey = headers['api-key'];
  if (typeof apiKey === 'string' && apiKey !== '') return apiKey;
  return /^Bearer +(\S+)$/i.exec(headers.authorization ?? '')?.[1];
}

/** Contract §8: the original answers a bad bearer token and a bad key in different words and shapes. */
export function refuseCaller(headers: IncomingHttpHeaders, dialect: Dialect): ApiError {
  const missing = headers['api-key'] === undefined && headers.authorization === undefined;
  if (dialect === 'openai')
    return new ApiError(
      'unauthorized',
      missing
        ? "You didn't provide an API key. Send it in an Authorization header with Bearer auth (Authorization: Bearer YOUR_KEY)."
        : 'Incorrect API key provided. Check the key of the resource.',
    );
  if (headers.authorization !== undefined && headers['api-key'] === undefined)
    return new ApiError(
      'tokenRejected',
      'Unauthorized. Access token is missing, invalid, audience is incorrect (https://cognitiveservices.azure.com), or have expired.',
    );
  return new ApiError(
    'unauthorized',
    'Access denied due to invalid subscription key or wrong API endpoint. Make sure to provide a valid key for an active subscription and use a correct regional API endpoint for your resource.',
  );
}

const WINDOW_MS = 60_000;
const ADDRESSES_MAX = 10_000;

/** Counts refused keys per remote address. Callers with a good key are never held up by it. */
export class FailureLimiter {
  readonly #clock: Clock;
  readonly #perMinuteMax: number;
  readonly #windows = new Map<string, { startedMs: number; failures: number }>();
  constructor(clock: Clock, perMinuteMax: number) {
    this.#clock = clock;
    this.#perMinuteMax = perMinuteMax;
  }

  /** Seconds to wait when this failure is one too many; undefined otherwise. */
  count(address: string): number | undefined {
    const now = this.#clock.mono();
    const current = this.#windows.get(address);
    if (current !== undefined && now - current.startedMs < WINDOW_MS) {
      current.failures += 1;
      if (current.failures <= this.#perMinuteMax) return undefined;
      return Math.ceil((current.startedMs + WINDOW_MS - now) / 1000);
    }
    this.#windows.delete(address);
    const oldest = this.#windows.keys().next();
    if (this.#windows.size >= ADDRESSES_MAX && !oldest.done) this.#windows.delete(oldest.value);
    this.#windows.set(address, { startedMs: now, failures: 1 });
    return undefined;
  }
}
