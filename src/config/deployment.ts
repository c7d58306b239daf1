import { z } from 'zod';
import {
  CONCURRENCY_MAX,
  ENQUEUED_TOKENS_MAX,
  SKUS,
  VERSION_UPGRADE_OPTIONS,
  WHEN_FULL,
} from '../contract/control.ts';
import { inlineUpstream, type InlineUpstreamEntry } from './upstream.ts';
import { upstreamAddress } from './upstream-address.ts';
import { count, each, flag, mapping, name, oneOf, tags, text, textOr, type Kind } from './values.ts';

/** The name of an upstream, or an upstream for this deployment alone. */
const upstreamOfDeployment: z.ZodType<string | InlineUpstreamEntry> = z.preprocess(
  fromUrl,
  textOr(name.schema, inlineUpstream),
);

/** A deployment as it is written: `NAME[=MODEL]` in a flag or a variable, or a mapping in the file. */
const schema = z.preprocess(
  fromPair,
  mapping({
    name: text.schema.refine((raw) => raw.length <= 64, 'expected at most 64 characters'),
    /** The base model. When omitted, the name. */
    model: text.schema.optional(),
    version: text.schema.optional(),
    sku: oneOf(...SKUS).schema.optional(),
    enqueuedTokens: count(1, ENQUEUED_TOKENS_MAX).schema.optional(),
    dynamicQuota: flag.schema.optional(),
    whenFull: oneOf(...WHEN_FULL).schema.optional(),
    versionUpgradeOption: oneOf(...VERSION_UPGRADE_OPTIONS).schema.optional(),
    contentFilter: text.schema.optional(),
    concurrency: count(1, CONCURRENCY_MAX).schema.optional(),
    upstreams: each(upstreamOfDeployment, 'upstream').optional(),
    tags: tags.optional(),
  }),
);
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

/** A text that cannot be a name is an address, so the fault of a bad address speaks of an address. */
function fromUrl(raw: unknown): unknown {
  return typeof raw === 'string' && (upstreamAddress.schema.safeParse(raw).success || raw.includes(':'))
    ? { url: raw }
    : raw;
}

/** Only the first separator splits, because names of models may contain `=`. */
function splitOnce(raw: string, separator: string): [string, string?] {
  const at = raw.indexOf(separator);
  return at < 0 ? [raw] : [raw.slice(0, at), raw.slice(at + separator.length)];
}
