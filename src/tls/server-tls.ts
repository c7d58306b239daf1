import { X509Certificate } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import { hostname, networkInterfaces } from 'node:os';
import { isIP } from 'node:net';
import { createSecureContext, type SecureContext } from 'node:tls';
import { callbackify } from 'node:util';
import { openLocalCa, type LocalCa } from './local-ca.ts';

/** What a server needs for HTTPS: options of `node:https`. */
export interface ServerTls {
  readonly cert: string;
  readonly key: string;
  readonly minVersion: 'TLSv1.2';
  readonly SNICallback?: (name: string, done: (error: Error | null, context?: SecureContext) => void) => void;
}

/** The operator must put this right. The message says how. */
export class TlsError extends Error {
  override name = 'TlsError';
}

/** Reads a certificate of the operator. */
export async function readServerTls(paths: {
  readonly certPath: string;
  readonly keyPath: string;
  readonly nowMs: number;
}): Promise<ServerTls> {
  const [cert, key] = await Promise.all([readPem(paths.certPath), readPem(paths.keyPath)]);
  try {
    createSecureContext({ cert, key });
  } catch (cause) {
    const message = `${paths.certPath} and ${paths.keyPath} are not a certificate (PEM) and its private key: ${String(cause)}`;
    throw new TlsError(message, { cause });
  }
  const { validTo } = new X509Certificate(cert);
  if (Date.parse(validTo) > paths.nowMs) return { cert, key, minVersion: 'TLSv1.2' };
  throw new TlsError(`The certificate ${paths.certPath} ended on ${validTo}. Renew it.`);
}

/** Makes certificates of this machine's authority: one for its names, and one for each resource when its host is asked for. */
export async function makeServerTls(options: {
  readonly dir: string;
  /** Address that the server listens on. */
  readonly host: string;
  readonly resourceDomains: readonly string[];
  readonly nowMs: number;
}): Promise<{ readonly tls: ServerTls; readonly certPath: string }> {
  const ca = await openLocalCa(options.dir, options);
  const plain = await ca.issue(namesOf(options.host));
  const contexts = new Contexts(ca, options.resourceDomains);
  return {
    certPath: ca.certPath,
    tls: {
      ...plain,
      minVersion: 'TLSv1.2',
      SNICallback: callbackify((name: string) => contexts.find(name.toLowerCase())),
    },
  };
}

function namesOf(host: string): string[] {
  const isAny = host === '0.0.0.0' || host === '::';
  const outside = isAny
    ? [
        hostname(),
        ...Object.values(networkInterfaces()).flatMap((all) => all?.map((one) => one.address) ?? []),
      ]
    : [host];
  // A link-local address names the interface, which a certificate cannot.
  const usable = outside.filter((name) => isIP(name) !== 0 || /^[a-z0-9.-]+$/i.test(name));
  return [...new Set(['localhost', '*.localhost', '127.0.0.1', '::1', ...usable])];
}

const CONTEXTS_MAX = 1_000;

/** Clients refuse `*.localhost` as too wide, so each resource has a certificate of its own. */
class Contexts {
  readonly #ca: LocalCa;
  readonly #domains: readonly string[];
  readonly #made = new Map<string, Promise<SecureContext>>();
  constructor(ca: LocalCa, domains: readonly string[]) {
    this.#ca = ca;
    this.#domains = domains;
  }

  /** Undefined: the certificate of the server fits. */
  async find(name: string): Promise<SecureContext | undefined> {
    const [label = '', ...rest] = name.split('.');
    if (!/^[a-z0-9-]{1,63}$/.test(label) || !this.#domains.includes(rest.join('.'))) return undefined;
    const known = this.#made.get(name);
    if (known) return known;
    if (this.#made.size >= CONTEXTS_MAX) this.#made.clear();
    const made = this.#ca.issue([name]).then((issued) => createSecureContext(issued));
    this.#made.set(name, made);
    return made;
  }
}

async function readPem(path: string): Promise<string> {
  try {
    return await readFile(path, 'utf8');
  } catch (cause) {
    throw new TlsError(`${path} cannot be read: ${String(cause)}`, { cause });
  }
}
