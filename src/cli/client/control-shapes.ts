import { z } from 'zod';

/** The members of the control plane's answers that commands read. All others are passed on unread. */

export const Account = z.looseObject({
  name: z.string(),
  location: z.string(),
  tags: z.record(z.string(), z.string()).nullish(),
  properties: z.looseObject({
    endpoint: z.string().nullish(),
    disableLocalAuth: z.boolean().nullish(),
    offpeak: z.looseObject({ offer: z.string().nullish(), owner: z.string().nullish() }).nullish(),
  }),
});
export type Account = z.output<typeof Account>;

/** The answer has only the last characters of a key that was shown before. */
export const Keys = z.looseObject({ key1: z.string().nullish(), key2: z.string().nullish() });
export type Keys = z.output<typeof Keys>;

/** The enqueued tokens of a deployment at one moment. */
const EnqueuedTokens = z.looseObject({
  held: z.number(),
  limit: z.number(),
  waiting: z.number().nullish(),
  waiting_batches: z.number().nullish(),
});

export const Deployment = z.looseObject({
  name: z.string(),
  sku: z.looseObject({ name: z.string(), capacity: z.number().nullish() }),
  properties: z.looseObject({
    model: z.looseObject({ name: z.string(), version: z.string().nullish() }),
    versionUpgradeOption: z.string().nullish(),
    raiPolicyName: z.string().nullish(),
    dynamicThrottlingEnabled: z.boolean().nullish(),
    offpeak: z
      .looseObject({
        whenFull: z.string().nullish(),
        concurrency: z.number().nullish(),
        servedBy: z.array(z.string()).nullish(),
        owner: z.string().nullish(),
        enqueued_tokens: EnqueuedTokens.nullish(),
      })
      .nullish(),
  }),
});
export type Deployment = z.output<typeof Deployment>;

export const Model = z.looseObject({
  model: z.looseObject({
    name: z.string(),
    version: z.string().nullish(),
    isDefaultVersion: z.boolean().nullish(),
    skus: z.array(z.looseObject({ name: z.string(), usageName: z.string().nullish() })).nullish(),
    offpeak: z
      .looseObject({
        inputs: z.array(z.string()).nullish(),
        batchPrice: z.object({ input: z.number(), output: z.number() }).nullish(),
      })
      .nullish(),
  }),
});
export type Model = z.output<typeof Model>;

/** What the deployments of one model and SKU use of the quota. */
export const Usage = z.looseObject({
  /** A name such as `OpenAI.GlobalBatch.gpt-4o`. */
  name: z.looseObject({ value: z.string() }),
  offpeak: z.looseObject({
    allocated_tokens: z.number(),
    held_tokens: z.number(),
    limit_tokens: z.number().nullable(),
    /** What a new deployment can get. It is more than the rest if shares of the configuration give way. */
    available_tokens: z.number().nullable(),
  }),
});
export type Usage = z.output<typeof Usage>;

const AuditEntry = z.looseObject({
  seq: z.number(),
  at: z.number(),
  resource: z.string().nullish(),
  actor: z.string(),
  action: z.string(),
  target: z.string(),
  detail: z.record(z.string(), z.unknown()).nullish(),
});
export type AuditEntry = z.output<typeof AuditEntry>;
export const AuditPage = z.looseObject({ data: z.array(AuditEntry), has_more: z.boolean().nullish() });
export type AuditPage = z.output<typeof AuditPage>;

export const listOf = <T extends z.ZodType>(item: T) => z.looseObject({ value: z.array(item) });

/** Where a resource or a deployment is declared, for people. */
export const ownerWord = (owner: string | null | undefined): string =>
  owner === 'configuration' ? 'the configuration (read-only here)' : 'the API';

/** The members that have a value; undefined: none has. */
export function present(members: Readonly<Record<string, unknown>>): Record<string, unknown> | undefined {
  const set = Object.entries(members).filter(([, value]) => value !== undefined);
  return set.length === 0 ? undefined : Object.fromEntries(set);
}
