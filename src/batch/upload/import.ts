import { lookup as systemLookup, type LookupAddress } from 'node:dns';
import { BlockList, isIPv6 } from 'node:net';
import { Agent, ProxyAgent, request, type Dispatcher } from 'undici';
import { ApiError } from '../../contract/error.ts';
import type { FileRow } from '../../contract/file.ts';
import type { Scope } from '../../contract/scope.ts';
import type { Clock } from '../../core/clock.ts';
import { noProxy, type ProxyFor } from '../../core/proxy.ts';
import type { Upload, Uploader } from './upload.ts';

interface FileImport extends Omit<Upload, 'chunks'> {
  readonly contentUrl: string;
}

export interface ImporterOptions {
  readonly uploader: Pick<Uploader, 'uploadFile'>;
  readonly clock: Clock;
  /**
   * Each entry is `host` (port 443), `host:port`, or `*.suffix` (port 443, public addresses only). All are asked over https,
   * save for loopback hosts. An exact entry may resolve to a private address.
   */
  readonly importHosts?: readonly string[];
  /** A download fails when no answer or no further byte comes for this time. */
  readonly idleMs?: number;
  /** A whole download fails after this time. */
  readonly totalMs?: number;
  readonly lookup?: Lookup;
  /** A proxy resolves names by itself. Behind one the list of hosts alone decides what may be read. */
  readonly proxyFor?: ProxyFor;
}

export interface Importer {
  /** Downloads the URL into a new file. Throws `ApiError`. */
  importFile(scope: Scope, request: FileImport): Promise<FileRow>;
  close(): Promise<void>;
}

type Lookup = (
  host: string,
  options: { all: true },
  done: (error: Error | null, addresses: LookupAddress[]) => void,
) => void;

const LOOPBACK_HOSTS = ['localhost', '127.0.0.1', '[::1]'];

export function createImporter(options: ImporterOptions): Importer {
  const {
    uploader,
    clock,
    importHosts = [],
    idleMs = 30_000,
    totalMs = 600_000,
    proxyFor = noProxy,
  } = options;
  const lookup = options.lookup ?? systemLookup;
  const agent = new Agent({
    connect: {
      timeout: idleMs,
      // Invariant: the address that is checked is the one that is dialled, or a second lookup could lead elsewhere.
      lookup: (host, _options, done) =>
        lookup(host, { all: true }, (error, addresses) => {
          if (error) return done(error, []);
          const refused = addresses.some(({ address }) => !mayDial(host, address, importHosts));
          if (refused)
            return done(new Error('it resolves to an address that files are not imported from'), []);
          done(null, addresses);
        }),
    },
    headersTimeout: idleMs,
    bodyTimeout: idleMs,
  });

  const proxies = new Map<string, Dispatcher>();
  const agentFor = (url: URL): Dispatcher => {
    const proxy = proxyFor(url);
    if (proxy === null) return agent;
    const known = proxies.get(proxy.href);
    if (known) return known;
    const made = new ProxyAgent({ uri: proxy.href, headersTimeout: idleMs, bodyTimeout: idleMs });
    proxies.set(proxy.href, made);
    return made;
  };

  return {
    async importFile(scope, { contentUrl, ...upload }) {
      const url = allowedUrl(contentUrl, importHosts);
      const chunks = download(url, { agent: agentFor(url), clock, totalMs });
      return uploader.uploadFile(scope, { ...upload, chunks });
    },
    close: async () => void (await Promise.all([agent, ...proxies.values()].map((one) => one.close()))),
  };
}

/** Parses the URL once: a second parser could find another host than the one that is checked here. */
function allowedUrl(contentUrl: string, importHosts: readonly string[]): URL {
  if (importHosts.length === 0) {
    throw importFailed(
      'This service imports no files: its operator has listed no hosts. Upload the file instead.',
    );
  }
  const url = URL.canParse(contentUrl) ? new URL(contentUrl) : undefined;
  if (!url || url.username !== '' || url.password !== '') {
    throw importFailed('content_url must be an absolute URL without user name and password.');
  }
  const schemes = LOOPBACK_HOSTS.includes(url.hostname) ? ['https:', 'http:'] : ['https:'];
  if (!schemes.includes(url.protocol) || !importHosts.some((entry) => matches(entry, url))) {
    throw importFailed(
      `Files are not imported from ${url.protocol}//${url.host}. Use https and one of: ${importHosts.join(', ')}.`,
    );
  }
  return url;
}

function matches(entry: string, url: URL): boolean {
  if (entry.startsWith('*.')) return url.port === '' && url.hostname.endsWith(entry.slice(1).toLowerCase());
  return url.host === entry.toLowerCase();
}

async function* download(
  url: URL,
  { agent, clock, totalMs }: { agent: Dispatcher; clock: Clock; totalMs: number },
): AsyncGenerator<Uint8Array> {
  const done = new AbortController();
  const late = new AbortController();
  const deadline = clock.sleep(totalMs, done.signal).then(
    () => late.abort(new Error(`it took longer than ${Math.round(totalMs / 1000)} s`)),
    () => {},
  );
  try {
    const { statusCode, headers, body } = await request(url, {
      dispatcher: agent,
      signal: late.signal,
      headers: { accept: '*/*', 'accept-encoding': 'identity' },
    });
    const refusal = refusalOf(statusCode, headers['content-encoding']);
    if (refusal !== undefined) {
      body.on('error', () => {}).destroy();
      throw importFailed(`${url.host} ${refusal}`);
    }
    for await (const chunk of body) yield chunk;
  } catch (error) {
    if (error instanceof ApiError) throw error;
    // The message leaves the URL out, as its query may be a signature.
    const cause = error instanceof Error ? error.message : String(error);
    throw importFailed(
      `The file could not be read from ${url.host}: ${cause}. Try again, or upload it.`,
      error,
    );
  } finally {
    done.abort();
    await deadline;
  }
}

function refusalOf(statusCode: number, encoding: string | string[] | undefined): string | undefined {
  if (statusCode >= 300 && statusCode < 400) {
    return `answered with a redirect (${statusCode}), which is not followed. Give the final address.`;
  }
  if (statusCode !== 200) return `answered with status ${statusCode}. Check the address and its signature.`;
  if (encoding !== undefined && encoding !== 'identity')
    return 'sent the file compressed. Store it uncompressed.';
  return undefined;
}

const importFailed = (message: string, cause?: unknown): ApiError =>
  new ApiError('fileImportFailed', message, { param: 'content_url', cause });

/** No files lie here: this host, link-local addresses (cloud metadata), Azure's wire server, multicast, and NAT64's way to them. */
const NEVER = blockList(
  ['0.0.0.0/8', '127.0.0.0/8', '169.254.0.0/16', '168.63.129.16/32', '224.0.0.0/3'],
  ['::/127', 'fe80::/10', 'ff00::/8', '64:ff9b::/96', 'fd00:ec2::254/128'],
);
const PRIVATE = blockList(
  ['10.0.0.0/8', '100.64.0.0/10', '172.16.0.0/12', '192.0.0.0/24', '192.168.0.0/16', '198.18.0.0/15'],
  ['fc00::/7'],
);

function mayDial(host: string, address: string, importHosts: readonly string[]): boolean {
  if (LOOPBACK_HOSTS.includes(host)) return true;
  const family = isIPv6(address) ? 'ipv6' : 'ipv4';
  if (NEVER.check(address, family)) return false;
  const isExact = importHosts.some((entry) => entry.toLowerCase().split(':')[0] === host);
  return isExact || !PRIVATE.check(address, family);
}

function blockList(ipv4: readonly string[], ipv6: readonly string[]): BlockList {
  const list = new BlockList();
  for (const [family, subnets] of [
    ['ipv4', ipv4],
    ['ipv6', ipv6],
  ] as const) {
    for (const subnet of subnets) {
      const [net = '', prefix] = subnet.split('/');
      list.addSubnet(net, Number(prefix), family);
    }
  }
  return list;
}
