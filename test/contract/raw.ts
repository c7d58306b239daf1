/** Requests as bytes on a socket, for what no HTTP client would send. */
import { connect } from 'node:net';

export const HOST = 'Host: localhost';

export const request = (line: string, headers: string[], body = ''): string =>
  `${line}\r\n${headers.join('\r\n')}\r\n\r\n${body}`;

export const statusOf = (answer: string): number => Number(/^HTTP\/1\.1 (\d{3})/.exec(answer)?.[1]);

const SILENCE_MS = 10_000;

/** Returns what comes back until the whole answer is there or the server closes. */
export function exchange(port: number, bytes: string | Uint8Array, end: boolean): Promise<string> {
  const { promise, resolve, reject } = Promise.withResolvers<string>();
  const socket = connect(port, '127.0.0.1');
  let answer = '';
  socket.setTimeout(SILENCE_MS, () => reject(new Error(`silence after: ${answer}`)));
  socket.on('data', (chunk) => {
    answer += chunk.toString('latin1');
    if (isWhole(answer)) socket.destroy();
  });
  socket.on('error', (error: NodeJS.ErrnoException) =>
    // The server may close while we still write. What it sent before is the answer.
    error.code === 'ECONNRESET' || error.code === 'EPIPE' ? resolve(answer) : reject(error),
  );
  socket.on('close', () => resolve(answer));
  socket.on('connect', () => {
    socket.write(bytes);
    if (end) socket.end();
  });
  return promise;
}

function isWhole(answer: string): boolean {
  const split = answer.indexOf('\r\n\r\n');
  const length = /content-length: (\d+)/i.exec(answer)?.[1];
  return split !== -1 && length !== undefined && answer.length - split - 4 >= Number(length);
}
