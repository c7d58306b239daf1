import { isIP, isIPv6 } from 'node:net';

import { inRanges, parseIpRange } from './ip-ranges.ts';

/** The proxy that stands before an address. Null: the address is asked directly. */
export type ProxyFor = (url: URL) => URL | null;

export const noProxy: ProxyFor = () => null;

/** A variable names no proxy. Its value may carry a password, so the message does not repeat it. */
export class ProxyError extends Error {
  override name = 'ProxyError';
}

/**
 * `HTTP_PROXY`, `HTTPS_PROXY` and `NO_PROXY`, in either case; the lower one goes first, as in curl. This machine itself is
 * never asked through a proxy.
 */
export function proxiesOf(env: Readonly<Record<string, string | undefined>>): ProxyFor {
  const proxies: Readonly<Record<string, URL | null>> = {
    'http:': proxyOf(env, 'http_proxy'),
    'https:': proxyOf(env, 'https_proxy'),
  };
  const isExcluded = exclusions(env['no_proxy'] ?? env['NO_PROXY'] ?? '');
  return (url) => {
    const proxy = proxies[url.protocol] ?? null;
    return proxy === null || isLoopback(url) || isExcluded(url) ? null : proxy;
  };
}

function proxyOf(env: Readonly<Record<string, string | undefined>>, name: string): URL | null {
  const [key, value] = env[name] ? [name, env[name]] : [name.toUpperCase(), env[name.toUpperCase()]];
  if (value === undefined || value.trim() === '') return null;
  const proxy = toProxy(value);
  if (proxy === undefined) throw new ProxyError(`${key} is no proxy. Give a URL like ${PROXY_EXAMPLE}.`);
  return proxy;
}

const PROXY_EXAMPLE = 'http://proxy.example.com:3128';

/** Returns undefined when the value is no http or https proxy. A bare `host:port` is one. */
export function toProxy(value: string): URL | undefined {
  const text = value.trim();
  const url = URL.parse(text.includes('://') ? text : `http://${text}`);
  const isProxy = url !== null && /^https?:$/.test(url.protocol) && url.hostname !== '' && url.search === '';
  return isProxy ? url : undefined;
}

/** The proxy as people may see it, without user and password. */
export const describeProxy = ({ origin }: URL): string => origin;

/** `Proxy-Authorization`; null: it has no user. */
export function proxyAuthorization({ username, password }: URL): string | null {
  if (username === '' && password === '') return null;
  const user = `${decodeURIComponent(username)}:${decodeURIComponent(password)}`;
  return `Basic ${Buffer.from(user).toString('base64')}`;
}

const inLoopback = inSubnets(['127.0.0.0/8', '::1/128']);

function isLoopback(url: URL): boolean {
  const host = hostOf(url);
  return host === 'localhost' || host.endsWith('.localhost') || inLoopback(host);
}

/** `*`, `host`, `.suffix`, `*.suffix`, each with a port or without, an address, or a subnet. A host covers its subdomains. */
function exclusions(text: string): (url: URL) => boolean {
  const entries = text
    .toLowerCase()
    .split(/[\s,]+/)
    .filter((entry) => entry !== '');
  const isInSubnet = inSubnets(entries.filter((entry) => entry.includes('/')));
  const names = entries.filter((entry) => !entry.includes('/')).map(toEntry);
  return (url) => {
    const host = hostOf(url);
    const port = url.port || (url.protocol === 'https:' ? '443' : '80');
    if (isInSubnet(host)) return true;
    return names.some(
      (entry) =>
        (entry.port === undefined || entry.port === port) &&
        (entry.name === '*' || entry.name === host || (isIP(host) === 0 && host.endsWith(`.${entry.name}`))),
    );
  };
}

function toEntry(entry: string): { readonly name: string; readonly port: string | undefined } {
  // An IPv6 address without brackets has colons, and no port.
  const [, name = entry, port] = isIPv6(entry) ? [] : (/^\[?(.+?)\]?(?::(\d+))?$/.exec(entry) ?? []);
  return { name: name === '*' ? name : name.replace(/^\*?\./, ''), port };
}

const hostOf = ({ hostname }: URL): string => hostname.toLowerCase().replace(/^\[|\]$/g, '');

/** An entry that is no subnet covers nothing. */
function inSubnets(subnets: readonly string[]): (host: string) => boolean {
  return inRanges(subnets.flatMap((subnet) => parseIpRange(subnet) ?? []));
}
