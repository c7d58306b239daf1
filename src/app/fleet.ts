import { createHash } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import type { AppConfig } from '../config/config.ts';
import type { Fault } from '../config/fault.ts';
import type { HttpUpstreamConfig, UpstreamConfig } from '../config/upstream.ts';
import { systemClock } from '../core/clock.ts';
import { proxiesOf, toProxy } from '../core/proxy.ts';
import type { Log } from '../core/log.ts';
import type { Catalog } from '../deployments/catalog/catalog.ts';
import type { FleetUpstream } from '../deployments/fleet/serving.ts';
import { behaviourOf } from './behaviour.ts';
import { createHttpUpstream } from '../upstream/openai-http.ts';
import type { Upstream } from '../upstream/port.ts';
import type { Script } from '../upstream/simulator/script.ts';
import { createScript, createSimulator } from '../upstream/simulator/simulator.ts';

/** As many as one deployment may have in flight; more of them share. */
const CONNECTIONS_MAX = 10_000;

/** The upstreams of a configuration, not opened yet. */
export async function fleetOf(
  config: AppConfig,
  catalog: Catalog,
  log: Log,
): Promise<{ readonly upstreams: readonly FleetUpstream[]; readonly faults: readonly Fault[] }> {
  const faults: Fault[] = [];
  const upstreams: FleetUpstream[] = [];
  const behaviour = await behaviourOf(config);
  for (const upstream of config.upstreams) {
    const region = upstream.region ?? config.location;
    const { ca, fault } = await readCa(upstream);
    if (fault) faults.push(fault);
    const script =
      upstream.kind === 'simulator' && behaviour !== null
        ? createScript(behaviour, { seed: config.simulatorSeed })
        : null;
    upstreams.push({
      name: upstream.name,
      kind: kindOf(upstream),
      region,
      dataZone: upstream.dataZone ?? catalog.dataZoneOf(region),
      models: upstream.models,
      onlyFor: upstream.only,
      fingerprint: fingerprint([connectionOf(upstream, config), ca, script && behaviour]),
      open: (modelThere) => openUpstream(upstream, { modelThere, ca, script, config, log }),
    });
  }
  return { upstreams, faults };
}

export function openUpstream(
  upstream: UpstreamConfig,
  {
    modelThere,
    ca,
    script = null,
    config,
    log,
  }: {
    readonly modelThere: string;
    readonly ca?: string;
    /** Of the simulator. */
    readonly script?: Script | null;
    readonly config: AppConfig;
    readonly log: Log;
  },
): Upstream {
  if (upstream.kind === 'simulator') {
    return createSimulator({ model: modelThere, script, ...simulation(config), clock: systemClock });
  }
  return createHttpUpstream({
    name: upstream.isNamed ? upstream.name : shortAddress(upstream.url),
    baseUrl: upstream.url,
    apiKey: upstream.apiKey ?? undefined,
    authStyle: upstream.authStyle,
    azureApiVersion: upstream.apiVersion ?? undefined,
    model: modelThere,
    timeoutMs: upstream.requestTimeoutMs,
    connectionsMax: CONNECTIONS_MAX,
    proxy: proxyBefore(upstream),
    log,
    ...(ca !== undefined && { tls: { ca } }),
  });
}

/** A path that many have says nothing; another one tells servers behind one host apart. */
function shortAddress(url: string): string {
  const { host, pathname } = new URL(url);
  return /^\/(openai\/)?(v1\/?)?$/.test(pathname) ? host : host + pathname.replace(/\/+$/, '');
}

function proxyBefore({ url, proxy }: Pick<HttpUpstreamConfig, 'url' | 'proxy'>): URL | null {
  if (proxy === null) return proxiesOf(process.env)(new URL(url));
  return proxy === 'none' ? null : (toProxy(proxy) ?? null);
}

function kindOf(upstream: UpstreamConfig): FleetUpstream['kind'] {
  if (upstream.kind === 'simulator') return 'simulator';
  const isAzure = upstream.apiVersion !== null || new URL(upstream.url).hostname.endsWith('.azure.com');
  return isAzure ? 'azure' : 'openai';
}

async function readCa(upstream: UpstreamConfig): Promise<{ ca?: string; fault?: Fault }> {
  if (upstream.kind === 'simulator' || upstream.caPath === null) return {};
  try {
    return { ca: await readFile(upstream.caPath, 'utf8') };
  } catch (error) {
    const message = `upstream '${upstream.name}': ${upstream.caPath} cannot be read: ${String(error)}`;
    return { fault: { source: upstream.source, message } };
  }
}

/** What it takes to reach it; where it stands and what it serves may change while it stays open. */
function connectionOf(upstream: UpstreamConfig, config: AppConfig): unknown {
  if (upstream.kind === 'simulator') return simulation(config);
  const { url, apiKey, authStyle, apiVersion, requestTimeoutMs, proxy } = upstream;
  return { url, apiKey, authStyle, apiVersion, requestTimeoutMs, proxy };
}

const simulation = (config: AppConfig) => ({
  latencyMs: config.simulatorLatencyMs,
  tokensPerSecond: config.simulatorTokensPerSecond,
  errorRate: config.simulatorErrorRate,
  requestsPerMinute: config.simulatorRequestsPerMinute,
  tokensPerMinute: config.simulatorTokensPerMinute,
  seed: config.simulatorSeed,
  timeoutMs: config.requestTimeoutMs,
});

/** Keys go into it, so it must not give them away. */
const fingerprint = (parts: readonly unknown[]): string =>
  createHash('sha256').update(JSON.stringify(parts)).digest('hex');
