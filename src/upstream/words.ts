/** Says in words for people what went wrong with a connection. `host` is that of the base URL. `begun` is true when its answer had begun. */
export function describeError(
  error: Error,
  { host, begun }: { readonly host: string; readonly begun: boolean },
): string {
  // When a name has several addresses, each failed in its own way. The first is as good as any.
  const first: unknown = error instanceof AggregateError ? error.errors[0] : error;
  const cause = first instanceof Error ? first : error;
  const code = 'code' in cause ? String(cause.code) : cause.name;
  const known = WORDS[code];
  if (known === CLOSED && begun) return 'the connection was closed in the middle of its answer';
  if (cause.name === 'HTTPParserError') return `its answer breaks the rules of HTTP (${cause.message})`;
  if (known !== undefined) return known.replace('{host}', host);
  if (/CERT|SIGNED|ISSUER|UNABLE_TO_VERIFY/.test(code))
    return `its certificate is not trusted (${cause.message.split(';')[0]}): set NODE_EXTRA_CA_CERTS or caFile`;
  if (/SSL|TLS|EPROTO/.test(code)) {
    return /wrong.version|packet length|http request/i.test(cause.message)
      ? 'it does not speak TLS, and the address says https'
      : `the TLS handshake failed (${code})`;
  }
  return cause.message.includes(code) ? cause.message : `${cause.message} (${code})`;
}

const CLOSED = 'the connection was closed before an answer came';
const NO_ROUTE = 'there is no way to it from here (host {host})';
const UNRESOLVED = 'its name cannot be resolved (host {host})';

const WORDS: Readonly<Record<string, string>> = {
  ECONNREFUSED: 'nothing listens there (connection refused)',
  ECONNRESET: CLOSED,
  EPIPE: CLOSED,
  UND_ERR_SOCKET: CLOSED,
  UND_ERR_RES_CONTENT_LENGTH_MISMATCH: 'its answer is not as long as it says',
  UND_ERR_HEADERS_OVERFLOW: 'the headers of its answer are too long',
  ENOTFOUND: UNRESOLVED,
  EAI_AGAIN: UNRESOLVED,
  UND_ERR_CONNECT_TIMEOUT: 'no connection could be made in time (host {host})',
  ETIMEDOUT: 'no connection could be made in time (host {host})',
  EHOSTUNREACH: NO_ROUTE,
  ENETUNREACH: NO_ROUTE,
  CERT_HAS_EXPIRED: 'its certificate has expired',
  ERR_TLS_CERT_ALTNAME_INVALID: 'its certificate is for another name than {host}',
};

/** Says where was asked, with the likeliest cause of a 404: most servers have their API under `/v1`. */
export function describeAsked(
  { method, path }: { readonly method: string; readonly path: string },
  base: URL,
): string {
  const asked = path.replace(/\?.*$/s, '');
  const hint = /\/(v\d|openai)/.test(asked)
    ? ''
    : ` (the base URL has no /v1: ${base.origin}${base.pathname.replace(/\/+$/, '')}/v1 ?)`;
  return `${method} ${base.origin}${asked}${hint}`;
}

/** Names only the origin that a redirect points to, as its path and query may carry secrets. */
export function describeRedirect(
  status: number,
  location: string | undefined,
  path: string,
  base: URL,
): string {
  const target = location === undefined ? null : URL.parse(location, base.origin + path);
  if (target === null) return `it redirects (${status}), and redirects are not followed`;
  const where = target.origin === base.origin ? 'another path of its own' : target.origin;
  return `it redirects (${status}) to ${where}, and redirects are not followed: give the right address as its base URL`;
}
