import { connect } from 'node:tls';
import { codeOf, reasonOf } from '../process/system-error.ts';
import { hostIn, reaches } from './socket-probe.ts';

const TLS_LOOK_MS = 2_000;

/** Why a call of `url` failed. Where plain HTTP met a closed connection it looks whether TLS is spoken there. */
export async function reasonOfCall(url: URL, error: unknown): Promise<string> {
  const cause = error instanceof Error && error.cause instanceof Error ? error.cause : error;
  const isCut = ['UND_ERR_SOCKET', 'ECONNRESET'].includes(codeOf(cause)) || codeOf(cause).startsWith('HPE_');
  if (url.protocol !== 'http:' || !isCut || !(await speaksTls(url))) return reasonOf(error);
  return `it speaks TLS; use ${url.href.replace(/^http:/, 'https:').replace(/\/$/, '')}`;
}

/** A handshake alone: nothing is sent, so the certificate does not matter. */
function speaksTls(url: URL): Promise<boolean> {
  const port = Number(url.port || 80);
  const socket = connect({ host: hostIn(url), port, rejectUnauthorized: false, timeout: TLS_LOOK_MS });
  return reaches(socket, 'secureConnect');
}
