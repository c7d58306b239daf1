import { z } from 'zod';
import { count, duration, oneOf, secret, text, upstreamUrl, type Kind } from './values.ts';

export const SKUS = [
  'GlobalBatch',
  'DataZoneBatch',
  'GlobalStandard',
  'DataZoneStandard',
  'Standard',
] as const;
export const AUTH_STYLES = ['bearer', 'api-key'] as const;

const DAY_MS = 24 * 3_600_000;

const UPSTREAM_SHAPE = {
  /** Base URL, or `simulator`. */
  url: upstreamUrl.schema,
  apiKey: secret.schema.optional(),
  /** The model's name there; the deployment's model when omitted. */
  model: text.schema.optional(),
  /** Which header carries the key; found out from the host when omitted. */
  authStyle: oneOf(...AUTH_STYLES).schema.optional(),
  /** Uses Azure's classic paths under the resource's address. */
  apiVersion: text.schema.optional(),
  requestTimeout: duration(1, DAY_MS).schema.optional(),
};

const DEPLOYMENT_SHAPE = {
  name: text.schema,
  /** Base model; the name when omitted. */
  model: text.schema.optional(),
  sku: oneOf(...SKUS).schema.optional(),
  enqueuedTokens: count(1, 1e15).schema.optional(),
  concurrency: count(1, 10_000).schema.optional(),
  /** The default upstream (`--upstream`) when omitted. */
  upstreams: z
    .array(z.preprocess(fromUrl, z.strictObject(UPSTREAM_SHAPE)))
    .min(1, 'expected at least one upstream')
    .optional(),
};

export const UPSTREAM_KEYS = Object.keys(UPSTREAM_SHAPE);
export const DEPLOYMENT_KEYS = Object.keys(DEPLOYMENT_SHAPE);

/** A deployment as configured: `NAME[=MODEL]` from a flag or a variable, or a mapping in the file. */
const schema = z.preprocess(fromPair, z.strictObject(DEPLOYMENT_SHAPE));
export type DeploymentEntry = z.output<typeof schema>;
export const deployment: Kind<DeploymentEntry> = {
  what: 'NAME or NAME=MODEL; in the file also a mapping',
  schema,
};

function fromPair(raw: unknown): unknown {
  if (typeof raw !== 'string') return raw;
  const [name, model] = splitOnce(raw, '=');
  return model === undefined ? { name } : { name, model };
}

function fromUrl(raw: unknown): unknown {
  return typeof raw === 'string' ? { url: raw } : raw;
}

/** Only the first one splits: names of models may carry `=`. */
function splitOnce(raw: string, separator: string): [string, string?] {
  const at = raw.indexOf(separator);
  return at < 0 ? [raw] : [raw.slice(0, at), raw.slice(at + separator.length)];
}
