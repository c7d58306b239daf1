import { z } from 'zod';
import { addressText, upstreamAddress } from './upstream-address.ts';
import { duration, mapping, name, oneOf, proxyUrl, region, secret, text } from './values.ts';

export const AUTH_STYLES = ['bearer', 'api-key'] as const;

/** The name of the upstream that `--upstream` gives. */
export const DEFAULT_UPSTREAM = 'default';

const DAY_MS = 24 * 3_600_000;

/** How an upstream is reached. */
const CONNECTION = {
  /** Base URL, or `simulator`. */
  url: upstreamAddress.schema,
  apiKey: secret.schema.optional(),
  /** Which header carries the key. When omitted, the host decides. */
  authStyle: oneOf(...AUTH_STYLES).schema.optional(),
  /** When given, Azure's classic paths under the resource's address are used. */
  apiVersion: text.schema.optional(),
  requestTimeout: duration(1, DAY_MS).schema.optional(),
  /** Certificates (PEM) to trust instead of the system's. */
  caFile: text.schema.optional(),
  /** Requests go through it. `none`: they go directly, whatever the environment says. */
  proxy: proxyUrl.schema.optional(),
  region: region.schema.optional(),
  dataZone: name.schema.optional(),
};

/** An upstream that stands in a deployment, for that deployment alone. */
export const inlineUpstream = mapping({
  ...CONNECTION,
  /** The model's name there. When omitted, it is the deployment's model. */
  model: text.schema.optional(),
});
export type InlineUpstreamEntry = z.output<typeof inlineUpstream>;

/** A list, or `model: its name there` lines. A list maps each model to itself. */
const models = z.preprocess(
  (raw) =>
    Array.isArray(raw) ? Object.fromEntries(raw.map((model) => [String(model), String(model)])) : raw,
  z.record(z.string(), text.schema, { error: 'expected a list of models, or `model: its name there` lines' }),
);

/** One of the service's upstreams. */
export const upstream = mapping({
  name: name.schema,
  ...CONNECTION,
  /** The models that it serves. When omitted, it serves every model, under its own name. */
  models: models.optional(),
});
export type UpstreamEntry = z.output<typeof upstream>;

export type UpstreamConfig = SimulatorUpstreamConfig | HttpUpstreamConfig;

interface PlacedUpstream {
  /** Unique among those that a deployment may use. */
  readonly name: string;
  /** Whether the operator gave it its name. If not, logs name its address. */
  readonly isNamed: boolean;
  readonly region: string;
  /** Null: it is in the zone of its region. */
  readonly dataZone: string | null;
  /** Model → its name there. Null: every model, under its own name. */
  readonly models: Readonly<Record<string, string>> | null;
  /** The one deployment that may use it. Null: every deployment whose SKU and model allow it. */
  readonly onlyFor: { readonly resourceId: string; readonly deployment: string } | null;
  /** The line that faults name: `offpeak.yaml:12`. */
  readonly source: string;
}

/** The simulator behaves as the `simulator…` options say. */
interface SimulatorUpstreamConfig extends PlacedUpstream {
  readonly kind: 'simulator';
}

export interface HttpUpstreamConfig extends PlacedUpstream {
  readonly kind: 'http';
  /** It has no slash at its end. */
  readonly url: string;
  readonly apiKey: string | null;
  readonly authStyle: (typeof AUTH_STYLES)[number];
  /** Azure's classic paths are used with this version. Null: `url` is the base of an OpenAI-compatible API. */
  readonly apiVersion: string | null;
  readonly requestTimeoutMs: number;
  /** File of the certificates to trust. Null: the system's are trusted. */
  readonly caPath: string | null;
  /** `none`: requests go directly. Null: `HTTP_PROXY`, `HTTPS_PROXY` and `NO_PROXY` decide. */
  readonly proxy: string | null;
}

interface UpstreamDefaults {
  readonly location: string;
  readonly requestTimeoutMs: number;
}

export function resolveUpstream(
  entry: UpstreamEntry,
  values: UpstreamDefaults,
  source: string,
): UpstreamConfig {
  const isNamed = entry.name !== DEFAULT_UPSTREAM;
  return connect(entry, values, {
    name: entry.name,
    isNamed,
    models: entry.models ?? null,
    onlyFor: null,
    source,
  });
}

export function resolveInline(
  entry: InlineUpstreamEntry,
  place: {
    readonly resourceId: string;
    readonly deployment: string;
    readonly model: string;
    readonly values: UpstreamDefaults;
    /** Names of upstreams that the deployment can use already. */
    readonly taken: ReadonlySet<string>;
    readonly source: string;
  },
): UpstreamConfig {
  const { resourceId, deployment, model, values, taken, source } = place;
  const address = addressText(entry.url);
  return connect(entry, values, {
    name: freeName(URL.parse(address)?.host || address, taken),
    isNamed: false,
    models: { [model]: entry.model ?? model },
    onlyFor: { resourceId, deployment },
    source,
  });
}

function freeName(name: string, taken: ReadonlySet<string>): string {
  let free = name;
  for (let number = 2; taken.has(free); number++) free = `${name}#${number}`;
  return free;
}

function connect(
  { url: address, ...entry }: InlineUpstreamEntry,
  { location, requestTimeoutMs }: UpstreamDefaults,
  place: Omit<PlacedUpstream, 'region' | 'dataZone'>,
): UpstreamConfig {
  const placed = { ...place, region: entry.region ?? location, dataZone: entry.dataZone ?? null };
  switch (address.kind) {
    case 'simulator':
      return { kind: 'simulator', ...placed };
    case 'http':
      return {
        ...address,
        ...placed,
        apiKey: entry.apiKey ?? null,
        authStyle: entry.authStyle ?? (isAzureOpenai(address.url) ? 'api-key' : 'bearer'),
        apiVersion: entry.apiVersion ?? null,
        requestTimeoutMs: entry.requestTimeout ?? requestTimeoutMs,
        caPath: entry.caFile ?? null,
        proxy: entry.proxy ?? null,
      };
  }
}

/** Resources of Azure OpenAI take a key in `api-key`. Other services of Azure take it as a bearer token. */
const isAzureOpenai = (url: string): boolean =>
  /\.(openai|cognitiveservices|services\.ai)\.azure\.com$/.test(new URL(url).hostname);
