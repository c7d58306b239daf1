import type { IncomingMessage } from 'node:http';
import { describe, expect, test } from 'vitest';
import { parseIpRange, type IpRange } from '../../core/ip-ranges.ts';
import { callerAddresses } from './caller-address.ts';

const ranges = ['10.0.0.0/8', 'fd00::/8', '192.0.2.7'].map((range) => parseIpRange(range) as IpRange);
const addressOf = (peer: string | undefined, headers: Record<string, string> = {}): string =>
  callerAddresses(ranges).of({ socket: { remoteAddress: peer }, headers } as unknown as IncomingMessage);

describe('the address of a caller', () => {
  test.each<[string, string | undefined, Record<string, string>, string]>([
    ['without a proxy', '203.0.113.9', {}, '203.0.113.9'],
    [
      'whatever a caller that is no proxy says',
      '203.0.113.9',
      { 'x-forwarded-for': '198.51.100.1' },
      '203.0.113.9',
    ],
    ['whatever it says in the other header', '203.0.113.9', { forwarded: 'for=198.51.100.1' }, '203.0.113.9'],
    ['of a proxy that names nobody', '10.1.2.3', {}, '10.1.2.3'],
    ['that a proxy names', '10.1.2.3', { 'x-forwarded-for': '198.51.100.1' }, '198.51.100.1'],
    [
      'that a proxy names, as IPv4 in IPv6',
      '::ffff:10.1.2.3',
      { 'x-forwarded-for': '::ffff:198.51.100.1' },
      '198.51.100.1',
    ],
    ['that a proxy of IPv6 names', 'fd00::1', { 'x-forwarded-for': '2001:DB8::1' }, '2001:db8::1'],
    [
      'the last that is no proxy',
      '10.1.2.3',
      { 'x-forwarded-for': '6.6.6.6, 198.51.100.1, 10.9.9.9' },
      '198.51.100.1',
    ],
    ['the first of proxies alone', '10.1.2.3', { 'x-forwarded-for': '10.4.4.4, 10.5.5.5' }, '10.4.4.4'],
    [
      'up to what is no address',
      '10.1.2.3',
      { 'x-forwarded-for': '198.51.100.1, unknown, 10.5.5.5' },
      '10.5.5.5',
    ],
    ['of the proxy where nothing is one', '10.1.2.3', { 'x-forwarded-for': 'nonsense' }, '10.1.2.3'],
    ['with a port', '10.1.2.3', { 'x-forwarded-for': '198.51.100.1:4711' }, '198.51.100.1'],
    ['by RFC 7239', '10.1.2.3', { forwarded: 'for=198.51.100.1;proto=https;by=10.1.2.3' }, '198.51.100.1'],
    ['by RFC 7239, IPv6', '10.1.2.3', { forwarded: 'proto=http; For="[2001:db8::17]:4711"' }, '2001:db8::17'],
    [
      'by RFC 7239, through two',
      '10.1.2.3',
      { forwarded: 'for=6.6.6.6, for=198.51.100.1, for=10.7.7.7' },
      '198.51.100.1',
    ],
    ['hidden by a proxy', '10.1.2.3', { forwarded: 'for=_hidden' }, '10.1.2.3'],
    [
      'in both, alike',
      '10.1.2.3',
      { forwarded: 'for=198.51.100.1', 'x-forwarded-for': '198.51.100.1' },
      '198.51.100.1',
    ],
    [
      'of the proxy where the two differ: one may be made up',
      '10.1.2.3',
      { forwarded: 'for=198.51.100.1', 'x-forwarded-for': '198.51.100.2' },
      '10.1.2.3',
    ],
    ['of a socket that is gone', undefined, { 'x-forwarded-for': '198.51.100.1' }, ''],
  ])('%s', (_name, peer, headers, expected) => {
    expect(addressOf(peer, headers)).toBe(expected);
  });
});

describe('a range of addresses', () => {
  test.each([
    ['10.0.0.0/8', { address: '10.0.0.0', bits: 8, family: 'ipv4' }],
    ['192.0.2.7', { address: '192.0.2.7', bits: 32, family: 'ipv4' }],
    ['fd00::/8', { address: 'fd00::', bits: 8, family: 'ipv6' }],
    ['::1', { address: '::1', bits: 128, family: 'ipv6' }],
    ['0.0.0.0/0', { address: '0.0.0.0', bits: 0, family: 'ipv4' }],
  ])('%s', (text, range) => {
    expect(parseIpRange(text)).toEqual(range);
  });

  test.each([
    '',
    '10.0.0.0/33',
    '10.0.0/8',
    '::/129',
    '10.0.0.0/8/8',
    '10.0.0.0/',
    '10.0.0.0/-1',
    'fe80::1%eth0',
    'proxy',
  ])('%j is none', (text) => {
    expect(parseIpRange(text)).toBeUndefined();
  });
});
