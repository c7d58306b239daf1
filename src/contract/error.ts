/** Whose rules and words an answer has: those of the Azure surfaces, or those of `/v1`. */
export type Dialect = 'azure' | 'openai';

/**
 * An error that a caller can get: the status, the code in Azure's dialect (`/openai/...`), and the code in OpenAI's
 * (`/v1/...`). Codes are never renamed or reused.
 * Source: docs/contract.md §1, §3, §8.
 */
export interface ErrorEntry {
  readonly status: number;
  /** The status on `/v1`, where it differs. A 409 has `x-should-retry: false`, since SDKs would try again. */
  readonly openaiStatus?: number;
  readonly azure: string;
  readonly openai: string | null;
  readonly openaiType: 'invalid_request_error' | 'authentication_error' | 'rate_limit_error' | 'server_error';
}

const invalid = (azure: string, openai: string | null, status = 400): ErrorEntry => ({
  status,
  azure,
  openai,
  openaiType: 'invalid_request_error',
});
const unavailable = (status: number, azure: string, openai: string | null): ErrorEntry => ({
  status,
  azure,
  openai,
  openaiType: 'server_error',
});

export const API_ERRORS = {
  invalidPayload: invalid('invalidPayload', null),
  invalidValue: invalid('invalidPayload', 'invalid_value'),
  badRequest: invalid('BadRequest', null),
  fileNotFound: invalid('notFound', null, 404),
  batchNotFound: invalid('notFound', null, 404),
  deploymentNotFound: invalid('DeploymentNotFound', 'model_not_found', 404),
  modelNotFound: invalid('notFound', 'model_not_found', 404),
  routeNotFound: invalid('404', null, 404),
  methodNotAllowed: invalid('405', null, 405),
  fileTooLarge: invalid('invalidPayload', 'file_too_large', 413),
  bodyTooLarge: invalid('invalidPayload', 'request_too_large', 413),
  fileQuotaExceeded: invalid('quotaExceeded', 'file_quota_exceeded'),
  fileImportFailed: invalid('fileImportFailed', 'file_import_failed'),
  batchNotCancellable: { ...invalid('unexpectedEntityState', null), openaiStatus: 409 },
  uploadNotFound: invalid('notFound', null, 404),
  uploadNotPending: invalid('unexpectedEntityState', 'upload_not_pending'),
  uploadPartDamaged: invalid('unexpectedEntityState', 'upload_part_damaged'),
  uploadQuotaExceeded: invalid('quotaExceeded', 'upload_quota_exceeded'),
  tokenLimitExceeded: invalid('token_limit_exceeded', 'token_limit_exceeded'),
  idempotencyMismatch: invalid('conflict', 'idempotency_key_reused', 422),
  missingParameter: invalid('invalidPayload', 'missing_required_parameter'),
  invalidType: invalid('invalidPayload', 'invalid_type'),
  metadataTooMany: invalid('invalidPayload', 'object_above_max_properties'),
  metadataInvalid: invalid('invalidPayload', 'invalid_type'),
  unsupportedMediaType: invalid('invalidPayload', 'unsupported_content_type', 415),
  unauthorized: { ...invalid('401', 'invalid_api_key', 401), openaiType: 'authentication_error' },
  tokenRejected: { ...invalid('401', 'invalid_api_key', 401), openaiType: 'authentication_error' },
  permissionDenied: invalid('PermissionDenied', 'insufficient_permissions', 401),
  authenticationFailed: invalid('AuthenticationFailed', null, 401),
  invalidAuthenticationToken: invalid('InvalidAuthenticationToken', null, 401),
  authorizationFailed: invalid('AuthorizationFailed', null, 403),
  keyAuthDisabled: invalid('AuthenticationTypeDisabled', 'key_auth_disabled', 403),
  resourceNotFound: invalid('ResourceNotFound', null, 404),
  resourceNameTaken: invalid('AccountNameTaken', null, 409),
  resourceInUse: invalid('ResourceInUse', null, 409),
  deploymentInUse: invalid('DeploymentInUse', null, 409),
  ownedByConfiguration: invalid('OwnedByConfiguration', null, 409),
  insufficientQuota: invalid('InsufficientQuota', null),
  modelNotSupported: invalid('DeploymentModelNotSupported', null),
  skuNotSupported: invalid('InvalidResourceProperties', null),
  noUpstream: invalid('NoUpstreamForDeployment', null),
  missingApiVersion: invalid('MissingApiVersionParameter', null),
  invalidRequestContent: invalid('InvalidRequestContent', null),
  invalidResource: invalid('InvalidResourceProperties', null),
  operationNotSupported: invalid('OperationNotSupported', 'operation_not_supported'),
  requestTimeout: invalid('408', 'request_timeout', 408),
  rangeNotSatisfiable: invalid('invalidPayload', 'range_not_satisfiable', 416),
  tooManyRequests: { ...invalid('429', 'rate_limit_exceeded', 429), openaiType: 'rate_limit_error' },
  diskFull: unavailable(507, 'serviceUnavailable', 'insufficient_storage'),
  notReady: unavailable(503, 'serviceUnavailable', 'service_unavailable'),
  fileDamaged: unavailable(500, 'fileDamaged', 'file_damaged'),
  internalFailure: unavailable(500, 'internalFailure', 'internal_error'),
} as const satisfies Record<string, ErrorEntry>;

export type ApiErrorCode = keyof typeof API_ERRORS;

interface OpenAiWords {
  readonly message: string;
  readonly param: string | null;
}

/** Thrown where a caller must act. `http` renders it in the caller's dialect. */
export class ApiError extends Error {
  override name = 'ApiError';
  readonly code: ApiErrorCode;
  /** The parameter at fault, as the caller spelled it. */
  readonly param: string | null;
  /** The words of OpenAI, where they differ. */
  readonly openai: OpenAiWords | null;
  readonly retryAfterS: number | null;
  constructor(
    code: ApiErrorCode,
    message: string,
    options: ErrorOptions & { param?: string | null; openai?: OpenAiWords; retryAfterS?: number } = {},
  ) {
    super(message, options);
    this.code = code;
    this.param = options.param ?? null;
    this.openai = options.openai ?? null;
    this.retryAfterS = options.retryAfterS ?? null;
  }
}
