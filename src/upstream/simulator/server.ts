import { createServer } from 'node:http';
import type { IncomingMessage, Server, ServerResponse } from 'node:http';
import { toBatchEndpoint } from '../../contract/batch.ts';
import type { BatchEndpoint } from '../../contract/batch.ts';
import type { UpstreamAnswer } from '../port.ts';
import { SIMULATED_MODELS } from './models.ts';
import { createSimulation } from './simulator.ts';
import type { Simulation, SimulatorOptions } from './simulator.ts';

/** The simulator as a server, for `offpeak simulator`. The caller listens and closes. Keys are not looked at. */
export function createSimulatorServer(options: SimulatorOptions = {}): Server {
  const simulate = createSimulation(options);
  return createServer((request, response) => {
    serve(simulate, request, response).catch((error: unknown) => {
      response.destroy(error instanceof Error ? error : new Error(String(error)));
    });
  });
}

const BODY_BYTES_MAX = 32 * 1024 * 1024;

async function serve(
  simulate: Simulation,
  request: IncomingMessage,
  response: ServerResponse,
): Promise<void> {
  const route = routeOf(request);
  if (route === undefined)
    return send(response, 404, { error: { code: '404', message: 'Resource not found' } });
  if (route === 'models') return send(response, 200, MODELS);
  const body = await readBody(request);
  if (body === null)
    return send(response, 413, {
      error: { code: '413', message: `The body is longer than ${BODY_BYTES_MAX} bytes.` },
    });
  const gone = new AbortController();
  response.on('close', () => gone.abort());
  const reply = await simulate({ endpoint: route.endpoint, body, deployment: route.deployment }, gone.signal);
  if (reply.kind === 'answer') sendAnswer(response, reply);
  else response.destroy();
}

interface Route {
  readonly endpoint: BatchEndpoint;
  /** From Azure's classic paths. */
  readonly deployment: string | undefined;
}

/** OpenAI's paths with or without `/v1`, Azure's with or without the deployment. */
function routeOf({ method, url = '' }: IncomingMessage): Route | 'models' | undefined {
  const path = url.replace(/\?.*$/s, '').replace(/^\/openai(?=\/)/, '');
  if (method === 'GET') return path === '/v1/models' || path === '/models' ? 'models' : undefined;
  const [, deployment, rest] = /^(?:\/deployments\/([^/]+))?(\/.+)$/.exec(path) ?? [];
  const endpoint = method === 'POST' ? toBatchEndpoint(rest ?? '') : undefined;
  return endpoint && { endpoint, deployment };
}

const MODELS = {
  object: 'list',
  data: SIMULATED_MODELS.map((id) => ({ id, object: 'model', created: 0, owned_by: 'simulator' })),
};

async function readBody(request: IncomingMessage): Promise<Buffer | null> {
  const chunks: Buffer[] = [];
  let bytes = 0;
  for await (const chunk of request as AsyncIterable<Buffer>) {
    bytes += chunk.length;
    // What is too long is still read to its end, or the client would not read the refusal.
    if (bytes <= BODY_BYTES_MAX) chunks.push(chunk);
  }
  return bytes > BODY_BYTES_MAX ? null : Buffer.concat(chunks, bytes);
}

function sendAnswer(
  response: ServerResponse,
  { status, body, requestId, retryAfterMs }: UpstreamAnswer,
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

function send(response: ServerResponse, status: number, body: object): void {
  const json = JSON.stringify(body);
  response.writeHead(status, {
    'content-type': 'application/json',
    'content-length': Buffer.byteLength(json),
  });
  response.end(json);
}
