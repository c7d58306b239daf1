/** The sockets under the server: the limits of Node's parser, and refusals before there is a request. */
import type { Server } from 'node:http';
import type { Socket } from 'node:net';
import type { HttpDeps } from './deps.ts';

const HEADER_BYTES_MAX = 16 * 1024;
const HEADERS_TIMEOUT_MS = 20_000;

export function listenerOptions(tls: HttpDeps['tls']) {
  const http = {
    maxHeaderSize: HEADER_BYTES_MAX,
    headersTimeout: HEADERS_TIMEOUT_MS,
    // `refuseMalformed` refuses a missing Host, with a body.
    requireHostHeader: false,
  };
  // The type of the server differs, and nothing here depends on it.
  return tls === undefined
    ? { http }
    : ({ https: { ...tls, ...http, allowHalfOpen: true } } as unknown as { http: typeof http });
}

export function refuseConnectAndExpect(server: Server): void {
  // A caller may close its half of the connection after its request, and wait for the answer.
  Object.assign(server, { httpAllowHalfOpen: true });
  server.on('connect', (_request, socket: Socket) =>
    closeWith(socket, '405 Method Not Allowed', 'This service is no proxy: CONNECT is not allowed.'),
  );
  server.on('checkExpectation', ({ socket }) =>
    closeWith(socket, '417 Expectation Failed', 'The header Expect may only say 100-continue.'),
  );
}

/** Node calls it when its parser cannot read the request. */
export function refuseUnparsable(error: Error & { code?: string }, socket: Socket): void {
  if (!socket.writable || error.code === 'ECONNRESET') {
    socket.destroy();
    return;
  }
  closeWith(socket, ...(UNPARSABLE[error.code ?? ''] ?? ['400 Bad Request', 'The request is malformed.']));
}

const UNPARSABLE: Readonly<Record<string, readonly [status: string, message: string]>> = {
  HPE_HEADER_OVERFLOW: [
    '431 Request Header Fields Too Large',
    `The headers exceed ${HEADER_BYTES_MAX} bytes.`,
  ],
  ERR_HTTP_REQUEST_TIMEOUT: ['408 Request Timeout', 'The request headers came too slowly.'],
};

/** There is no surface yet, and so no dialect. Clients of both kinds can read this error. */
function closeWith(socket: Socket, status: string, message: string): void {
  const body = JSON.stringify({
    error: { code: 'BadRequest', message, type: 'invalid_request_error', param: null },
  });
  endWith(socket, status, body);
}

/** Answers on the bare socket, and closes it. */
export function endWith(socket: Socket, status: string, body: string): void {
  socket.write(
    `HTTP/1.1 ${status}\r\nconnection: close\r\ncontent-type: application/json\r\n` +
      `content-length: ${Buffer.byteLength(body)}\r\n\r\n${body}`,
  );
  socket.destroySoon();
}
