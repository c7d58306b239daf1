import { connect } from 'node:net';
import { afterEach, describe, expect, test } from 'vitest';
import { parseIpRange, type IpRange } from '../../src/core/ip-ranges.ts';
import { KEY_A, startService, type Service } from './harness.ts';

let service: Service;
afterEach(() => service.close());

const LOCAL = parseIpRange('127.0.0.1') as IpRange;
const ask = (caller: string, key = KEY_A, header = 'x-forwarded-for') =>
  service.json('/v1/files', {
    headers: { 'api-key': key, [header]: header === 'forwarded' ? `for=${caller}` : caller },
  });

describe('behind a trusted proxy', () => {
  test.each(['x-forwarded-for', 'forwarded'])(
    'wrong keys are counted by the caller that %s names',
    async (header) => {
      service = await startService({ http: { trustedProxies: [LOCAL], authFailuresPerMinuteMax: 2 } });
      const statuses = async (caller: string) => {
        const seen: number[] = [];
        for (let n = 0; n < 3; n++) seen.push((await ask(caller, 'wrong', header)).status);
        return seen;
      };

      expect(await statuses('198.51.100.1')).toEqual([401, 401, 429]);
      expect(await statuses('198.51.100.2')).toEqual([401, 401, 429]);
    },
  );

  test('requests under way are counted by caller, and the others get through', async () => {
    service = await startService({ http: { trustedProxies: [LOCAL], connectionsPerAddressMax: 2 } });
    const held = await Promise.all(
      [1, 2].map(async () => {
        const socket = connect(service.port, '127.0.0.1');
        socket.write(
          `POST /v1/batches HTTP/1.1\r\nHost: x\r\napi-key: ${KEY_A}\r\nX-Forwarded-For: 198.51.100.1\r\n` +
            'Content-Type: application/json\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\n',
        );
        // The request is counted before the service says 100 Continue.
        await new Promise((resolve) => socket.once('data', resolve));
        return socket;
      }),
    );

    const third = await ask('198.51.100.1');
    const other = await ask('198.51.100.2');
    const ended = Promise.all(held.map((socket) => new Promise((resolve) => socket.once('close', resolve))));
    for (const socket of held) socket.end('{}');
    await ended;
    const after = await ask('198.51.100.1');

    expect([third.status, third.headers.get('retry-after')]).toEqual([429, '1']);
    expect(third.body.error.message).toContain('198.51.100.1 has 2 requests under way');
    expect([other.status, after.status]).toEqual([200, 200]);
  });

  test('the log names the caller', async () => {
    service = await startService({ http: { trustedProxies: [LOCAL] } });

    await ask('198.51.100.77');

    await expect.poll(() => service.logged.some((entry) => entry.includes('198.51.100.77'))).toBe(true);
  });
});

test('a caller that is no trusted proxy cannot pass for many', async () => {
  service = await startService({ http: { authFailuresPerMinuteMax: 2 } });
  const seen: number[] = [];

  for (let n = 0; n < 4; n++) seen.push((await ask(`198.51.100.${n}`, 'wrong')).status);

  expect(seen).toEqual([401, 401, 429, 429]);
});
