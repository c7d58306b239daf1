/** What callers of the ARM routes may send. Unknown members are let through, as ARM does. */
import { z } from 'zod';
import {
  CONCURRENCY_MAX,
  OFFERS,
  SKUS,
  TAGS_MAX,
  TOKENS_PER_CAPACITY,
  UPSTREAMS_NAMED_MAX,
  VERSION_UPGRADE_OPTIONS,
  WHEN_FULL,
  type Resource,
} from '../../contract/control.ts';
import type { DeploymentWanted, ResourceWanted } from '../../deployments/control/port.ts';
import { DEFAULT_CONTENT_FILTER, KIND } from './words.ts';

/** ARM's capacities are 32-bit integers. */
export const CAPACITY_MAX = 2 ** 31 - 1;

const TAG_NAME_CHARS_MAX = 512;
const TAG_VALUE_CHARS_MAX = 256;

const Tags = z
  .record(
    z.string().max(TAG_NAME_CHARS_MAX, `A tag's name has at most ${TAG_NAME_CHARS_MAX} characters`),
    z.string().max(TAG_VALUE_CHARS_MAX, `A tag's value has at most ${TAG_VALUE_CHARS_MAX} characters`),
  )
  .refine((tags) => Object.keys(tags).length <= TAGS_MAX, `'tags' has more than ${TAGS_MAX} pairs.`);

/** ARM compares its names without regard to case. */
const oneOf = <const T extends readonly [string, ...string[]]>(names: T) =>
  z
    .string()
    .transform((text) => names.find((name) => name.toLowerCase() === text.toLowerCase()) ?? text)
    .pipe(z.enum(names));

/** Clients write an absent member as null, too. */
const optional = <T extends z.ZodType>(schema: T) =>
  schema.nullish().transform((value) => value ?? undefined);

const accountMembers = {
  kind: optional(oneOf([KIND])),
  sku: optional(z.looseObject({ name: oneOf(['S0']) })),
  tags: optional(Tags),
  properties: optional(
    z.looseObject({
      disableLocalAuth: optional(z.boolean()),
      customSubDomainName: optional(z.string()),
      offpeak: optional(z.looseObject({ offer: optional(oneOf(OFFERS)) })),
    }),
  ),
};

/** `Korea Central` and `koreacentral` are the same place. */
const Location = z
  .string()
  .min(1)
  .transform((text) => text.replaceAll(' ', '').toLowerCase());

export const BySubscription = z.object({ subscription: z.string() });
export const ByLocation = BySubscription.extend({ location: Location });
export const ByGroup = BySubscription.extend({ group: z.string() });
export const ByAccount = ByGroup.extend({ account: z.string() });
export const ByDeployment = ByAccount.extend({ deployment: z.string() });

export const AccountBody = z.looseObject({ ...accountMembers, location: optional(Location) });

export function toResourceWanted(
  { id, subscriptionId, resourceGroup }: Pick<Resource, 'id' | 'subscriptionId' | 'resourceGroup'>,
  { properties, location, tags }: z.output<typeof AccountBody>,
): ResourceWanted {
  return {
    id,
    subscriptionId,
    resourceGroup,
    ...given({
      location,
      offer: properties?.offpeak?.offer,
      keyAuthDisabled: properties?.disableLocalAuth,
      tags,
    }),
  };
}

export const RegenerateKeyBody = z.looseObject({ keyName: oneOf(['Key1', 'Key2']) });

const Capacity = z
  .int()
  .min(1, 'It must be at least 1: one unit is 1,000 enqueued tokens')
  .max(CAPACITY_MAX, `It must be at most ${CAPACITY_MAX}`);

/** Members that ARM does not have. */
const DeploymentExtras = z.looseObject({
  whenFull: optional(z.enum(WHEN_FULL)),
  concurrency: optional(z.int().min(1).max(CONCURRENCY_MAX)),
  /** Null means every upstream that serves the model and that the SKU allows. */
  upstreams: z.array(z.string().min(1)).min(1).max(UPSTREAMS_NAMED_MAX).nullish(),
});

export const DeploymentBody = z.looseObject({
  sku: optional(z.looseObject({ name: optional(oneOf(SKUS)), capacity: optional(Capacity) })),
  tags: optional(Tags),
  properties: optional(
    z.looseObject({
      model: optional(
        z.looseObject({
          format: optional(oneOf([KIND])),
          name: z.string().min(1),
          version: optional(z.string()),
          source: optional(z.string()),
        }),
      ),
      versionUpgradeOption: optional(oneOf(VERSION_UPGRADE_OPTIONS)),
      raiPolicyName: optional(z.string().min(1).max(256)),
      dynamicThrottlingEnabled: optional(z.boolean()),
      offpeak: optional(DeploymentExtras),
    }),
  ),
});

export function toDeploymentWanted(name: string, body: z.output<typeof DeploymentBody>): DeploymentWanted {
  const { sku, tags, properties } = body;
  const version = properties?.model?.version;
  const filter = properties?.raiPolicyName;
  const extras = properties?.offpeak;
  return {
    name,
    ...given({
      model: properties?.model?.name,
      // Clients send an empty version for the default one.
      version: version === '' ? undefined : version,
      sku: sku?.name,
      enqueuedTokensMax: sku?.capacity === undefined ? undefined : sku.capacity * TOKENS_PER_CAPACITY,
      versionUpgradeOption: properties?.versionUpgradeOption,
      contentFilter: filter === DEFAULT_CONTENT_FILTER ? null : filter,
      dynamicQuota: properties?.dynamicThrottlingEnabled,
      whenFull: extras?.whenFull,
      concurrencyMax: extras?.concurrency,
      upstreams: extras?.upstreams,
      tags,
    }),
  };
}

type Given<T> = { [K in keyof T]?: Exclude<T[K], undefined> };

/** Leaves out what is undefined, since what was not sent keeps its value. */
function given<T extends object>(members: T): Given<T> {
  const entries = Object.entries(members).filter(([, value]) => value !== undefined);
  return Object.fromEntries(entries) as Given<T>;
}
