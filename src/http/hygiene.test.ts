import { createServer } from 'node:http';
import { Socket } from 'node:net';
import { expect, test } from 'vitest';
import { limitConnections } from './hygiene.ts';

/** As a server sees a caller from elsewhere. */
function callFrom(address: string): Socket {
  const socket = new Socket();
  Object.defineProperty(socket, 'remoteAddress', { value: address });
  return socket;
}

const closed = (socket: Socket): Promise<void> =>
  new Promise((resolve) => socket.once('close', () => resolve()));

test('an address may have so many connections, and another as many', async () => {
  const server = createServer();
  limitConnections(server, 2);
  const open = (address: string): Socket => {
    const socket = callFrom(address);
    server.emit('connection', socket);
    return socket;
  };

  const [first, second, third] = [open('192.0.2.1'), open('192.0.2.1'), open('192.0.2.1')];
  const other = open('192.0.2.2');
  expect([first, second, third, other].map((socket) => socket.destroyed)).toEqual([
    false,
    false,
    true,
    false,
  ]);

  const gone = closed(first);
  first.destroy();
  await gone;
  const next = open('192.0.2.1');
  expect(next.destroyed).toBe(false);

  const local = Array.from({ length: 10 }, (_, index) => open(index % 2 === 0 ? '127.0.0.1' : '::1'));
  expect(local.some((socket) => socket.destroyed)).toBe(false);
  for (const socket of [second, other, next, ...local]) socket.destroy();
});
