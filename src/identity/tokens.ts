/** Bearer tokens: signed with RS256 by the configured issuer, meant for us, and not expired (RFC 8725). */
import { decodeJwt, decodeProtectedHeader, errors, jwtVerify, type JWTPayload } from 'jose';
import type { Clock } from '../core/clock.ts';
import type { Log } from '../core/log.ts';
import { createIssuerKeys, IssuerUnavailable } from './issuer-keys.ts';
import type { TokenConfig } from './port.ts';
import type { TokenSubject } from './roles.ts';

const AZURE_AUDIENCES = [
  'https://cognitiveservices.azure.com',
  'https://ai.azure.com',
  'https://management.azure.com',
  'https://management.core.windows.net',
] as const;

/** Entra's tokens have an older form and a newer one, with an issuer each. */
const entraIssuers = (tenant: string): string[] => [
  `https://sts.windows.net/${tenant}/`,
  `https://login.microsoftonline.com/${tenant}/v2.0`,
];
const entraKeys = (tenant: string): string =>
  `https://login.microsoftonline.com/${tenant}/discovery/v2.0/keys`;

const TOKEN_CHARS_MAX = 12 * 1024;
const SUBJECT = /^[\x21-\x7e]{1,256}$/;
/** The audit log has these names for others. */
const NOT_A_SUBJECT = /^(?:key:|admin-key$|cli$|configuration$|app$)/;

export type Verdict =
  | { readonly kind: 'good'; readonly subject: TokenSubject }
  /** `why` is for the log. The caller learns only that the token is refused. */
  | { readonly kind: 'bad'; readonly why: string }
  | { readonly kind: 'unavailable'; readonly retryAfterS: number };

export type VerifyToken = (token: string) => Promise<Verdict>;

export function createTokenVerifier(
  config: TokenConfig,
  { clock, log }: { readonly clock: Clock; readonly log: Log },
): VerifyToken {
  // Entra writes it in lower case in its tokens.
  const tenant = config.tenant?.toLowerCase();
  const issuers = config.issuers ?? (tenant === undefined ? [] : entraIssuers(tenant));
  const jwksUri = config.jwksUri ?? (tenant === undefined ? undefined : entraKeys(tenant));
  if (jwksUri === undefined) throw new Error('Tokens need a tenant, or issuers and a jwksUri.');
  const keys = createIssuerKeys(jwksUri, { clock, log });
  const audience = (config.audiences ?? AZURE_AUDIENCES).flatMap((name) => [name, `${name}/`]);

  return async (token) => {
    const fault = faultBeforeKeys(token, issuers);
    if (fault !== undefined) return { kind: 'bad', why: fault };
    try {
      const { payload } = await jwtVerify(token, keys, {
        algorithms: ['RS256'],
        issuer: [...issuers],
        audience,
        requiredClaims: ['exp'],
        clockTolerance: config.clockSkewMs / 1_000,
        currentDate: new Date(clock.now()),
      });
      return judgeClaims(payload, tenant);
    } catch (error) {
      if (error instanceof IssuerUnavailable) return { kind: 'unavailable', retryAfterS: error.retryAfterS };
      if (error instanceof errors.JOSEError) return { kind: 'bad', why: `${error.code}: ${error.message}` };
      throw error;
    }
  };
}

/** Finds faults without any keys, so that nonsense never makes us fetch them. */
function faultBeforeKeys(token: string, issuers: readonly string[]): string | undefined {
  if (token.length > TOKEN_CHARS_MAX) return `it is longer than ${TOKEN_CHARS_MAX} characters`;
  try {
    const { alg, typ } = decodeProtectedHeader(token);
    if (alg !== 'RS256') return 'its algorithm is not RS256';
    if (typ !== undefined && !/^(?:application\/)?(?:at\+)?jwt$/i.test(typ))
      return 'it is not an access token';
    const { iss } = decodeJwt(token);
    return iss !== undefined && issuers.includes(iss) ? undefined : 'its issuer is another';
  } catch {
    return 'it cannot be decoded';
  }
}

function judgeClaims(payload: JWTPayload, tenant: string | undefined): Verdict {
  if (tenant !== undefined && payload['tid'] !== tenant) return { kind: 'bad', why: 'its tid is another' };
  const id = payload['oid'] ?? payload.sub;
  if (typeof id !== 'string' || !SUBJECT.test(id) || NOT_A_SUBJECT.test(id))
    return { kind: 'bad', why: 'it names nobody: neither oid nor sub can be used' };
  const subject = { id, groups: texts(payload['groups']), appRoles: texts(payload['roles']) };
  return { kind: 'good', subject };
}

const texts = (claim: unknown): string[] =>
  Array.isArray(claim) ? claim.filter((item): item is string => typeof item === 'string') : [];
