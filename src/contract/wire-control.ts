/** The bodies of deployments, quotas, models and the audit log, as zod schemas. */
import { z } from 'zod';
import { AUDIT_ACTIONS, SKUS } from './control.ts';

const unixSeconds = z.int().meta({ description: 'Unix time in seconds' });
const tokens = z.int().min(0);

const WireDeploymentTokens = z
  .object({
    held: tokens.meta({ description: 'Input tokens of the live batches' }),
    waiting: tokens.meta({ description: 'Wanted by batches that wait for room' }),
    waiting_batches: z.int().min(0),
    limit: tokens,
    available: tokens,
  })
  .meta({ id: 'DeploymentTokens' });

export const WireDeployment = z
  .object({
    id: z.string().meta({ description: 'What requests name in `model`' }),
    object: z.literal('deployment'),
    model: z.string().meta({ description: 'Base model' }),
    model_version: z.string().nullable(),
    sku: z.enum(SKUS),
    capacity: z.int().meta({ description: 'Thousands of enqueued tokens' }),
    status: z.literal('succeeded'),
    created_at: unixSeconds,
    updated_at: unixSeconds,
    enqueued_tokens: WireDeploymentTokens,
  })
  .meta({ id: 'Deployment' });
export type WireDeployment = z.infer<typeof WireDeployment>;

const plainListOf = <T extends z.ZodType>(item: T) =>
  z.object({ object: z.literal('list'), data: z.array(item) });

export const WireDeploymentList = plainListOf(WireDeployment).meta({ id: 'DeploymentList' });

export const WireQuotaUsage = z
  .object({
    id: z.string().meta({ description: 'As the control plane names it: `OpenAI.GlobalBatch.gpt-4o`' }),
    object: z.literal('usage'),
    model: z.string(),
    sku: z.enum(SKUS),
    location: z.string(),
    limit_tokens: tokens
      .nullable()
      .meta({ description: 'Quota of the subscription there; null: none is set' }),
    available_tokens: tokens.nullable().meta({ description: 'Of the quota, what a new deployment can have' }),
    allocated_tokens: tokens.meta({ description: 'Limits of the deployments of this resource' }),
    held_tokens: tokens.meta({ description: 'Held by live batches of this resource' }),
    waiting_tokens: tokens.meta({ description: 'Wanted by batches of this resource that wait for room' }),
  })
  .meta({ id: 'QuotaUsage' });
export type WireQuotaUsage = z.infer<typeof WireQuotaUsage>;

export const WireQuotaUsageList = plainListOf(WireQuotaUsage).meta({ id: 'QuotaUsageList' });

/** A model as OpenAI lists it: what callers put in `model`. */
export const WireModel = z
  .object({
    id: z.string(),
    object: z.literal('model'),
    created: unixSeconds,
    owned_by: z.string(),
  })
  .meta({ id: 'Model' });
export type WireModel = z.infer<typeof WireModel>;

/** A model as Azure lists it: a base model of the catalog. */
export const WireBaseModel = z
  .object({
    id: z.string().meta({ description: 'Name and version' }),
    object: z.literal('model'),
    status: z.literal('succeeded'),
    created_at: unixSeconds,
    updated_at: unixSeconds,
    lifecycle_status: z.literal('generally-available'),
    capabilities: z.object({
      completion: z.boolean(),
      chat_completion: z.boolean(),
      embeddings: z.boolean(),
      fine_tune: z.boolean(),
      inference: z.boolean(),
    }),
    deprecation: z.object({}),
    model: z.string(),
    version: z.string().nullable(),
    inputs: z.array(z.enum(['text', 'image'])),
    skus: z.array(z.enum(SKUS)),
  })
  .meta({ id: 'BaseModel' });
export type WireBaseModel = z.infer<typeof WireBaseModel>;

export const WireAnyModel = z.union([WireModel, WireBaseModel]);
export const WireModelList = z.union([plainListOf(WireModel), plainListOf(WireBaseModel)]);

const WireAuditEntry = z
  .object({
    object: z.literal('audit.entry'),
    seq: z.int(),
    at: unixSeconds,
    resource: z.string().nullable().meta({ description: 'Null: the service as a whole' }),
    actor: z.string(),
    action: z.enum(AUDIT_ACTIONS),
    target: z.string(),
    detail: z.record(z.string(), z.unknown()),
  })
  .meta({ id: 'AuditEntry' });

export const WireAuditPage = z
  .object({ object: z.literal('list'), data: z.array(WireAuditEntry), has_more: z.boolean() })
  .meta({ id: 'AuditPage' });
