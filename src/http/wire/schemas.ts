/** What callers may send. Requests are checked against these schemas, and the OpenAPI document shows them. */
import { z } from 'zod';
import { FILE_PURPOSES } from '../../contract/file.ts';
import { toBatchEndpoint, BATCH_ENDPOINTS, INPUT_BYTES_MAX } from '../../contract/batch.ts';
import { WHEN_FULL } from '../../contract/control.ts';
import type { ApiErrorCode } from '../../contract/error.ts';

const wholeNumber = (min: number, max: number) => z.coerce.number().int().min(min).max(max);

export const ById = z.object({ id: z.string() });

/** Scripts send an empty id for their first page. */
const after = (kind: 'batch' | 'file') =>
  z
    .string()
    .optional()
    .transform((id) => (id === '' ? undefined : id))
    .meta({ description: `Id of the last ${kind} of the page before` });

export const ListBatchesQuery = z.object({
  limit: wholeNumber(1, 100).default(20),
  after: after('batch'),
  $filter: z.string().optional().meta({
    description:
      "For example `created_at gt 1728773533 and status eq 'Completed'`. From api-version 2024-10-01-preview on.",
  }),
  $orderby: z.string().optional().meta({ description: '`created_at asc`, for example' }),
});

export const ListFilesQuery = z.object({
  purpose: z.enum(FILE_PURPOSES).optional(),
  limit: wholeNumber(1, 10_000).default(10_000),
  after: after('file'),
  order: z.enum(['asc', 'desc']).default('desc').meta({ description: 'By `created_at`' }),
});

export const ContentQuery = z.object({
  offset: wholeNumber(0, 100_000_000).default(0).meta({ description: 'Lines to skip' }),
});

const ExpiresAfter = z.object({ anchor: z.unknown(), seconds: z.unknown() }).partial();

const METADATA_KEYS_MAX = 16;
const METADATA_KEY_CHARS_MAX = 64;
const METADATA_VALUE_CHARS_MAX = 512;

const Metadata = z
  .record(z.string(), z.string())
  .superRefine((metadata, context) => {
    const keys = Object.keys(metadata);
    if (keys.length > METADATA_KEYS_MAX)
      context.addIssue({
        code: 'custom',
        params: { code: 'metadataTooMany' satisfies ApiErrorCode },
        message:
          `Invalid 'metadata': too many properties. Expected an object with at most ${METADATA_KEYS_MAX} properties, ` +
          `but got an object with ${keys.length} properties instead.`,
      });
    for (const [key, value] of Object.entries(metadata)) {
      const [what, max, length] =
        key.length > METADATA_KEY_CHARS_MAX
          ? ['the key is', METADATA_KEY_CHARS_MAX, key.length]
          : ['the value is', METADATA_VALUE_CHARS_MAX, value.length];
      if (length > max)
        context.addIssue({
          code: 'custom',
          params: { code: 'metadataInvalid' satisfies ApiErrorCode },
          message: `Invalid 'metadata.${key.slice(0, 64)}': ${what} too long. Expected at most ${max} characters, but got ${length}.`,
        });
    }
  })
  .meta({ description: `At most ${METADATA_KEYS_MAX} pairs of strings` });

/** Unknown members are let through, since clients of later versions send them. */
export const CreateBatchBody = z
  .looseObject({
    input_file_id: z.string().nullish(),
    endpoint: z.string().transform((url, context) => {
      const endpoint = toBatchEndpoint(url);
      if (endpoint !== undefined) return endpoint;
      context.addIssue({
        code: 'custom',
        message: `Invalid value for 'endpoint': '${url.slice(0, 100)}'. Supported values are: ${BATCH_ENDPOINTS.map((known) => `'${known}'`).join(', ')}, each also with /v1.`,
      });
      return z.NEVER;
    }),
    completion_window: z.literal('24h'),
    metadata: Metadata.nullish(),
    output_expires_after: ExpiresAfter.nullish(),
    input_blob: z.unknown().optional(),
    output_folder: z.unknown().optional(),
  })
  .meta({ id: 'CreateBatch' });

/** Other headers are let through. */
export const CreateBatchHeaders = z.looseObject({
  'offpeak-queue': z.enum(WHEN_FULL).optional().meta({
    description:
      'What happens when the deployment has no room for the tokens of the batch: with `wait` it waits its turn, with `fail` it is refused. The deployment has a default.',
  }),
});

export const WRONG_PURPOSE = "Invalid value for purpose. Files here are for batches: send 'batch'.";

/** It stands first in a body, since it is judged first. */
const Purpose = z.string().refine((purpose) => purpose === 'batch', {
  message: WRONG_PURPOSE,
  params: { code: 'invalidPayload' satisfies ApiErrorCode },
});

export const ImportFileBody = z
  .looseObject({
    purpose: Purpose,
    filename: z.string().min(1),
    content_url: z.string().min(1),
    expires_after: ExpiresAfter.nullish(),
  })
  .meta({ id: 'ImportFile' });

export const StartUploadBody = z
  .looseObject({
    purpose: Purpose,
    filename: z.string().min(1),
    bytes: z
      .int()
      .min(0)
      .refine((bytes) => bytes <= INPUT_BYTES_MAX, {
        message: `Invalid value for 'bytes': a file has at most ${INPUT_BYTES_MAX} bytes. Split it into several files.`,
        params: { code: 'fileTooLarge' satisfies ApiErrorCode },
      })
      .meta({ description: 'Of all parts together' }),
    mime_type: z.string().min(1),
    expires_after: ExpiresAfter.nullish(),
  })
  .meta({ id: 'StartUpload' });

export const CompleteUploadBody = z
  .looseObject({
    part_ids: z.array(z.string()).meta({ description: 'In the order of the file' }),
    md5: z.string().nullish().meta({ description: 'Of the whole file, in hex or base64' }),
  })
  .meta({ id: 'CompleteUpload' });

/** Only the documentation uses it: the form is read as a stream. */
export const PartForm = z
  .object({ data: z.string().meta({ format: 'binary' }) })
  .meta({ id: 'AddUploadPart' });

/** Only the documentation uses it: the form is read as a stream. */
export const UploadForm = z
  .object({
    purpose: z.literal('batch'),
    file: z.string().meta({ format: 'binary' }),
    'expires_after[anchor]': z.literal('created_at').optional(),
    'expires_after[seconds]': z.int().min(259_200).max(2_592_000).optional(),
  })
  .meta({ id: 'UploadFile' });

export const Content = z.string().meta({ format: 'binary' });
