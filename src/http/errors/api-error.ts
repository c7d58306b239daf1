/** Any thrown value becomes one entry of the error table. */
import { ZodError } from 'zod';
import { ApiError, type ApiErrorCode } from '../../contract/error.ts';
import { BlobNotFound, BlobStoreError, BlobTooLarge } from '../../stores/blobs/port.ts';
import { StoreError } from '../../stores/state/ports.ts';

/** The keys are the codes of what Fastify and its parsers throw for bad input. */
const FRAMEWORK_ERRORS: Readonly<Record<string, readonly [ApiErrorCode, string]>> = {
  FST_ERR_CTP_INVALID_MEDIA_TYPE: [
    'unsupportedMediaType',
    'Unsupported Content-Type. Send application/json, or multipart/form-data for an upload.',
  ],
  FST_ERR_CTP_BODY_TOO_LARGE: [
    'bodyTooLarge',
    'The JSON of the request is larger than this route takes. The requests of a batch go into a file: POST /files.',
  ],
  FST_ERR_CTP_INVALID_CONTENT_LENGTH: [
    'badRequest',
    'The request body does not have the length that Content-Length announces.',
  ],
  FST_ERR_BAD_URL: ['badRequest', 'The URL is malformed: check its percent-encoding.'],
  FST_ERR_MAX_PARAM_LENGTH: ['routeNotFound', 'Resource not found'],
};

const RETRY_AFTER_S = 30;

export function toApiError(error: unknown): ApiError {
  if (error instanceof ApiError) return error;
  if (error instanceof StoreError || error instanceof BlobStoreError) return storageError(error);
  if (error instanceof BlobNotFound)
    return new ApiError(
      'fileNotFound',
      'The service no longer has the bytes of this file. Upload it again, or ask the operator to restore them.',
      { cause: error },
    );
  if (error instanceof BlobTooLarge)
    return new ApiError(
      'fileTooLarge',
      'The file is larger than a file may be. Split it into several files.',
      {
        cause: error,
      },
    );
  const code = property(error, 'code');
  const known = typeof code === 'string' ? FRAMEWORK_ERRORS[code] : undefined;
  if (known !== undefined) return new ApiError(known[0], known[1], { cause: error });
  const status = property(error, 'statusCode');
  if (typeof status === 'number' && status >= 400 && status < 500 && !(error instanceof ZodError))
    return new ApiError('badRequest', 'The request is malformed.', { cause: error });
  return new ApiError(
    'internalFailure',
    'Something went wrong on our side. Try again; if it persists, report the request id in the x-request-id header.',
    { cause: error },
  );
}

function storageError(cause: StoreError | BlobStoreError): ApiError {
  const options = { cause, retryAfterS: RETRY_AFTER_S };
  if (cause.reason === 'disk_full')
    return new ApiError('diskFull', 'The disk is full. Nothing was stored; try again later.', options);
  if (cause.reason === 'read_only')
    return new ApiError('diskFull', 'The disk is read-only. Nothing was stored; try again later.', options);
  if (cause.reason === 'busy' || (cause instanceof StoreError && cause.transient))
    return new ApiError('notReady', 'The store is busy. Nothing was changed; try again.', options);
  return new ApiError('internalFailure', 'The store failed. Try again later.', { cause });
}

/** Whether the process must end, because it can no longer trust its storage (P9). */
export function isFatal(error: unknown): boolean {
  if (error instanceof StoreError) return !error.transient;
  return error instanceof BlobStoreError && error.reason === 'io';
}

const property = (value: unknown, name: string): unknown =>
  typeof value === 'object' && value !== null ? Reflect.get(value, name) : undefined;
