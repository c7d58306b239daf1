/** What went wrong with a connection, in a person's words. `host` is that of the base URL. */
export function describeError(error: Error, host: string): string {
  // Where a name has several addresses, each failed in its own way; the first is as good as any.
  const first: unknown = error instanceof AggregateError ? error.errors[0] : error;
  const cause = first instanceof Error ? first : error;
  const code = 'code' in cause ? String(cause.code) : cause.name;
  const known = WORDS[code];
  if (known !== undefined) return known.replace('{host}', host);
  if (/CERT|SIGNED|ISSUER/.test(code))
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
  ENOTFOUND: UNRESOLVED,
  EAI_AGAIN: UNRESOLVED,
  UND_ERR_CONNECT_TIMEOUT: 'no connection could be made in time (host {host})',
  ETIMEDOUT: 'no connection could be made in time (host {host})',
  EHOSTUNREACH: NO_ROUTE,
  ENETUNREACH: NO_ROUTE,
  CERT_HAS_EXPIRED: 'its certificate has expired',
  ERR_TLS_CERT_ALTNAME_INVALID: 'its certificate is for another name than {host}',
};
