import { createPrivateKey, KeyObject, webcrypto, X509Certificate } from 'node:crypto';
import { mkdir, readFile } from 'node:fs/promises';
import { isIP } from 'node:net';
import { join } from 'node:path';
import { DataDirError, writeDurably } from '../core/data-dir.ts';

interface KeyedCertificate {
  /** PEM, together with the certificate that signed it. */
  readonly cert: string;
  readonly key: string;
}

/** A certificate authority for this machine alone. Clients trust its certificate once, whatever names are added later. */
export interface LocalCa {
  readonly certPath: string;
  /** Makes a certificate for these names and addresses. It ends with the authority's. */
  issue(names: readonly string[]): Promise<KeyedCertificate>;
}

const DAY_MS = 24 * 3_600_000;
/** Browsers and systems accept no longer validity. */
const VALID_MS = 800 * DAY_MS;
/** A start this near to its end makes a new authority. */
const RENEW_MS = 60 * DAY_MS;

/** Opens the authority of the directory, or makes one: `ca.pem` for everybody, `ca.key` for this user alone. */
export async function openLocalCa(dir: string, { nowMs }: { readonly nowMs: number }): Promise<LocalCa> {
  const [certPath, keyPath] = [join(dir, 'ca.pem'), join(dir, 'ca.key')];
  const ca =
    (await readCa({ certPath, keyPath }, nowMs)) ?? (await makeCa(dir, { certPath, keyPath }, nowMs));
  return {
    certPath,
    async issue(names) {
      const x509 = await loadX509();
      const keys = await makeKeys();
      const authority = new x509.X509Certificate(ca.cert);
      const made = await x509.X509CertificateGenerator.create({
        subject: `CN=${names[0] ?? 'localhost'}`,
        issuer: authority.subject,
        notBefore: new Date(nowMs - DAY_MS),
        notAfter: authority.notAfter,
        publicKey: keys.publicKey,
        signingKey: await importKey(ca.key),
        signingAlgorithm: ALGORITHM,
        extensions: [
          new x509.BasicConstraintsExtension(false, undefined, true),
          new x509.KeyUsagesExtension(x509.KeyUsageFlags.digitalSignature, true),
          new x509.ExtendedKeyUsageExtension([x509.ExtendedKeyUsage.serverAuth]),
          new x509.SubjectAlternativeNameExtension(
            names.map((value) => ({ type: isIP(value) === 0 ? 'dns' : 'ip', value })),
          ),
          // Python wants both identifiers.
          await x509.SubjectKeyIdentifierExtension.create(keys.publicKey),
          await x509.AuthorityKeyIdentifierExtension.create(authority),
        ],
      });
      return { cert: `${made.toString('pem')}\n${ca.cert}`, key: await exportKey(keys.privateKey) };
    },
  };
}

/** Loaded on demand: it is a lot of code, and only this needs it. */
const loadX509 = () => import('@peculiar/x509');

const ALGORITHM = { name: 'ECDSA', namedCurve: 'P-256', hash: 'SHA-256' } as const;

const makeKeys = () => webcrypto.subtle.generateKey(ALGORITHM, true, ['sign', 'verify']);

const exportKey = async (key: webcrypto.CryptoKey): Promise<string> =>
  KeyObject.from(key).export({ type: 'pkcs8', format: 'pem' }).toString();

const importKey = (pem: string): Promise<webcrypto.CryptoKey> =>
  webcrypto.subtle.importKey(
    'pkcs8',
    createPrivateKey(pem).export({ type: 'pkcs8', format: 'der' }),
    ALGORITHM,
    false,
    ['sign'],
  );

interface CaPaths {
  readonly certPath: string;
  readonly keyPath: string;
}

/**
 * Returns undefined when there is no authority, or it is about to end. Invariant: another one is never replaced. Otherwise
 * every client would have to trust a new one.
 */
async function readCa({ certPath, keyPath }: CaPaths, nowMs: number): Promise<KeyedCertificate | undefined> {
  const [cert, key] = await Promise.all([readIfThere(certPath), readIfThere(keyPath)]);
  // A first start that was interrupted may have written the key alone.
  if (cert === undefined) return undefined;
  try {
    const x509 = new X509Certificate(cert);
    if (Date.parse(x509.validTo) - nowMs <= RENEW_MS) return undefined;
    if (key !== undefined && x509.checkPrivateKey(createPrivateKey(key))) return { cert, key };
  } catch (cause) {
    throw new DataDirError(lostText({ certPath, keyPath }, 'damaged'), { cause });
  }
  throw new DataDirError(lostText({ certPath, keyPath }, key === undefined ? 'missing' : 'of another'));
}

const lostText = ({ certPath, keyPath }: CaPaths, how: 'missing' | 'damaged' | 'of another'): string =>
  ({
    missing: `${keyPath} is missing, and clients trust ${certPath}. `,
    damaged: `${certPath} or ${keyPath} is damaged. `,
    'of another': `${keyPath} is not the key of ${certPath}. `,
  })[how] + 'Restore both from one backup; or remove both, and give every client the new certificate.';

async function makeCa(dir: string, { certPath, keyPath }: CaPaths, nowMs: number): Promise<KeyedCertificate> {
  const x509 = await loadX509();
  const keys = await makeKeys();
  const made = await x509.X509CertificateGenerator.createSelfSigned({
    name: 'CN=Offpeak on this machine',
    notBefore: new Date(nowMs - DAY_MS),
    notAfter: new Date(nowMs + VALID_MS),
    keys,
    signingAlgorithm: ALGORITHM,
    extensions: [
      new x509.BasicConstraintsExtension(true, 0, true),
      new x509.KeyUsagesExtension(x509.KeyUsageFlags.keyCertSign, true),
      await x509.SubjectKeyIdentifierExtension.create(keys.publicKey),
    ],
  });
  const [cert, key] = [`${made.toString('pem')}\n`, await exportKey(keys.privateKey)];
  await mkdir(dir, { recursive: true, mode: 0o700 });
  // Invariant: the key is written first. Otherwise a crash could leave a certificate without its key, which stops every start.
  await writeDurably(keyPath, key);
  await writeDurably(certPath, cert, 0o644);
  return { cert, key };
}

async function readIfThere(path: string): Promise<string | undefined> {
  return readFile(path, 'utf8').catch((error: NodeJS.ErrnoException) => {
    if (error.code === 'ENOENT') return undefined;
    throw error;
  });
}
