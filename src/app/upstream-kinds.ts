import { createHash } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import type { AppConfig } from '../config/config.ts';
import { ConfigError } from '../config/fault.ts';
import type { HttpUpstreamConfig, UpstreamConfig } from '../config/upstream.ts';
import { CONCURRENCY_MAX } from '../contract/control.ts';
import { systemClock } from '../core/clock.ts';
import type { Log } from '../core/log.ts';
import { proxiesOf, toProxy } from '../core/proxy.ts';
import type { FleetUpstream } from '../deployments/fleet/serving.ts';
import { createHttpUpstream } from '../upstream/openai-http.ts';
import type { Behaviour } from '../upstream/simulator/behaviour.ts';
import { createSimulator } from '../upstream/simulator/simulator.ts';
import { scriptOf, simulatorOptions } from './simulator.ts';

interface Context {
  readonly config: AppConfig;
  /** The script of the simulator. */
  readonly behaviour: Behaviour | null;
  readonly log: Log;
}

/** How an upstream is reached. */
export type Connection = Pick<FleetUpstream, 'kind' | 'fingerprint' | 'open'>;

/**
 * Says how each kind of upstream is opened. A new kind begins in `config/upstream-address.ts`; the compiler then asks for its
 * case here. It rejects with a `ConfigError` when a file that the upstream names cannot be read.
 */
export async function connectionOf(upstream: UpstreamConfig, context: Context): Promise<Connection> {
  switch (upstream.kind) {
    case 'simulator':
      return toSimulator(context);
    case 'http':
      return toHttp(upstream, context);
  }
}

function toSimulator({ config, behaviour }: Context): Connection {
  const options = { ...simulatorOptions(config), timeoutMs: config.requestTimeoutMs };
  const script = scriptOf(behaviour, config);
  return {
    kind: 'simulator',
    fingerprint: fingerprint([options, behaviour]),
    open: (model) => createSimulator({ ...options, model, script, clock: systemClock }),
  };
}

async function toHttp(upstream: HttpUpstreamConfig, { log }: Context): Promise<Connection> {
  const { url, apiKey, authStyle, apiVersion, requestTimeoutMs, proxy } = upstream;
  const ca = await readCa(upstream);
  return {
    kind: apiVersion !== null || isAnyAzure(url) ? 'azure' : 'openai',
    fingerprint: fingerprint([url, apiKey, authStyle, apiVersion, requestTimeoutMs, proxy, ca]),
    open: (model) =>
      createHttpUpstream({
        name: upstream.isNamed ? upstream.name : shortAddress(url),
        baseUrl: url,
        apiKey: apiKey ?? undefined,
        authStyle,
        azureApiVersion: apiVersion ?? undefined,
        model,
        timeoutMs: requestTimeoutMs,
        // Several deployments share these connections.
        connectionsMax: CONCURRENCY_MAX,
        proxy: proxyBefore(upstream),
        log,
        ...(ca !== undefined && { tls: { ca } }),
      }),
  };
}

/** Any service of Azure lists the models that it has, not its deployments. `isAzureOpenai` of the configuration is narrower. */
const isAnyAzure = (url: string): boolean => new URL(url).hostname.endsWith('.azure.com');

async function readCa({ name, caPath, source }: HttpUpstreamConfig): Promise<string | undefined> {
  if (caPath === null) return undefined;
  try {
    return await readFile(caPath, 'utf8');
  } catch (error) {
    const message = `upstream '${name}': ${caPath} cannot be read: ${String(error)}`;
    throw new ConfigError([{ source, message }]);
  }
}

/** A common path says nothing. Another path tells servers behind one host apart. */
function shortAddress(url: string): string {
  const { host, pathname } = new URL(url);
  return /^\/(openai\/)?(v1\/?)?$/.test(pathname) ? host : host + pathname.replace(/\/+$/, '');
}

function proxyBefore({ url, proxy }: HttpUpstreamConfig): URL | null {
  if (proxy === null) return proxiesOf(process.env)(new URL(url));
  return proxy === 'none' ? null : (toProxy(proxy) ?? null);
}

/** It is a hash, because keys go into it and must not be readable. */
const fingerprint = (parts: readonly unknown[]): string =>
  createHash('sha256').update(JSON.stringify(parts)).digest('hex');
