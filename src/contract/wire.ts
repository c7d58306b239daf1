/**
 * The bodies of the wire, as zod schemas. The server renders and documents with them, and the command line reads answers
 * with them. Every key is present, and null when unset. Source: docs/contract.md §1, §2.
 */
import { z } from 'zod';
import { BATCH_STATUSES } from './batch.ts';
import { FILE_PURPOSES } from './file.ts';
import { UPLOAD_STATUSES } from './upload.ts';

const unixSeconds = z.int().meta({ description: 'Unix time in seconds' });

export const WireFile = z
  .object({
    id: z.string(),
    object: z.literal('file'),
    bytes: z.int(),
    created_at: unixSeconds,
    expires_at: unixSeconds.nullable(),
    filename: z.string(),
    purpose: z.enum(FILE_PURPOSES),
    status: z.enum(['uploaded', 'pending', 'running', 'processed', 'error', 'deleting', 'deleted']),
    status_details: z.string().nullable(),
  })
  .meta({ id: 'File' });
export type WireFile = z.infer<typeof WireFile>;

const listOf = <T extends z.ZodType>(item: T) =>
  z.object({
    object: z.literal('list'),
    data: z.array(item),
    first_id: z.string().nullable(),
    last_id: z.string().nullable(),
    has_more: z.boolean(),
  });

export const WireFileList = listOf(WireFile).meta({ id: 'FileList' });
export type WireFileList = z.infer<typeof WireFileList>;

export const WireFileDeleted = z
  .object({ object: z.literal('file'), id: z.string(), deleted: z.literal(true) })
  .meta({ id: 'FileDeleted' });

export const WireUpload = z
  .object({
    id: z.string(),
    object: z.literal('upload'),
    bytes: z.int().meta({ description: 'What the parts must have together' }),
    created_at: unixSeconds,
    expires_at: unixSeconds,
    filename: z.string(),
    purpose: z.enum(FILE_PURPOSES),
    status: z.enum(UPLOAD_STATUSES),
    file: WireFile.nullable().meta({ description: 'Once the upload is completed' }),
  })
  .meta({ id: 'Upload' });
export type WireUpload = z.infer<typeof WireUpload>;

export const WireUploadPart = z
  .object({
    id: z.string(),
    object: z.literal('upload.part'),
    created_at: unixSeconds,
    upload_id: z.string(),
    azure_block_id: z.string().optional().meta({ description: 'On the surfaces of Azure' }),
  })
  .meta({ id: 'UploadPart' });
export type WireUploadPart = z.infer<typeof WireUploadPart>;

const WireBatchError = z
  .object({
    code: z.string(),
    message: z.string(),
    param: z.string().nullable(),
    line: z.int().nullable().meta({ description: '1-based line of the input' }),
  })
  .meta({ id: 'BatchError' });

const WireUsage = z
  .object({
    input_tokens: z.int(),
    input_tokens_details: z.object({ cached_tokens: z.int() }),
    output_tokens: z.int(),
    output_tokens_details: z.object({ reasoning_tokens: z.int() }),
    total_tokens: z.int(),
  })
  .meta({ id: 'BatchUsage' });

const WireEnqueuedTokens = z
  .object({
    used: z.int().meta({
      description:
        'What this batch takes of the limit until it ends, as an estimate; 0 while it waits for room',
    }),
    held: z.int().nullable().meta({ description: 'What all live batches of the deployment take just now' }),
    limit: z.int().nullable().meta({ description: 'Limit of the deployment' }),
  })
  .meta({ id: 'BatchEnqueuedTokens', description: 'Input tokens; null: not known, or the batch has ended' });

const WireQueuePlace = z
  .object({
    position: z.int().min(1).meta({ description: '1 is the oldest' }),
    length: z.int().min(1).meta({ description: 'Batches in the queue, this one included' }),
    tokens: z.int().meta({ description: 'Tokens that this batch needs' }),
    tokens_ahead: z.int().meta({ description: 'Tokens that the older ones need' }),
  })
  .meta({ id: 'QueuePlace' });

const ReadableFileId = z.string().nullable().meta({
  description: 'Readable while the batch runs; null: the batch has ended, and there is no such file',
});

/** What Offpeak adds to the original. */
const WireBatchExtras = z
  .object({
    progress: z.number().min(0).max(1),
    requests_per_second: z.number(),
    eta_seconds: z.number().nullable(),
    in_flight: z.int(),
    retries: z.int(),
    resent_requests: z.int().meta({ description: 'Requests sent again after a crash: an upper bound' }),
    enqueued_tokens: WireEnqueuedTokens,
    queue: WireQueuePlace.nullable().meta({
      description: 'Place in the queue of its deployment; null: it does not wait for room',
    }),
    waiting: z.string().nullable().meta({ description: 'Why nothing moves just now' }),
    errors_omitted: z.int().meta({ description: 'Faults of the input beyond those in `errors`' }),
    output_file_id: ReadableFileId,
    error_file_id: ReadableFileId,
  })
  .meta({ id: 'BatchExtras' });

export const WireBatch = z
  .object({
    id: z.string(),
    object: z.literal('batch'),
    endpoint: z.string(),
    model: z.string().nullable().meta({ description: 'The deployment that the lines name' }),
    errors: z.object({ object: z.literal('list'), data: z.array(WireBatchError) }).nullable(),
    input_file_id: z.string(),
    completion_window: z.string(),
    status: z.enum(BATCH_STATUSES),
    output_file_id: z.string().nullable(),
    error_file_id: z.string().nullable(),
    created_at: unixSeconds,
    in_progress_at: unixSeconds.nullable(),
    expires_at: unixSeconds,
    finalizing_at: unixSeconds.nullable(),
    completed_at: unixSeconds.nullable(),
    failed_at: unixSeconds.nullable(),
    expired_at: unixSeconds.nullable(),
    cancelling_at: unixSeconds.nullable(),
    cancelled_at: unixSeconds.nullable(),
    request_counts: z.object({ total: z.int(), completed: z.int(), failed: z.int() }),
    usage: WireUsage,
    metadata: z.record(z.string(), z.string()).nullable(),
    offpeak: WireBatchExtras,
  })
  .meta({ id: 'Batch' });
export type WireBatch = z.infer<typeof WireBatch>;

export const WireBatchList = listOf(WireBatch).meta({ id: 'BatchList' });
export type WireBatchList = z.infer<typeof WireBatchList>;

/** Azure's shape has `code`, `message` and `target`; OpenAI's has `message`, `type`, `param` and `code`. */
export const WireError = z
  .object({
    error: z.object({
      code: z.string().nullable(),
      message: z.string(),
      target: z.string().optional(),
      type: z.string().optional(),
      param: z.string().nullable().optional(),
    }),
  })
  .meta({ id: 'Error' });
