/** A request names its resource in its host or in the first segment of its path. Otherwise it means the default one. */
import { RESERVED_NAMES } from '../../contract/names.ts';

export interface PathAddress {
  /** In lower case, as resources are named. */
  readonly resource: string | undefined;
  /** What the caller put before the path, for `Location`: `/alpha`, or nothing. */
  readonly prefix: string;
  readonly path: string;
}

const NAME_CHARS_MAX = 63;
const RESOURCE_FIRST = /^\/([a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?)(\/(?:openai|v1)(?:\/.*)?)$/is;

/** `/alpha/openai/...` and `/alpha/v1/...` name a resource. No other path does. */
export function addressOfPath(path: string): PathAddress {
  const [, name = '', rest = ''] = RESOURCE_FIRST.exec(path) ?? [];
  const resource = name.toLowerCase();
  if (name === '' || RESERVED_NAMES.includes(resource)) return { resource: undefined, prefix: '', path };
  return { resource, prefix: `/${name}`, path: rest };
}

/** The resource stands before one of the domains. A domain alone, an IP address or another host names none. */
export function resourceOfHost(host: string | undefined, domains: readonly string[]): string | undefined {
  const name = (host ?? '').toLowerCase().replace(/:\d*$/, '').replace(/\.$/, '');
  if (domains.includes(name)) return undefined;
  const [longest] = domains
    .filter((domain) => name.endsWith(`.${domain}`))
    .toSorted((one, other) => other.length - one.length);
  // A name that is too long is still nobody's when it is cut. Answers and the log stay short.
  return longest === undefined ? undefined : name.slice(0, -longest.length - 1).slice(0, NAME_CHARS_MAX + 1);
}
