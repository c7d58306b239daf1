import type { Socket } from 'node:net';

/**
 * Whether a socket that connects gets as far as `event` before it fails or its time is over. Nothing is sent, and it is
 * closed either way.
 */
export function reaches(socket: Socket, event: 'connect' | 'secureConnect'): Promise<boolean> {
  return new Promise((resolve) => {
    const end = (isReached: boolean): void => {
      socket.destroy();
      resolve(isReached);
    };
    socket
      .once(event, () => end(true))
      .once('error', () => end(false))
      .once('timeout', () => end(false));
  });
}

/** As `connect` takes it: in a URL an IPv6 address stands in brackets. */
export const hostIn = ({ hostname }: Pick<URL, 'hostname'>): string => hostname.replace(/^\[|\]$/g, '');
