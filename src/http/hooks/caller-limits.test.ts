import { createServer } from 'node:http';
import { Socket } from 'node:net';
import { expect, test } from 'vitest';
import { parseIpRange, type IpRange } from '../../core/ip-ranges.ts';
import { callerAddresses } from './caller-address.ts';
import { limitConnections } from './caller-limits.ts';

/** As a server sees a caller from elsewhere. */
function callFrom(address: string): Socket {
  const socket = new Socket();
  Object.defineProperty(socket, 'remoteAddress', { value: address });
  return socket;
}

const closed = (socket: Socket): Promise<void> =>
  new Promise((resolve) => socket.once('close', () => resolve()));

test('each address may have so many connections, and proxies and this machine as many as they need', async () => {
  const server = createServer();
  const addresses = callerAddresses([parseIpRange('10.0.0.0/8') as IpRange]);
  limitConnections(server, { perAddressMax: 2, addresses });
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
  const proxied = Array.from({ length: 10 }, () => open('10.1.2.3'));
  expect(proxied.some((socket) => socket.destroyed)).toBe(false);
  for (const socket of [second, other, next, ...local, ...proxied]) socket.destroy();
});
