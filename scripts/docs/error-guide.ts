/** What each code means, and what to do, for docs/errors.md. The compiler finds a code that is left out. */
import type { UnansweredCode } from '../../src/batch/results/result-line.ts';
import type { BatchErrorCode } from '../../src/contract/batch.ts';
import type { ApiErrorCode } from '../../src/contract/error.ts';

export type Guide = readonly [means: string, next: string];

export const API_ERROR_GUIDE: Readonly<Record<ApiErrorCode, Guide>> = {
  invalidPayload: ['The request, or its form, is not what the route takes', 'The message says which part'],
  invalidValue: ['A parameter has a value that is not accepted', 'The message names it and what is accepted'],
  badRequest: [
    'The HTTP request is malformed, or its api-version is not served',
    'The message says why; most often it is the URL or the api-version',
  ],
  fileNotFound: [
    'No file of this resource has the id, or its bytes are gone',
    'List the files; a file of another resource is absent too',
  ],
  batchNotFound: [
    'No batch of this resource has the id',
    'List the batches; a batch of another resource is absent too',
  ],
  deploymentNotFound: [
    'The resource has no such deployment',
    '`GET /deployments` lists those that it has; `model` takes their names',
  ],
  modelNotFound: ['There is no such model', '`GET /models` lists the models'],
  routeNotFound: [
    'No route has this path; on `/openai/...` also: the api-version is missing',
    'Check the path, and add `?api-version=`',
  ],
  methodNotAllowed: [
    'The path does not take this method',
    'The message and `Allow` name those that it takes',
  ],
  fileTooLarge: [
    'The file is larger than a batch takes (200 MB)',
    'Split the file and make a batch of each part',
  ],
  bodyTooLarge: ['The body is larger than this route takes', 'Send only what the route asks for'],
  uploadNotFound: [
    'No upload of this resource has the id, or it ended more than a day ago',
    'Start another one',
  ],
  uploadNotPending: [
    'The upload in parts was completed, was cancelled or has expired',
    'Start another one; a completed upload has its file already',
  ],
  uploadPartDamaged: [
    'The disk of the service changed the bytes of a part',
    'Send that part again and complete with its new id; tell the operator',
  ],
  uploadQuotaExceeded: [
    'The resource has 100 uploads under way, or the upload has too many parts',
    'Complete or cancel some; each expires two hours after its start',
  ],
  fileQuotaExceeded: [
    'The resource has as many input files as it may have',
    'Delete some, or upload with `expires_after`: more of those are allowed',
  ],
  fileImportFailed: [
    'The file could not be fetched from `content_url`',
    'The message says why; or upload the file itself',
  ],
  batchNotCancellable: ['The batch has ended, so nothing is left to cancel', 'Read its results'],
  tokenLimitExceeded: [
    'The deployment has no room for the tokens of this batch',
    'Wait for others to end, raise its limit, or send `offpeak-queue: wait` with the create',
  ],
  idempotencyMismatch: [
    'The `Idempotency-Key` was used with another request',
    'Take a new key for a new request',
  ],
  missingParameter: ['A required parameter is missing', 'Send the one that the message names'],
  invalidType: ['A parameter has the wrong JSON type', 'The message says which type it should have'],
  metadataTooMany: ['`metadata` has more than 16 pairs', 'Send fewer'],
  metadataInvalid: [
    '`metadata` has a key or value that is no string, or too long',
    'Keys have at most 64 characters, values 512',
  ],
  unsupportedMediaType: [
    'The body has a type or an encoding that is not accepted',
    'Send JSON, or multipart/form-data for an upload, uncompressed',
  ],
  unauthorized: [
    'The key is missing or wrong for this resource',
    "Send the resource's key in `api-key`, or as `Authorization: Bearer`",
  ],
  tokenRejected: [
    'The token is missing, wrong, expired or for another audience',
    "Get a new one; a key may be sent as `api-key` instead. The body is `{statusCode, message}`, as the original's gateway has it",
  ],
  permissionDenied: [
    'The caller has no role that allows this',
    'Ask for a role with the action that is named',
  ],
  authenticationFailed: [
    'The control plane was called without a credential',
    'Send the admin key or a token as `Authorization: Bearer`',
  ],
  invalidAuthenticationToken: [
    'The control plane does not know the token or admin key',
    'Send another; keys of resources do not open the control plane',
  ],
  authorizationFailed: [
    'The caller has no role that allows this operation',
    'Ask for a role with the action that is named',
  ],
  keyAuthDisabled: ['The resource takes no keys', 'Send a token, or set `disableLocalAuth` to false'],
  resourceNotFound: ['There is no such resource or deployment', 'Check the path; list those that there are'],
  resourceNameTaken: ['Another subscription or group has a resource of this name', 'Take another name'],
  resourceInUse: ['The resource has batches that run', 'Cancel them or wait, then delete it again'],
  deploymentInUse: ['The deployment has batches that run', 'Cancel them or wait, or make another deployment'],
  ownedByConfiguration: [
    'The configuration declares it, so the API cannot change it',
    'Change `offpeak.yaml` and reload',
  ],
  insufficientQuota: [
    'The quota of the subscription, region, model and SKU is too small',
    'Ask for less, or lower another deployment; `offpeak quota` shows what is free',
  ],
  modelNotSupported: [
    'The catalog has no such model or version, or it is fine-tuned',
    'The message lists what there is; operators add models under `models:`',
  ],
  skuNotSupported: [
    'The model cannot be had with this SKU in this region',
    'Take a SKU or a region that the message lists',
  ],
  noUpstream: [
    'No model server may serve this deployment',
    'Add one under `upstreams:`, or take a SKU that may use another',
  ],
  missingApiVersion: ['The control plane was called without an api-version', 'Add `?api-version=2025-09-01`'],
  invalidRequestContent: [
    'The body has a member that is not accepted',
    'The message names it and says what is accepted',
  ],
  invalidResource: ['A name or a figure cannot be used', 'The message says which, and what can be used'],
  operationNotSupported: [
    'The deployment does not answer single requests, since it is for batches',
    'Send a batch, or take another deployment',
  ],
  requestTimeout: ['The body did not arrive in time', 'Send it again, on a better connection'],
  rangeNotSatisfiable: ['The range lies outside of the file', 'Ask for a range within its `bytes`'],
  tooManyRequests: [
    'Too many calls with a wrong key or token came from this address',
    'Wait as long as `Retry-After` says, and correct the key',
  ],
  diskFull: ['The disk of the service is full; nothing was stored', 'Try again later; operators make space'],
  notReady: [
    'The service starts, stops, or is too busy for this',
    'Try again as soon as `Retry-After` says; SDKs do',
  ],
  fileDamaged: [
    'The bytes of the file on the disk of the service are missing, or are not those that were stored',
    'Ask the operator to restore the data directory; the log of the service names the file on the disk',
  ],
  internalFailure: [
    'The service has a fault',
    'Try again; if it stays, tell the operator the `x-request-id` of the answer',
  ],
};

/** The codes of `errors.data[].code`. */
export const BATCH_ERROR_GUIDE: Readonly<Record<BatchErrorCode, Guide>> = {
  empty_file: ['The file has no requests', 'Write one request on each line'],
  too_many_tasks: ['The file has more than 100,000 requests', 'Split it and make a batch of each part'],
  invalid_json_line: [
    'The line is not one JSON value in UTF-8',
    'Correct the line; the message says at which position. Save the file as plain text',
  ],
  invalid_request: [
    'The line is no request that a batch can send: a member is missing, wrong or not possible in a batch; or its deployment takes no batches',
    'Correct the member that `param` names',
  ],
  missing_required_parameter: [
    'On `/v1`: the line lacks `custom_id`, `method`, `url` or `body`',
    'Add what `param` names',
  ],
  streaming_unsupported: ['On `/v1`: the request asks for a stream', 'Remove `stream`, or set it to false'],
  url_mismatch: [
    "The line's url is no endpoint of a batch, or not that of the batch",
    'Give all lines the same url, and create the batch with it',
  ],
  invalid_url: ['On `/v1`: the same as `url_mismatch`', 'Do as for `url_mismatch`'],
  model_not_found: [
    'The resource has no deployment of the name in `body.model`',
    'Take one of those that the message lists',
  ],
  model_mismatch: [
    'The line names another deployment than the first one',
    'One batch has one deployment: make a file for each',
  ],
  mismatched_model: ['On `/v1`: the same as `model_mismatch`', 'Do as for `model_mismatch`'],
  duplicate_custom_id: [
    'An earlier line has the same `custom_id`',
    'Make each one unique; the message names the other line',
  ],
  token_limit_exceeded: [
    'When the file was inspected, the deployment had no room for its tokens',
    'Create the batch again later, raise the limit, or send `offpeak-queue: wait`',
  ],
  input_modified: [
    'The bytes of the input are not those that were uploaded; what was answered before is in the files of the batch',
    'Upload the file again and create a new batch for the rest',
  ],
  input_no_permissions: [
    'The bytes of the input cannot be read any more',
    'Upload the file again and create a new batch',
  ],
};

/** The codes of `error.code` on a line of the error file. */
export const RESULT_ERROR_GUIDE: Readonly<Record<UnansweredCode, Guide>> = {
  batch_cancelled: [
    'The batch was cancelled before this request had an answer',
    'Send it again in another batch if it is still wanted',
  ],
  batch_expired: [
    'The completion window of the batch ended before this request had an answer (`--strict-window`)',
    'Send it again in another batch',
  ],
  internal_error: [
    'The service stopped unexpectedly each time this request was in flight',
    'Find out what is special about it, and send it again alone',
  ],
  upstream_error: [
    'The model server gave no answer that can be used, after all attempts',
    'The message says what came; read the log of the model server',
  ],
};
