/** An Entra tenant on this machine, or any issuer that the claims name: signs tokens of every kind, and publishes its keys, or fails to. */
import {
  exportJWK,
  generateKeyPair,
  SignJWT,
  type JWK,
  type JWTHeaderParameters,
  type JWTPayload,
} from 'jose';
import { createServer, type RequestListener } from 'node:http';
import type { AddressInfo } from 'node:net';
import type { TokenConfig } from '../../src/identity/port.ts';

export const TENANT = '5c1e0f7a-3b52-4d9c-8f10-6a7b8c9d0e1f';
export const ISSUER_V1 = `https://sts.windows.net/${TENANT}/`;
export const ISSUER_V2 = `https://login.microsoftonline.com/${TENANT}/v2.0`;
export const AUDIENCE = 'https://cognitiveservices.azure.com';

type KeyPair = Awaited<ReturnType<typeof generateKeyPair>>;

export interface Entra {
  readonly config: TokenConfig & { readonly jwksUri: string };
  /** The key that it signs with just now. */
  readonly key: KeyPair & { readonly kid: string };
  readonly publicJwk: () => Promise<JWK>;
  /** Requests for its keys so far. */
  readonly asked: () => number;
  /** A good token of the tenant, save for what is given; an undefined claim is left out. */
  token(claims?: Readonly<Record<string, unknown>>, header?: Partial<JWTHeaderParameters>): Promise<string>;
  /** Signs with a new key from now on, and publishes it alone. */
  rotate(): Promise<void>;
  /** Null: its keys again. */
  answer(listener: RequestListener | null): void;
  close(): Promise<void>;
}

export async function startEntra(): Promise<Entra> {
  let key = await newKey();
  let asked = 0;
  let answering: RequestListener | null = null;
  const publicJwk = async (): Promise<JWK> => ({
    ...(await exportJWK(key.publicKey)),
    kid: key.kid,
    // As Entra publishes them: without `alg`, so only whoever checks a token pins it.
    use: 'sig',
  });
  const server = createServer((request, response) => {
    asked += 1;
    if (answering !== null) answering(request, response);
    else void publicJwk().then((jwk) => response.end(JSON.stringify({ keys: [jwk] })));
  });
  const { promise: listening, resolve } = Promise.withResolvers<void>();
  server.listen(0, '127.0.0.1', resolve);
  await listening;
  const { port } = server.address() as AddressInfo;

  return {
    config: { tenant: TENANT, jwksUri: `http://127.0.0.1:${port}/keys`, clockSkewMs: 300_000 },
    get key() {
      return key;
    },
    publicJwk,
    asked: () => asked,
    token: (claims, header) =>
      new SignJWT(claimsWith(claims))
        .setProtectedHeader({ alg: 'RS256', kid: key.kid, typ: 'JWT', ...header })
        .sign(key.privateKey),
    async rotate() {
      key = await newKey();
    },
    answer(listener) {
      answering = listener;
    },
    async close() {
      server.closeAllConnections();
      await server[Symbol.asyncDispose]();
    },
  };
}

let keys = 0;
const newKey = async (): Promise<KeyPair & { kid: string }> => ({
  ...(await generateKeyPair('RS256', { extractable: true })),
  kid: `key-${++keys}`,
});

export function claimsWith(changed: Readonly<Record<string, unknown>> = {}): JWTPayload {
  const nowS = Math.floor(Date.now() / 1_000);
  const claims = {
    iss: ISSUER_V1,
    aud: AUDIENCE,
    tid: TENANT,
    oid: 'a1b2c3d4-0000-4000-8000-000000000001',
    sub: 'pairwise-subject',
    iat: nowS,
    nbf: nowS,
    exp: nowS + 3_600,
    ...changed,
  };
  return Object.fromEntries(Object.entries(claims).filter(([, value]) => value !== undefined));
}
