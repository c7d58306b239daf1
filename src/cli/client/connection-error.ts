import { connect } from 'node:tls';
import { codeOf, reasonOf } from '../process/system-error.ts';
import { hostIn, reaches } from './socket-probe.ts';

const TLS_PROBE_MS = 2_000;

/** Says why a call of `url` failed. If plain HTTP met a closed connection, it finds out whether the server speaks TLS. */
export async function reasonOfCall(url: URL, error: unknown): Promise<string> {
  const cause = error instanceof Error && error.cause instanceof Error ? error.cause : error;
  const isCut = ['UND_ERR_SOCKET', 'ECONNRESET'].includes(codeOf(cause)) || codeOf(cause).startsWith('HPE_');
  if (url.protocol !== 'http:' || !isCut || !(await speaksTls(url))) return reasonOf(error);
  return `it speaks TLS; use ${url.href.replace(/^http:/, 'https:').replace(/\/$/, '')}`;
}

/** Makes a TLS handshake and sends nothing, so the certificate does not matter. */
function speaksTls(url: URL): Promise<boolean> {
  const port = Number(url.port || 80);
  const socket = connect({ host: hostIn(url), port, rejectUnauthorized: false, timeout: TLS_PROBE_MS });
  return reaches(socket, 'secureConnect');
}
