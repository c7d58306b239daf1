import { exportSPKI, generateKeyPair, exportJWK, SignJWT } from 'jose';
import { createHmac, type webcrypto } from 'node:crypto';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import {
  AUDIENCE,
  claimsWith,
  ISSUER_V1,
  ISSUER_V2,
  startEntra,
  type Entra,
} from '../../test/support/entra.ts';
import { systemClock, type Clock } from '../core/clock.ts';
import { silentLog as log } from '../core/log.ts';
import type { TokenConfig } from './port.ts';
import { createTokenVerifier, type Verdict } from './tokens.ts';

let issuer: Entra;
let verify: (token: string) => Promise<Verdict>;
beforeAll(async () => {
  issuer = await startEntra();
  verify = createTokenVerifier(issuer.config, { clock: systemClock, log });
});
afterAll(() => issuer.close());

const nowS = (): number => Math.floor(Date.now() / 1_000);
const part = (value: unknown): string => Buffer.from(JSON.stringify(value)).toString('base64url');

describe('a token is good', () => {
  const OID = 'a1b2c3d4-0000-4000-8000-000000000001';

  test.each([
    ['of the older form', {}],
    ['of the newer form', { iss: ISSUER_V2, ver: '2.0' }],
    ['for an audience with a slash', { aud: `${AUDIENCE}/` }],
    ['for Foundry', { aud: 'https://ai.azure.com' }],
    ['for Resource Manager', { aud: 'https://management.azure.com/' }],
    ['for Resource Manager, as it was once called', { aud: 'https://management.core.windows.net/' }],
    ['for several audiences, ours among them', { aud: ['https://other', AUDIENCE] }],
    ['that expired within the skew of the clocks', { exp: nowS() - 200 }],
    ['that begins within the skew of the clocks', { nbf: nowS() + 200 }],
  ])('%s', async (_name, claims) => {
    expect(await verify(await issuer.token(claims))).toEqual({
      kind: 'good',
      subject: { id: OID, groups: [], appRoles: [] },
    });
  });

  test('and says who shows it, in which groups and with which roles', async () => {
    const token = await issuer.token({ groups: ['g1', 7, 'g2'], roles: ['r1'] });

    expect(await verify(token)).toEqual({
      kind: 'good',
      subject: { id: OID, groups: ['g1', 'g2'], appRoles: ['r1'] },
    });
  });

  test('without an oid by its sub', async () => {
    const verdict = await verify(
      await issuer.token({ oid: undefined, sub: 'auth0|5f7c8ec7c33c6c004bbafe82' }),
    );

    expect(verdict).toMatchObject({ subject: { id: 'auth0|5f7c8ec7c33c6c004bbafe82' } });
  });

  test('whatever shape its groups and roles have', async () => {
    const verdict = await verify(await issuer.token({ groups: 'g1', roles: { admin: true } }));

    expect(verdict).toMatchObject({ kind: 'good', subject: { groups: [], appRoles: [] } });
  });

  test.each(['JWT', 'at+jwt', 'application/at+jwt', undefined])('with the type %s', async (typ) => {
    const token = await new SignJWT(claimsWith())
      .setProtectedHeader({ alg: 'RS256', kid: issuer.key.kid, ...(typ !== undefined && { typ }) })
      .sign(issuer.key.privateKey);

    expect((await verify(token)).kind).toBe('good');
  });
});

const REFUSED: [string, () => Promise<string>][] = [
  ['expired', () => issuer.token({ exp: nowS() - 301 })],
  ['without an expiry', () => issuer.token({ exp: undefined })],
  ['with an expiry that is no number', () => issuer.token({ exp: 'tomorrow' })],
  ['not yet valid', () => issuer.token({ nbf: nowS() + 301 })],
  ['for another audience', () => issuer.token({ aud: 'https://graph.microsoft.com' })],
  ['for an audience that begins like ours', () => issuer.token({ aud: `${AUDIENCE}.evil.example` })],
  ['for no audience', () => issuer.token({ aud: undefined })],
  ['of another issuer', () => issuer.token({ iss: 'https://evil.example' })],
  ['of an issuer that begins like ours', () => issuer.token({ iss: `${ISSUER_V1}x` })],
  ['of no issuer', () => issuer.token({ iss: undefined })],
  ['of another tenant', () => issuer.token({ tid: '11111111-1111-1111-1111-111111111111' })],
  ['of no tenant', () => issuer.token({ tid: undefined })],
  ['about nobody', () => issuer.token({ oid: undefined, sub: undefined })],
  ['about somebody with control characters', () => issuer.token({ oid: 'a\nb' })],
  ['about somebody with a very long name', () => issuer.token({ oid: 'a'.repeat(257) })],
  ['about a name of the audit log', () => issuer.token({ oid: 'key:1' })],
  ['about the operators', () => issuer.token({ oid: undefined, sub: 'admin-key' })],
  ['for logging out', () => issuer.token({}, { typ: 'logout+jwt' })],
  [
    'with an unknown critical header',
    () =>
      new SignJWT(claimsWith())
        .setProtectedHeader({ alg: 'RS256', kid: issuer.key.kid, crit: ['x'], x: 1 })
        .sign(issuer.key.privateKey, { crit: { x: true } }),
  ],
  ['with an unknown key id', () => issuer.token({}, { kid: 'other' })],
  [
    'that is very long',
    () => issuer.token({ groups: Array.from({ length: 1_000 }, () => crypto.randomUUID()) }),
  ],
  ['of another key with the same id', async () => signedByOther({})],
  [
    'that brings its own key',
    async () => {
      const other = await generateKeyPair('RS256', { extractable: true });
      return signedByOther({ jwk: await exportJWK(other.publicKey) }, other.privateKey);
    },
  ],
  ['without a signature', async () => `${part({ alg: 'none' })}.${part(claimsWith())}.`],
  [
    'with the algorithm None',
    async () => `${part({ alg: 'None', kid: issuer.key.kid })}.${part(claimsWith())}.`,
  ],
  ['whose signature was cut off', async () => (await issuer.token()).replace(/[^.]+$/, '')],
  ['signed with the public key as a password', async () => hmacToken(await exportSPKI(issuer.key.publicKey))],
  [
    'signed with the published key as a password',
    async () => hmacToken(JSON.stringify(await issuer.publicJwk())),
  ],
  [
    'of another algorithm of the same key',
    async () => {
      const { privateKey } = issuer.key;
      const bytes = await crypto.subtle.exportKey('pkcs8', privateKey as webcrypto.CryptoKey);
      const key = await crypto.subtle.importKey('pkcs8', bytes, { name: 'RSA-PSS', hash: 'SHA-256' }, true, [
        'sign',
      ]);
      return new SignJWT(claimsWith()).setProtectedHeader({ alg: 'PS256', kid: issuer.key.kid }).sign(key);
    },
  ],
  [
    'with a changed claim',
    async () => {
      const [header, , signature] = (await issuer.token()).split('.');
      return [header, part(claimsWith({ oid: 'somebody-else' })), signature].join('.');
    },
  ],
  ['of nonsense', async () => 'eyJ.eyJ.eyJ'],
  ['of JSON that is no object', async () => `${part([1])}.${part('x')}.c2ln`],
  ['of empty parts', async () => 'eyJ..'],
];

async function signedByOther(
  header: Record<string, unknown>,
  privateKey?: Parameters<SignJWT['sign']>[0],
): Promise<string> {
  const key = privateKey ?? (await generateKeyPair('RS256')).privateKey;
  return new SignJWT(claimsWith())
    .setProtectedHeader({ alg: 'RS256', kid: issuer.key.kid, ...header })
    .sign(key);
}

function hmacToken(secret: string): string {
  const signed = `${part({ alg: 'HS256', typ: 'JWT', kid: issuer.key.kid })}.${part(claimsWith())}`;
  return `${signed}.${createHmac('sha256', secret).update(signed).digest('base64url')}`;
}

describe('a token is refused', () => {
  test.each(REFUSED)('%s', async (_name, make) => {
    expect((await verify(await make())).kind).toBe('bad');
  });

  test.each(['jku', 'x5u'])('and the address in its header %s is never asked', async (name) => {
    const evil = await startEntra();
    try {
      const token = await new SignJWT(claimsWith())
        .setProtectedHeader({ alg: 'RS256', kid: evil.key.kid, [name]: evil.config.jwksUri })
        .sign(evil.key.privateKey);

      expect((await verify(token)).kind).toBe('bad');
      expect(evil.asked()).toBe(0);
    } finally {
      await evil.close();
    }
  });

  test('and no part of it is in the reason', async () => {
    for (const [, make] of REFUSED) {
      const token = await make();
      const verdict = await verify(token);

      const why = verdict.kind === 'bad' ? verdict.why : '';
      for (const secret of token.split('.').filter((text) => text.length > 5))
        expect(why).not.toContain(secret);
    }
  });
});

test('a tenant may be configured in capitals', async () => {
  const tenant = issuer.config.tenant?.toUpperCase();
  const loud = createTokenVerifier({ ...issuer.config, tenant }, { clock: systemClock, log });

  expect((await loud(await issuer.token())).kind).toBe('good');
});

describe('another issuer', () => {
  const config = (): TokenConfig => ({
    issuers: ['https://keycloak.example/realms/lab'],
    audiences: ['offpeak'],
    jwksUri: issuer.config.jwksUri,
    clockSkewMs: 0,
  });

  test('needs no tenant, and its tokens no oid', async () => {
    const ofKeycloak = createTokenVerifier(config(), { clock: systemClock, log });
    const claims = {
      iss: 'https://keycloak.example/realms/lab',
      aud: 'offpeak',
      tid: undefined,
      oid: undefined,
    };

    expect(await ofKeycloak(await issuer.token(claims))).toMatchObject({
      subject: { id: 'pairwise-subject' },
    });
    expect((await ofKeycloak(await issuer.token({ ...claims, aud: AUDIENCE }))).kind).toBe('bad');
    expect((await ofKeycloak(await issuer.token({ ...claims, iss: ISSUER_V1 }))).kind).toBe('bad');
  });

  test('without an address of its keys is a mistake of the configuration', () => {
    expect(() =>
      createTokenVerifier({ issuers: ['https://x'], clockSkewMs: 0 }, { clock: systemClock, log }),
    ).toThrow('jwksUri');
  });

  test('may be given another skew of the clocks', async () => {
    const strict = createTokenVerifier({ ...issuer.config, clockSkewMs: 0 }, { clock: systemClock, log });

    expect((await strict(await issuer.token({ exp: nowS() - 2 }))).kind).toBe('bad');
  });
});

describe('the keys of the issuer', () => {
  interface Trial {
    readonly issuer: Entra;
    readonly advance: (ms: number) => void;
    readonly judge: (token: string) => Promise<Verdict['kind']>;
  }

  async function trial(run: (given: Trial) => Promise<void>): Promise<void> {
    const own = await startEntra();
    const startedMs = Date.now();
    let passedMs = 0;
    const clock: Clock = { ...systemClock, now: () => startedMs, mono: () => passedMs };
    const verifier = createTokenVerifier(own.config, { clock, log });
    try {
      await run({
        issuer: own,
        advance: (ms) => {
          passedMs += ms;
        },
        judge: async (token) => (await verifier(token)).kind,
      });
    } finally {
      await own.close();
    }
  }
  const MINUTE_MS = 60_000;

  test('are fetched once, however many tokens come', () =>
    trial(async ({ issuer: own, judge }) => {
      const token = await own.token();

      const kinds = await Promise.all(Array.from({ length: 20 }, () => judge(token)));

      expect(new Set(kinds)).toEqual(new Set(['good']));
      expect(own.asked()).toBe(1);
    }));

  test('are never fetched for a token that is nonsense', () =>
    trial(async ({ issuer: own, judge }) => {
      for (const token of ['eyJ.eyJ.eyJ', `${part({ alg: 'none' })}.${part(claimsWith())}.`])
        expect(await judge(token)).toBe('bad');
      expect(await judge(await own.token({ iss: 'https://evil.example' }))).toBe('bad');

      expect(own.asked()).toBe(0);
    }));

  test('that could never be fetched make a token neither good nor bad, and are fetched every five seconds', () =>
    trial(async ({ issuer: own, advance, judge }) => {
      own.answer((_request, response) => response.writeHead(503).end());
      const token = await own.token();

      expect([await judge(token), await judge(token)]).toEqual(['unavailable', 'unavailable']);
      expect(own.asked()).toBe(1);
      own.answer(null);
      advance(5_000);
      expect(await judge(token)).toBe('good');
    }));

  test.each<[string, Parameters<Entra['answer']>[0]]>([
    ['a redirect', (_request, response) => response.writeHead(302, { location: '/elsewhere' }).end()],
    ['no JSON', (_request, response) => response.end('<html>')],
    ['no keys', (_request, response) => response.end('{}')],
    ['more than a mebibyte', (_request, response) => response.end(`{"keys":[]}${' '.repeat(2 ** 20)}`)],
    ['a broken connection', (request) => request.socket.destroy()],
  ])('that come as %s are not there', (_name, answer) =>
    trial(async ({ issuer: own, judge }) => {
      own.answer(answer);

      expect(await judge(await own.token())).toBe('unavailable');
      expect(own.asked()).toBe(1);
    }),
  );

  test('are fetched again for an unknown key id, once a minute at most', () =>
    trial(async ({ issuer: own, advance, judge }) => {
      expect(await judge(await own.token())).toBe('good');
      await own.rotate();
      const token = await own.token();

      expect([await judge(token), await judge(token)]).toEqual(['bad', 'bad']);
      expect(own.asked()).toBe(1);
      advance(MINUTE_MS);
      expect(await judge(token)).toBe('good');
      const unknown = await own.token({}, { kid: 'unknown' });
      for (let count = 0; count < 5; count++) expect(await judge(unknown)).toBe('bad');
      expect(own.asked()).toBe(2);
    }));

  test('outlive an issuer that is down, for a day', () =>
    trial(async ({ issuer: own, advance, judge }) => {
      const token = await own.token();
      expect(await judge(token)).toBe('good');
      own.answer((request) => request.socket.destroy());

      advance(11 * MINUTE_MS);
      expect([await judge(token), await judge(token)]).toEqual(['good', 'good']);
      expect(own.asked()).toBe(2);
      advance(24 * 60 * MINUTE_MS);
      expect(await judge(token)).toBe('unavailable');
    }));

  test('that were withdrawn end within ten minutes', () =>
    trial(async ({ issuer: own, advance, judge }) => {
      const token = await own.token();
      expect(await judge(token)).toBe('good');
      await own.rotate();

      advance(9 * MINUTE_MS);
      expect(await judge(token)).toBe('good');
      advance(2 * MINUTE_MS);
      expect(await judge(token)).toBe('bad');
    }));
});
