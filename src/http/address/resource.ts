/** Which resource a request is addressed to: by its host, by the first segment of its path, or the default one. */
import { RESERVED_NAMES } from '../../contract/names.ts';

export interface PathAddress {
  /** Lower case, as resources are named. */
  readonly resource: string | undefined;
  /** What the caller put before the path, for `Location`: `/alpha`, or nothing. */
  readonly prefix: string;
  readonly path: string;
}

const NAME_CHARS_MAX = 63;
const RESOURCE_FIRST = /^\/([a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?)(\/(?:openai|v1)(?:\/.*)?)$/is;

/** `/alpha/openai/...` and `/alpha/v1/...`; every other path is plain. */
export function addressOfPath(path: string): PathAddress {
  const [, name = '', rest = ''] = RESOURCE_FIRST.exec(path) ?? [];
  const resource = name.toLowerCase();
  if (name === '' || RESERVED_NAMES.includes(resource)) return { resource: undefined, prefix: '', path };
  return { resource, prefix: `/${name}`, path: rest };
}

/** What stands before one of the domains. A domain by itself, an IP address and any other host name no resource. */
export function resourceOfHost(host: string | undefined, domains: readonly string[]): string | undefined {
  const name = (host ?? '').toLowerCase().replace(/:\d*$/, '').replace(/\.$/, '');
  if (domains.includes(name)) return undefined;
  const [longest] = domains
    .filter((domain) => name.endsWith(`.${domain}`))
    .toSorted((one, other) => other.length - one.length);
  // Longer than any name, so still nobody's; what is told and logged of it stays short.
  return longest === undefined ? undefined : name.slice(0, -longest.length - 1).slice(0, NAME_CHARS_MAX + 1);
}
