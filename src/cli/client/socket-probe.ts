import type { Socket } from 'node:net';

/** Whether a connecting socket reaches `event` before it fails or its time is over. Nothing is sent, and it is closed. */
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

/** The host as `connect` takes it. In a URL an IPv6 address has brackets. */
export const hostIn = ({ hostname }: Pick<URL, 'hostname'>): string => hostname.replace(/^\[|\]$/g, '');
