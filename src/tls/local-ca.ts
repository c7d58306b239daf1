import { generateKeyPairSync, X509Certificate } from 'node:crypto';
import { mkdir, open, readFile, rename } from 'node:fs/promises';
import { isIP } from 'node:net';
import { join } from 'node:path';

export interface KeyedCertificate {
  /** PEM, with whoever signed it. */
  readonly cert: string;
  readonly key: string;
}

/** A certificate authority for this machine alone: clients trust its certificate once, whatever names are added later. */
export interface LocalCa {
  readonly certPath: string;
  /** A certificate for these names and addresses, good as long as the authority's. */
  issue(names: readonly string[]): Promise<KeyedCertificate>;
}

const DAY_MS = 24 * 3_600_000;
/** What browsers and systems accept at most. */
const VALID_MS = 800 * DAY_MS;
/** A new one is made at a start this near to the end. */
const RENEW_MS = 60 * DAY_MS;

/** Takes up the authority of the directory, or makes one: `ca.pem` for everybody, `ca.key` for this user alone. */
export async function openLocalCa(dir: string, { nowMs }: { readonly nowMs: number }): Promise<LocalCa> {
  const [certPath, keyPath] = [join(dir, 'ca.pem'), join(dir, 'ca.key')];
  const ca =
    (await readCa({ certPath, keyPath }, nowMs)) ?? (await makeCa(dir, { certPath, keyPath }, nowMs));
  const until = new Date(new X509Certificate(ca.cert).validTo);
  return {
    certPath,
    async issue(names) {
      // It brings a lot of code, which only this needs.
      const { generate } = await import('selfsigned');
      const made = await generate([{ name: 'commonName', value: names[0] ?? 'localhost' }], {
        ...SIGNATURE,
        ca,
        keyPair: makeKeyPair(),
        notBeforeDate: new Date(nowMs - DAY_MS),
        notAfterDate: until,
        extensions: [
          { name: 'basicConstraints', cA: false, critical: true },
          { name: 'keyUsage', digitalSignature: true, critical: true },
          { name: 'extKeyUsage', serverAuth: true },
          { name: 'subjectAltName', altNames: names.map(toAltName) },
        ],
      });
      return { cert: `${made.cert.trimEnd()}\n${ca.cert}`, key: made.private };
    },
  };
}

const SIGNATURE = { keyType: 'ec', curve: 'P-256', algorithm: 'sha256' } as const;

interface CaPaths {
  readonly certPath: string;
  readonly keyPath: string;
}

async function readCa({ certPath, keyPath }: CaPaths, nowMs: number): Promise<KeyedCertificate | undefined> {
  const [cert, key] = await Promise.all([readIfThere(certPath), readIfThere(keyPath)]);
  if (cert === undefined || key === undefined) return undefined;
  return Date.parse(new X509Certificate(cert).validTo) - nowMs > RENEW_MS ? { cert, key } : undefined;
}

async function makeCa(dir: string, { certPath, keyPath }: CaPaths, nowMs: number): Promise<KeyedCertificate> {
  const { generate } = await import('selfsigned');
  const made = await generate([{ name: 'commonName', value: 'Offpeak on this machine' }], {
    ...SIGNATURE,
    notBeforeDate: new Date(nowMs - DAY_MS),
    notAfterDate: new Date(nowMs + VALID_MS),
    extensions: [
      { name: 'basicConstraints', cA: true, pathLenConstraint: 0, critical: true },
      { name: 'keyUsage', keyCertSign: true, critical: true },
    ],
  });
  const { cert, key } = { cert: `${made.cert.trimEnd()}\n`, key: made.private };
  await mkdir(dir, { recursive: true, mode: 0o700 });
  // Where the certificate is, its key is.
  await writeWhole(keyPath, key, 0o600);
  await writeWhole(certPath, cert, 0o644);
  return { cert, key };
}

const makeKeyPair = (): { privateKey: string; publicKey: string } =>
  generateKeyPairSync('ec', {
    namedCurve: 'P-256',
    privateKeyEncoding: { type: 'pkcs8', format: 'pem' },
    publicKeyEncoding: { type: 'spki', format: 'pem' },
  });

const toAltName = (name: string) =>
  isIP(name) === 0 ? ({ type: 2, value: name } as const) : ({ type: 7, ip: name } as const);

async function readIfThere(path: string): Promise<string | undefined> {
  return readFile(path, 'utf8').catch((error: NodeJS.ErrnoException) => {
    if (error.code === 'ENOENT') return undefined;
    throw error;
  });
}

async function writeWhole(path: string, content: string, mode: number): Promise<void> {
  const file = await open(`${path}.new`, 'w', mode);
  try {
    await file.writeFile(content);
    await file.chmod(mode);
    await file.sync();
  } finally {
    await file.close();
  }
  await rename(`${path}.new`, path);
}
