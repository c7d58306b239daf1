import { join } from 'node:path';
import type { AppConfig } from '../config/config.ts';
import { ConfigError } from '../config/fault.ts';
import { systemClock } from '../core/clock.ts';
import type { DataDir } from '../core/data-dir.ts';
import { makeServerTls, readServerTls, TlsError, type ServerTls } from '../tls/server-tls.ts';

export interface OpenedTls {
  /** Null: the service speaks plain HTTP. */
  readonly tls: ServerTls | null;
  /** The certificate that clients must trust. Null: the service speaks HTTP, or has a certificate of the operator's own. */
  readonly localCertPath: string | null;
}

export async function openTls(config: AppConfig, dataDir: Pick<DataDir, 'path'>): Promise<OpenedTls> {
  const { tlsSelfSigned, host, resourceDomains } = config;
  if (!tlsSelfSigned) return { tls: await readOwnTls(config), localCertPath: null };
  const dir = join(dataDir.path, 'tls');
  const { tls, certPath } = await makeServerTls({ dir, host, resourceDomains, nowMs: systemClock.now() });
  return { tls, localCertPath: certPath };
}

/** The operator's certificate; null: there is none. */
export async function readOwnTls({ tlsCertPath, tlsKeyPath }: AppConfig): Promise<ServerTls | null> {
  if (tlsCertPath === null || tlsKeyPath === null) return null;
  try {
    return await readServerTls({ certPath: tlsCertPath, keyPath: tlsKeyPath, nowMs: systemClock.now() });
  } catch (error) {
    if (!(error instanceof TlsError)) throw error;
    throw new ConfigError([{ source: '--tls-cert', message: error.message }]);
  }
}
