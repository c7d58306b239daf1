/** Model servers of a test's own: real sockets, answers as the test says. */
import { createServer } from 'node:http';
import type { IncomingHttpHeaders, IncomingMessage, ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import type { BatchEndpoint } from '../../src/contract/batch.ts';
import { createHttpUpstream } from '../../src/upstream/openai-http.ts';
import type { HttpUpstreamOptions } from '../../src/upstream/openai-http.ts';
import type { Upstream, UpstreamReply, UpstreamRequest } from '../../src/upstream/port.ts';

interface Seen {
  readonly method: string;
  readonly url: string;
  readonly headers: IncomingHttpHeaders;
  readonly body: string;
}

type Respond = (response: ServerResponse, request: IncomingMessage) => void;

export const never = new AbortController().signal;
export const KEY = 'canary-key-8b1f4c0e9d';

/** Closes what it opened when the test calls `close`. */
export class OddServers {
  readonly #endings: (() => Promise<unknown>)[] = [];

  async close(): Promise<void> {
    for (const end of this.#endings.splice(0).toReversed()) await end();
  }

  /** A server that keeps what it got, then does as the test says. */
  async serve(respond: Respond) {
    const seen: Seen[] = [];
    const server = createServer((request, response) => {
      const chunks: Buffer[] = [];
      request.on('data', (chunk: Buffer) => chunks.push(chunk));
      request.on('end', () => {
        const { method = '', url = '', headers } = request;
        seen.push({ method, url, headers, body: Buffer.concat(chunks).toString() });
        respond(response, request);
      });
    });
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    const stop = async (): Promise<void> => {
      server.closeAllConnections();
      if (server.listening) await new Promise((resolve) => server.close(resolve));
    };
    this.#endings.push(stop);
    const origin = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
    return { origin, seen, stop };
  }

  upstream(options: Partial<HttpUpstreamOptions> & { readonly baseUrl: string }): Upstream {
    const created = createHttpUpstream({ name: 'vllm', apiKey: KEY, timeoutMs: 60_000, ...options });
    this.#endings.push(() => created.close());
    return created;
  }

  /** One call to a server that answers with this body, as it stands if it is a text or bytes. */
  async callOnce(
    answer: unknown,
    given: {
      readonly endpoint?: BatchEndpoint;
      readonly status?: number;
      readonly headers?: Readonly<Record<string, string>>;
      readonly options?: Partial<HttpUpstreamOptions>;
    } = {},
  ): Promise<UpstreamReply> {
    const { endpoint = '/chat/completions', status = 200, headers = {}, options = {} } = given;
    const body = typeof answer === 'string' || Buffer.isBuffer(answer) ? answer : JSON.stringify(answer);
    const { origin } = await this.serve((response) =>
      response.writeHead(status, { 'content-type': 'application/json', ...headers }).end(body),
    );
    return this.upstream({ baseUrl: `${origin}/v1`, ...options }).call(requestFor(endpoint), never);
  }
}

export function requestFor(endpoint: BatchEndpoint = '/chat/completions'): UpstreamRequest {
  const body = Buffer.from('{"model":"d"}');
  return { endpoint, body, model: { start: 9, end: 12 }, idempotencyKey: 'k' };
}

/** What the answer says, parsed. */
export function bodyOf(reply: UpstreamReply): unknown {
  if (reply.kind !== 'answer') throw new Error(`no answer: ${reply.message}`);
  return JSON.parse(Buffer.from(reply.body).toString());
}
