/** The public keys of an issuer. They come from the configured address alone, whatever a token says. */
import {
  createRemoteJWKSet,
  customFetch,
  errors,
  type FetchImplementation,
  type JWTVerifyGetKey,
} from 'jose';
import type { Clock } from '../core/clock.ts';
import type { Log } from '../core/log.ts';

const TIMEOUT_MS = 5_000;
const BYTES_MAX = 1024 * 1024;
/** Keys are fetched again at this age, so that withdrawn keys end. */
const REFRESH_MS = 10 * 60_000;
/** An unknown key id makes us fetch, at most this often. */
const ASK_AGAIN_MS = 60_000;
/** Without any keys nobody is let in, so we fetch sooner. */
const FIRST_AGAIN_MS = 5_000;
/** When an issuer is down for longer, its keys are no longer trusted. */
const TRUSTED_MS = 24 * 3_600_000;

/** The keys could not be fetched, so no token can be checked. */
export class IssuerUnavailable extends Error {
  override name = 'IssuerUnavailable';
  readonly retryAfterS = FIRST_AGAIN_MS / 1_000;
}

export function createIssuerKeys(
  jwksUri: string,
  { clock, log }: { readonly clock: Clock; readonly log: Log },
): JWTVerifyGetKey {
  // We decide when to fetch, since jose would fetch for every token while the issuer is down.
  const keys = createRemoteJWKSet(new URL(jwksUri), {
    timeoutDuration: TIMEOUT_MS,
    cooldownDuration: Infinity,
    cacheMaxAge: Infinity,
    [customFetch]: fetchBounded,
  });
  let askedMs = -Infinity;
  let answeredMs = -Infinity;
  let asking: Promise<void> | undefined;
  const isTrusted = (): boolean => clock.mono() - answeredMs <= TRUSTED_MS;
  const askedWithin = (ms: number): boolean => clock.mono() - askedMs < ms;

  const fetchKeys = async (): Promise<void> => {
    askedMs = clock.mono();
    try {
      await keys.reload();
      answeredMs = clock.mono();
    } catch (error) {
      log.event('issuer.unreachable', { url: jwksUri, reason: reasonOf(error) });
    }
  };
  const ask = (): Promise<void> =>
    (asking ??= fetchKeys().finally(() => {
      asking = undefined;
    }));
  /** Fetches at most once per `ms`. Whoever comes while a fetch is under way waits for it. */
  const askAtMostEvery = async (ms: number): Promise<void> => {
    if (asking !== undefined || !askedWithin(ms)) await ask();
  };

  return async (header, token) => {
    if (!isTrusted()) await askAtMostEvery(FIRST_AGAIN_MS);
    else if (clock.mono() - answeredMs > REFRESH_MS) await askAtMostEvery(ASK_AGAIN_MS);
    if (!isTrusted())
      throw new IssuerUnavailable(`Tokens cannot be checked: the keys at ${jwksUri} cannot be fetched.`);
    try {
      return await keys(header, token);
    } catch (error) {
      if (!(error instanceof errors.JWKSNoMatchingKey)) throw error;
      await askAtMostEvery(ASK_AGAIN_MS);
      return keys(header, token);
    }
  };
}

/** A redirect is refused: jose asks that none be followed, and takes a 200 alone. */
const fetchBounded: FetchImplementation = async (url, options) => {
  const response = await fetch(url, options);
  if (response.status !== 200) {
    await response.body?.cancel();
    return response;
  }
  const chunks: Uint8Array[] = [];
  let bytes = 0;
  for await (const chunk of response.body ?? []) {
    bytes += chunk.byteLength;
    if (bytes > BYTES_MAX) throw new Error(`the answer is larger than ${BYTES_MAX} bytes`);
    chunks.push(chunk);
  }
  return new Response(Buffer.concat(chunks));
};

/** The message of fetch is `fetch failed`. Its cause says more. */
function reasonOf(error: unknown): string {
  if (!(error instanceof Error)) return String(error);
  return error.cause instanceof Error ? `${error.message}: ${error.cause.message}` : error.message;
}
