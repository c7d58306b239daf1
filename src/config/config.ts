import type { AUTH_STYLES, DeploymentEntry, SKUS } from './deployment.ts';
import type { OptionValues } from './options.ts';

/** What `createApp` is made from: every option, with the deployments resolved. */
export interface AppConfig extends Omit<OptionValues, 'deployments'> {
  /** At least one; names are unique. */
  readonly deployments: readonly DeploymentConfig[];
}

export interface DeploymentConfig {
  readonly name: string;
  readonly model: string;
  readonly sku: (typeof SKUS)[number];
  readonly enqueuedTokensMax: number;
  readonly concurrencyMax: number;
  readonly upstreams: readonly UpstreamConfig[];
}

export type UpstreamConfig = SimulatorUpstreamConfig | HttpUpstreamConfig;

/** Behaves as the `simulator…` options say. */
interface SimulatorUpstreamConfig {
  readonly kind: 'simulator';
  readonly model: string;
}

interface HttpUpstreamConfig {
  readonly kind: 'http';
  /** Without a slash at its end. */
  readonly url: string;
  readonly apiKey: string | null;
  readonly authStyle: (typeof AUTH_STYLES)[number];
  /** Azure's classic paths with this version; null: `url` is the base of an OpenAI-compatible API. */
  readonly apiVersion: string | null;
  /** The model's name there. */
  readonly model: string;
  readonly requestTimeoutMs: number;
}

/** The simulator needs no set-up, so it serves the deployment that the examples name. */
const EXAMPLE_DEPLOYMENT: DeploymentEntry = { name: 'gpt-4o-batch-deployment', model: 'gpt-4o' };

export function resolveConfig(values: OptionValues): AppConfig {
  const entries = values.deployments ?? [EXAMPLE_DEPLOYMENT];
  return { ...values, deployments: entries.map((entry) => resolveDeployment(entry, values)) };
}

function resolveDeployment(entry: DeploymentEntry, values: OptionValues): DeploymentConfig {
  const upstreams = entry.upstreams ?? [
    { url: values.upstream, ...(values.upstreamApiKey && { apiKey: values.upstreamApiKey }) },
  ];
  return {
    name: entry.name,
    model: entry.model ?? entry.name,
    sku: entry.sku ?? 'GlobalBatch',
    enqueuedTokensMax: entry.enqueuedTokens ?? values.enqueuedTokensMax,
    concurrencyMax: entry.concurrency ?? values.concurrencyMax,
    upstreams: upstreams.map((upstream) => resolveUpstream(upstream, entry, values)),
  };
}

function resolveUpstream(
  upstream: NonNullable<DeploymentEntry['upstreams']>[number],
  deployment: DeploymentEntry,
  values: OptionValues,
): UpstreamConfig {
  const model = upstream.model ?? deployment.model ?? deployment.name;
  if (upstream.url === 'simulator') return { kind: 'simulator', model };
  return {
    kind: 'http',
    url: upstream.url,
    apiKey: upstream.apiKey ?? null,
    authStyle: upstream.authStyle ?? (isAzure(upstream.url) ? 'api-key' : 'bearer'),
    apiVersion: upstream.apiVersion ?? null,
    model,
    requestTimeoutMs: upstream.requestTimeout ?? values.requestTimeoutMs,
  };
}

const isAzure = (url: string): boolean =>
  /\.(openai|cognitiveservices|services\.ai)\.azure\.com$/.test(new URL(url).hostname);
