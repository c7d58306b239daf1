import { createHash } from 'node:crypto';
import type { BatchEndpoint } from '../contract/batch.ts';
import { systemClock, type Clock } from '../core/clock.ts';
import { proxyAuthorization } from '../core/proxy.ts';
import { silentLog, type Log } from '../core/log.ts';
import { CallsUnderWay } from './calls-under-way.ts';
import { Connections } from './connections.ts';
import { HttpCall } from './http-call.ts';
import { modelOf, type Upstream, type UpstreamRequest } from './port.ts';
import { toProbe } from './probe.ts';
import { TlsCheck } from './tls-check.ts';
import { connectThrough, type TlsTrust } from './tunnel.ts';

export interface HttpUpstreamOptions {
  /** Names the upstream in messages and metrics. */
  readonly name: string;
  /** The part before `/chat/completions`, such as `http://127.0.0.1:8000/v1`. With `azureApiVersion` it is the resource's address. */
  readonly baseUrl: string;
  readonly apiKey?: string;
  /** This header carries the key. The default is `api-key` with `azureApiVersion`, else `bearer`. */
  readonly authStyle?: 'bearer' | 'api-key';
  /** When given, Azure's classic paths are used: `{baseUrl}/openai/deployments/{model}/chat/completions?api-version=…`. */
  readonly azureApiVersion?: string;
  /** The model's name at the upstream. The default is the name that the line carries. */
  readonly model?: string;
  /** A call fails when the last byte of its answer has not come in this time. */
  readonly timeoutMs: number;
  readonly connectTimeoutMs?: number;
  /** It must be at least the deployment's `concurrencyMax`, or requests wait here while their deadline runs. */
  readonly connectionsMax?: number;
  readonly responseBytesMax?: number;
  readonly tls?: { readonly ca?: string | readonly string[]; readonly rejectUnauthorized?: boolean };
  /** The proxy before the upstream. Null: it is asked directly. */
  readonly proxy?: URL | null;
  readonly clock?: Clock;
  readonly log?: Log;
}

/** Calls any server that speaks OpenAI's HTTP: vLLM, SGLang, Ollama, llama.cpp, LM Studio, Azure OpenAI, OpenAI. */
export function createHttpUpstream(options: HttpUpstreamOptions): Upstream {
  const { name, apiKey } = options;
  const base = parseBaseUrl(name, options.baseUrl);
  const { pathOf, modelsPath } =
    options.azureApiVersion === undefined
      ? openaiPaths(base)
      : azurePaths(base, options, options.azureApiVersion);
  const ownHeaders = [...headersOf(options), ...proxyHeaders(base, options.proxy ?? null)];
  const modelJson = options.model === undefined ? null : Buffer.from(JSON.stringify(options.model));
  const timeoutMs = Math.min(options.timeoutMs, TIMER_MS_MAX);
  const settings = {
    base,
    proxy: options.proxy ?? null,
    secret: apiKey ?? null,
    timeoutMs,
    underWay: new CallsUnderWay(timeoutMs),
    responseBytesMax: options.responseBytesMax ?? 32 * 1024 * 1024,
    clock: options.clock ?? systemClock,
    tlsCheck: new TlsCheck(base, options.proxy ?? null),
    onStreamed: once(() => (options.log ?? silentLog).event('upstream.streams', { upstream: name })),
  };
  const { proxy = null } = options;
  const isTunnelled = proxy !== null && base.protocol === 'https:';
  const tls: TlsTrust = options.tls === undefined ? {} : { ...options.tls, ca: trusted(options.tls.ca) };
  const connectTimeout = options.connectTimeoutMs ?? 10_000;
  // A proxy gets whole addresses of http servers, and makes a tunnel to https servers.
  const isRelayed = proxy !== null && !isTunnelled;
  const address = (path: string): string => (isRelayed ? base.origin + path : path);
  const connections = new Connections(isRelayed ? proxy.origin : base.origin, {
    max: options.connectionsMax ?? 256,
    pipelining: 1,
    // Each call has one deadline of its own, which a server that drips bytes cannot put off.
    headersTimeout: 0,
    bodyTimeout: 0,
    connectTimeout,
    allowH2: false,
    connect: isTunnelled ? connectThrough(proxy, { ...tls, timeoutMs: connectTimeout }) : tls,
  });

  return {
    name,
    server: serverOf(base, options),
    model: options.model ?? '',
    call(request, signal) {
      const path = pathOf(request);
      const { endpoint, idempotencyKey } = request;
      const call = new HttpCall(settings, { method: 'POST', path, endpoint }, signal);
      if (!signal.aborted) {
        connections.send(
          {
            path: address(path),
            method: 'POST',
            headers: [...ownHeaders, 'idempotency-key', idempotencyKey, 'x-request-id', idempotencyKey],
            body: modelJson === null ? request.body : withModel(request, modelJson),
          },
          call,
        );
      }
      return call.reply;
    },
    async probe(signal) {
      const asked = { method: 'GET', path: modelsPath } as const;
      const call = new HttpCall(settings, { ...asked, endpoint: null }, signal);
      if (!signal.aborted)
        connections.send({ method: 'GET', path: address(modelsPath), headers: [...ownHeaders] }, call);
      return toProbe(await call.reply);
    },
    close: () => connections.close(),
  };
}

function once(act: () => void): () => void {
  let isDone = false;
  return () => {
    if (!isDone) act();
    isDone = true;
  };
}

/** The same address and key are one server with one account, whatever model is asked for. The key is not given away. */
const serverOf = (base: URL, { apiKey, azureApiVersion }: HttpUpstreamOptions): string =>
  createHash('sha256')
    .update(JSON.stringify([base.href.replace(/\/+$/, ''), apiKey ?? null, azureApiVersion !== undefined]))
    .digest('hex');

/** `setTimeout` fires at once beyond this delay. */
const TIMER_MS_MAX = 2 ** 31 - 1;

function parseBaseUrl(name: string, baseUrl: string): URL {
  const url = URL.parse(baseUrl);
  if (url === null || !/^https?:$/.test(url.protocol)) {
    throw new TypeError(
      `Upstream '${name}': its base URL is not an http or https address. Give one such as http://127.0.0.1:8000/v1.`,
    );
  }
  if (url.username !== '' || url.password !== '' || url.search !== '' || url.hash !== '') {
    throw new TypeError(
      `Upstream '${name}': its base URL has credentials, a query or a fragment. Give the key as the upstream's API key.`,
    );
  }
  return url;
}

interface Paths {
  readonly pathOf: (request: UpstreamRequest) => string;
  readonly modelsPath: string;
}

function openaiPaths(base: URL): Paths {
  const prefix = base.pathname.replace(/\/+$/, '');
  return { pathOf: ({ endpoint }) => prefix + endpoint, modelsPath: `${prefix}/models` };
}

/** Azure names the deployment in the path, save for `/responses`. */
function azurePaths(base: URL, { model }: HttpUpstreamOptions, apiVersion: string): Paths {
  const prefix = `${base.pathname.replace(/\/+$/, '').replace(/\/openai$/, '')}/openai`;
  const query = `?api-version=${encodeURIComponent(apiVersion)}`;
  const pathOf = (endpoint: BatchEndpoint, deployment: string) =>
    endpoint === '/responses'
      ? `${prefix}/responses${query}`
      : `${prefix}/deployments/${encodeURIComponent(deployment.toWellFormed())}${endpoint}${query}`;
  return {
    pathOf: (request) => pathOf(request.endpoint, model ?? modelOf(request)),
    modelsPath: `${prefix}/models${query}`,
  };
}

function headersOf({ name, apiKey, authStyle, azureApiVersion }: HttpUpstreamOptions): readonly string[] {
  const headers = [
    'content-type',
    'application/json',
    'accept',
    'application/json',
    'accept-encoding',
    'identity',
    'user-agent',
    'offpeak',
  ];
  if (apiKey === undefined) return headers;
  if (!/^[\x21-\x7e]+$/.test(apiKey)) {
    throw new TypeError(
      `Upstream '${name}': its API key is empty or has characters that no header can carry, such as a newline. Give the key alone.`,
    );
  }
  const style = authStyle ?? (azureApiVersion === undefined ? 'bearer' : 'api-key');
  return style === 'bearer'
    ? [...headers, 'authorization', `Bearer ${apiKey}`]
    : [...headers, 'api-key', apiKey];
}

const trusted = (ca: string | readonly string[] | undefined): string | string[] | undefined =>
  typeof ca === 'object' ? [...ca] : ca;

/** A proxy reads these headers when it gets whole addresses. A tunnel has headers of its own. */
function proxyHeaders(base: URL, proxy: URL | null): readonly string[] {
  if (proxy === null || base.protocol !== 'http:') return [];
  const authorization = proxyAuthorization(proxy);
  return ['host', base.host, ...(authorization === null ? [] : ['proxy-authorization', authorization])];
}

/** Returns the submitted bytes with nothing but the model's name replaced. */
function withModel({ body, model }: UpstreamRequest, modelJson: Uint8Array): Buffer {
  const spliced = Buffer.allocUnsafe(body.length - (model.end - model.start) + modelJson.length);
  spliced.set(body.subarray(0, model.start));
  spliced.set(modelJson, model.start);
  spliced.set(body.subarray(model.end), model.start + modelJson.length);
  return spliced;
}
