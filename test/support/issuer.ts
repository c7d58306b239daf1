import { exportJWK, generateKeyPair, SignJWT } from 'jose';
import { once } from 'node:events';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';

/** An OIDC issuer on this machine: signs tokens, and publishes the key that they are checked with. */
export interface Issuer {
  /** `iss` of its tokens. */
  readonly url: string;
  readonly jwksUri: string;
  /** One that is good for an hour, with these claims; `oid` is who shows it. */
  token(claims: {
    readonly oid: string;
    readonly audience?: string;
    readonly groups?: readonly string[];
    readonly roles?: readonly string[];
  }): Promise<string>;
  stop(): Promise<void>;
}

const KEY_ID = 'issuer-key-1';
const AUDIENCE = 'https://cognitiveservices.azure.com';

export async function startIssuer(): Promise<Issuer> {
  const { publicKey, privateKey } = await generateKeyPair('RS256');
  const jwks = { keys: [{ ...(await exportJWK(publicKey)), kid: KEY_ID, alg: 'RS256', use: 'sig' }] };
  const server = createServer((_request, response) => {
    response.setHeader('content-type', 'application/json');
    response.end(JSON.stringify(jwks));
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;

  return {
    url,
    jwksUri: `${url}/keys`,
    token: ({ oid, audience = AUDIENCE, groups = [], roles = [] }) =>
      new SignJWT({ oid, groups: [...groups], roles: [...roles] })
        .setProtectedHeader({ alg: 'RS256', kid: KEY_ID, typ: 'JWT' })
        .setIssuer(url)
        .setSubject(oid)
        .setAudience(audience)
        .setIssuedAt()
        .setExpirationTime('1h')
        .sign(privateKey),
    async stop() {
      server.closeAllConnections();
      server.close();
      await once(server, 'close');
    },
  };
}
