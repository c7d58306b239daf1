import { BlockList, isIP } from 'node:net';

/** A range of addresses: `10.0.0.0/8`, `fd00::/8`, or a single address. */
export interface IpRange {
  readonly address: string;
  readonly bits: number;
  readonly family: 'ipv4' | 'ipv6';
}

export function parseIpRange(text: string): IpRange | undefined {
  const [address = '', length, ...rest] = text.split('/');
  const version = isIP(address);
  if (version === 0 || address.includes('%') || rest.length > 0) return undefined;
  const bitsMax = version === 4 ? 32 : 128;
  const bits = length === undefined ? bitsMax : Number(length);
  if (length !== undefined && (!/^\d{1,3}$/.test(length) || bits > bitsMax)) return undefined;
  return { address, bits, family: version === 4 ? 'ipv4' : 'ipv6' };
}

/** Whether an address lies in one of the ranges. An IPv4 address that is written as IPv6 counts as IPv4. */
export function inRanges(ranges: readonly IpRange[]): (address: string) => boolean {
  const list = new BlockList();
  for (const { address, bits, family } of ranges) list.addSubnet(address, bits, family);
  return (address) => {
    const version = isIP(address);
    return version !== 0 && list.check(address, version === 4 ? 'ipv4' : 'ipv6');
  };
}

/** An address in its one spelling, without port, brackets and zone. Undefined: the text is no address. */
export function plainAddress(text: string): string | undefined {
  const bare = /^\[([^\]]+)\](?::\d{1,5})?$/.exec(text)?.[1] ?? /^([\d.]+):\d{1,5}$/.exec(text)?.[1] ?? text;
  const [address = ''] = bare.split('%');
  const plain = address.toLowerCase().replace(/^::ffff:(?=[\d.]+$)/, '');
  return isIP(plain) === 0 ? undefined : plain;
}
