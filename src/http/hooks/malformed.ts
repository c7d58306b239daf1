/** Refuses requests that Node's parser lets through, and that two readers could understand in two ways. */
import type { FastifyInstance } from 'fastify';
import type { IncomingMessage } from 'node:http';
import { ApiError } from '../../contract/error.ts';

/** Node joins or drops repeats of these. */
const SINGLE_HEADERS = new Set([
  'host',
  'api-key',
  'authorization',
  'content-encoding',
  'content-length',
  'content-type',
  'transfer-encoding',
  'expect',
  'idempotency-key',
]);

export function refuseMalformed(app: FastifyInstance): void {
  app.addHook('onRequest', async ({ raw }, reply) => {
    const reason = whyMalformed(raw);
    if (reason === undefined) return;
    reply.header('connection', 'close');
    throw new ApiError('badRequest', reason);
  });
}

/** Returns a sentence for the caller, or undefined when the request is sound. */
function whyMalformed(raw: IncomingMessage): string | undefined {
  if (raw.httpVersion !== '1.1' && raw.httpVersion !== '1.0') return 'Use HTTP/1.1.';
  // Fastify keeps in `originalUrl` what the caller sent, once a rewrite has changed it.
  const url = (raw as IncomingMessage & { originalUrl?: string }).originalUrl ?? raw.url ?? '';
  if (!url.startsWith('/')) return 'Send the path alone in the request line, not a whole URL.';
  const seen = new Set<string>();
  for (let index = 0; index < raw.rawHeaders.length; index += 2) {
    const name = (raw.rawHeaders[index] ?? '').toLowerCase();
    if (!SINGLE_HEADERS.has(name)) continue;
    if (seen.has(name)) return `The header '${name}' was sent twice. Send it once.`;
    seen.add(name);
  }
  if (!seen.has('host') && raw.httpVersion === '1.1') return 'Send a Host header.';
  const encoding = raw.headers['transfer-encoding'];
  if (encoding === undefined) return undefined;
  // A proxy that speaks HTTP/1.0 does not know of chunks, and would see another end of the body.
  if (raw.httpVersion === '1.0')
    return 'HTTP/1.0 has no Transfer-Encoding. Use HTTP/1.1, or send Content-Length.';
  if (encoding.toLowerCase() !== 'chunked') return 'Transfer-Encoding must be chunked, or absent.';
  return undefined;
}
