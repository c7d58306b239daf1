import { buildConnector, Client, errors, type buildConnector as connecting } from 'undici';
import { describeProxy, proxyAuthorization } from '../core/proxy.ts';
import { describeError } from './words.ts';

/** A proxy did not let a connection through. The upstream was not asked. */
export class ProxyRefusal extends Error {
  override name = 'ProxyRefusal';
}

export interface TlsTrust {
  readonly ca?: string | string[] | undefined;
  readonly rejectUnauthorized?: boolean | undefined;
}

/** Connects to https servers through a proxy, by CONNECT. */
export function connectThrough(
  proxy: URL,
  { timeoutMs, ...tls }: { readonly timeoutMs: number } & TlsTrust,
): connecting.connector {
  const shakeHands = buildConnector({ ...tls, timeout: timeoutMs, allowH2: false });
  const authorization = proxyAuthorization(proxy);

  return (options, done) => {
    const target = `${options.hostname}:${options.port || 443}`;
    const client = new Client(proxy.origin, { connectTimeout: timeoutMs, headersTimeout: timeoutMs });
    const fail = (error: Error): void => {
      void client.destroy();
      done(error, null);
    };
    client
      .connect({
        path: target,
        headers: { host: target, ...(authorization !== null && { 'proxy-authorization': authorization }) },
      })
      .then(({ statusCode, socket }) => {
        void client.close();
        if (statusCode < 200 || statusCode > 299) {
          socket.on('error', () => {}).destroy();
          return fail(new ProxyRefusal(refusalOf(proxy, statusCode)));
        }
        // undici passes the socket on to the TLS handshake unchanged.
        const httpSocket = socket as NonNullable<typeof options.httpSocket>;
        shakeHands({ ...options, httpSocket }, done);
      })
      .catch((error: unknown) => fail(new ProxyRefusal(unreachable(proxy, error), { cause: error })));
  };
}

export const refusalOf = (proxy: URL, status: number): string =>
  `the proxy ${describeProxy(proxy)} ${status === 407 ? 'wants another user or password' : 'refuses the connection'} (${status})`;

export function unreachable(proxy: URL, error: unknown): string {
  const isTimeout =
    error instanceof errors.ConnectTimeoutError || error instanceof errors.HeadersTimeoutError;
  if (isTimeout) return `the proxy ${describeProxy(proxy)} does not answer in time`;
  const why =
    error instanceof Error ? describeError(error, { host: proxy.host, begun: false }) : String(error);
  return `the proxy ${describeProxy(proxy)} cannot be reached: ${why}`;
}
