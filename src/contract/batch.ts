import type { WhenFull } from './control.ts';
import type { Dialect } from './error.ts';

export const BATCH_STATUSES = [
  'validating',
  'failed',
  'in_progress',
  'finalizing',
  'completed',
  'expired',
  'cancelling',
  'cancelled',
] as const;
export type BatchStatus = (typeof BATCH_STATUSES)[number];

export const TERMINAL_STATUSES = [
  'failed',
  'completed',
  'expired',
  'cancelled',
] as const satisfies BatchStatus[];
export type TerminalStatus = (typeof TERMINAL_STATUSES)[number];

export const isTerminal = (status: BatchStatus): status is TerminalStatus =>
  (TERMINAL_STATUSES as readonly BatchStatus[]).includes(status);

/** Which transitions exist (docs/contract.md §2). A batch that passed a strict completion window ends as `expired`. */
export const TRANSITIONS: Readonly<Record<BatchStatus, readonly BatchStatus[]>> = {
  validating: ['in_progress', 'failed', 'cancelling'],
  in_progress: ['finalizing', 'failed', 'cancelling', 'expired'],
  finalizing: ['completed', 'failed', 'cancelling', 'expired'],
  cancelling: ['cancelled'],
  completed: [],
  failed: [],
  expired: [],
  cancelled: [],
};

/** Requests that a batch can address, without `/v1`. */
export const BATCH_ENDPOINTS = ['/chat/completions', '/completions', '/embeddings', '/responses'] as const;
export type BatchEndpoint = (typeof BATCH_ENDPOINTS)[number];

/** Strips the optional `/v1`. Undefined: the url is no endpoint. */
export function toBatchEndpoint(url: string): BatchEndpoint | undefined {
  const bare = url.startsWith('/v1/') ? url.slice(3) : url;
  return BATCH_ENDPOINTS.find((endpoint) => endpoint === bare);
}

/** A fault of the input or the batch, as `errors.data[]` shows it. `line` is 1-based. */
export interface BatchError {
  readonly code: BatchErrorCode;
  readonly message: string;
  readonly param: string | null;
  readonly line: number | null;
}

/** `mismatched_model`, `missing_required_parameter`, `invalid_url` and `streaming_unsupported` are OpenAI's alone. */
export type BatchErrorCode =
  | 'invalid_json_line'
  | 'too_many_tasks'
  | 'url_mismatch'
  | 'model_not_found'
  | 'duplicate_custom_id'
  | 'empty_file'
  | 'model_mismatch'
  | 'mismatched_model'
  | 'missing_required_parameter'
  | 'invalid_url'
  | 'streaming_unsupported'
  | 'invalid_request'
  | 'token_limit_exceeded'
  | 'input_modified'
  | 'input_no_permissions';

export interface BatchErrors {
  /** At most `BATCH_ERRORS_MAX`, in line order. */
  readonly data: readonly BatchError[];
  /** How many more faults there were. */
  readonly omitted: number;
}
export const BATCH_ERRORS_MAX = 1_000;

/** How long an `Idempotency-Key` is remembered. */
export const IDEMPOTENCY_KEY_S = 24 * 60 * 60;

export const REQUESTS_MAX = 100_000;
export const LINE_BYTES_MAX = 16 * 1024 * 1024;
export const INPUT_BYTES_MAX = 200 * 1024 * 1024;

interface RequestCounts {
  readonly total: number;
  readonly completed: number;
  readonly failed: number;
}

/** Tokens as the upstream reported them, summed over the recorded results. */
export interface Usage {
  readonly inputTokens: number;
  readonly cachedTokens: number;
  readonly outputTokens: number;
  readonly reasoningTokens: number;
}

/** A job over one input file. Timestamps are Unix seconds and never go back within one batch. */
export interface Batch {
  /** A dense internal number, which is the key of segments and results. It is never on the wire. */
  readonly seq: number;
  readonly id: string;
  readonly resourceId: string;
  readonly status: BatchStatus;
  readonly endpoint: BatchEndpoint;
  /** The dialect of the surface that the batch was created on. Its faults follow the rules and words of that dialect. */
  readonly dialect: Dialect;
  readonly completionWindow: '24h';
  readonly inputFileId: string;
  /** The input's bytes in the blob store. They stay while the batch is live, also when the file is deleted. */
  readonly inputBlobId: string;
  /** Both ids are reserved at create. The wire shows them once the files exist. */
  readonly outputFileId: string;
  readonly errorFileId: string;
  /** The deployment that the lines name. Null: validation has not found it, or not yet. */
  readonly deployment: string | null;
  /** Input tokens (estimate) that count against the deployment's limit until the batch is terminal. */
  readonly enqueuedTokens: number;
  /** What happens when its deployment has no room for its tokens. Null: the deployment decides, once it is known. */
  readonly whenFull: WhenFull | null;
  /** The tokens for which it waits for room; it holds none meanwhile. Null: it does not wait. */
  readonly waitingTokens: number | null;
  readonly createdAt: number;
  readonly expiresAt: number;
  readonly inProgressAt: number | null;
  readonly finalizingAt: number | null;
  readonly completedAt: number | null;
  readonly failedAt: number | null;
  readonly expiredAt: number | null;
  readonly cancellingAt: number | null;
  readonly cancelledAt: number | null;
  readonly counts: RequestCounts;
  readonly usage: Usage;
  /** Upstream calls beyond the first of a line. */
  readonly retries: number;
  /** Requests that may have reached the upstream before a crash and were sent again: an upper bound. */
  readonly resent: number;
  readonly errors: BatchErrors | null;
  readonly metadata: Readonly<Record<string, string>> | null;
  /** `output_expires_after.seconds`, counted from the creation of the output files. */
  readonly outputExpiresAfterS: number | null;
}
