import { once } from 'node:events';
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import { brotliCompressSync, deflateSync, gzipSync, zstdCompressSync } from 'node:zlib';
import { toBatchEndpoint } from '../../contract/batch.ts';
import { systemClock } from '../../core/clock.ts';
import type { UpstreamAnswer } from '../port.ts';
import { MODELS_ENDPOINT } from './behaviour.ts';
import { createPlay, MODELS_BODY, type Played, type PlayRequest } from './play.ts';
import type { WireAnswer } from './scripted.ts';
import type { SimulatorOptions } from './simulator.ts';

/**
 * Makes the server of `offpeak simulator`. The caller listens, and aborts `stopped` before it closes. Keys are not checked.
 */
export function createSimulatorServer(options: SimulatorOptions = {}, stopped?: AbortSignal): Server {
  const { script = null, clock = systemClock } = options;
  const play = createPlay(options, script);
  const server = createServer((request, response) => {
    serve(request, response).catch((error: unknown) => {
      response.destroy(error instanceof Error ? error : new Error(String(error)));
    });
  });

  async function serve(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const route = routeOf(request);
    const body = await readBody(request);
    if (route === undefined)
      return send(response, 404, { error: { code: '404', message: 'Resource not found' } });
    if (body === null)
      return send(response, 413, {
        error: { code: '413', message: `The body is longer than ${BODY_BYTES_MAX} bytes.` },
      });
    const gone = new AbortController();
    response.on('close', () => gone.abort());
    const idempotencyKey = request.headers['idempotency-key'];
    const played = await play(
      { ...route, body, idempotencyKey: typeof idempotencyKey === 'string' ? idempotencyKey : undefined },
      gone.signal,
    );
    show(response, played);
    if (script?.downAs !== 'refused') return;
    // The server still gives the answers that it owed before it went down.
    if (played.kind !== 'none' && !gone.signal.aborted) await once(gone.signal, 'abort');
    await comeBackLater();
  }

  /** Nothing listens while the server is down, so that the system refuses connections. */
  async function comeBackLater(): Promise<void> {
    const address = server.address();
    if (script === null || address === null || typeof address === 'string') return;
    const closed = once(server, 'close');
    server.close();
    server.closeAllConnections();
    await closed;
    while (script.downAs === 'refused' && !stopped?.aborted)
      await clock.sleep(script.downForMs, stopped).catch(() => {
        // The server is stopped, and the loop ends.
      });
    if (!stopped?.aborted) server.listen(address.port, address.address);
  }

  return server;
}

function show(response: ServerResponse, played: Played): void {
  switch (played.kind) {
    case 'models':
      return sendAnswer(response, { status: 200, body: MODELS_BODY, requestId: null, retryAfterMs: null });
    case 'usual':
      if (played.reply.kind === 'answer') sendAnswer(response, played.reply);
      else response.destroy();
      return;
    case 'wire':
      return sendWire(response, played.answer);
    case 'none':
      // A request that hangs stays open until its caller or the server ends.
      if (played.how === 'reset') response.socket?.resetAndDestroy();
      else if (played.how !== 'hang') response.destroy();
  }
}

const BODY_BYTES_MAX = 32 * 1024 * 1024;

type Route = Pick<PlayRequest, 'endpoint' | 'deployment'>;

/** It takes OpenAI's paths with or without `/v1`, and Azure's with or without the deployment. */
function routeOf({ method, url = '' }: IncomingMessage): Route | undefined {
  const path = url.replace(/\?.*$/s, '').replace(/^\/openai(?=\/)/, '');
  if (method === 'GET' || method === 'HEAD')
    return path === '/v1/models' || path === '/models' ? { endpoint: MODELS_ENDPOINT } : undefined;
  // Azure's classic paths name the deployment.
  const [, deployment, rest] = /^(?:\/deployments\/([^/]+))?(\/.+)$/.exec(path) ?? [];
  const endpoint = method === 'POST' ? toBatchEndpoint(rest ?? '') : undefined;
  return endpoint && { endpoint, deployment };
}

async function readBody(request: IncomingMessage): Promise<Buffer | null> {
  const chunks: Buffer[] = [];
  let bytes = 0;
  for await (const chunk of request as AsyncIterable<Buffer>) {
    bytes += chunk.length;
    // A body that is too long is still read to its end, or the client would not read the refusal.
    if (bytes <= BODY_BYTES_MAX) chunks.push(chunk);
  }
  return bytes > BODY_BYTES_MAX ? null : Buffer.concat(chunks, bytes);
}

function sendAnswer(
  response: ServerResponse,
  {
    status,
    body,
    requestId,
    retryAfterMs,
  }: Pick<UpstreamAnswer, 'status' | 'body' | 'requestId' | 'retryAfterMs'>,
): void {
  if (requestId !== null)
    response.setHeader('x-request-id', requestId).setHeader('apim-request-id', requestId);
  if (retryAfterMs !== null) {
    response.setHeader('retry-after', Math.ceil(retryAfterMs / 1000));
    response.setHeader('retry-after-ms', Math.ceil(retryAfterMs));
  }
  response.writeHead(status, {
    'content-type': 'application/json',
    'content-length': body.length,
    'x-offpeak-simulated': 'true',
  });
  response.end(body);
}

function sendWire(response: ServerResponse, { status, headers, body, compress, cut }: WireAnswer): void {
  const packed = compress === null ? body : PACKERS[compress](body);
  response.writeHead(status, {
    'content-length': packed.length,
    'x-offpeak-simulated': 'true',
    ...(compress !== null && { 'content-encoding': compress }),
    ...headers,
  });
  if (!cut) return void response.end(packed);
  response.write(packed.subarray(0, packed.length / 2), () => response.destroy());
}

const PACKERS = { gzip: gzipSync, br: brotliCompressSync, deflate: deflateSync, zstd: zstdCompressSync };

function send(response: ServerResponse, status: number, body: object): void {
  const json = JSON.stringify(body);
  response.writeHead(status, {
    'content-type': 'application/json',
    'content-length': Buffer.byteLength(json),
    'x-offpeak-simulated': 'true',
  });
  response.end(json);
}
