import type { UpstreamAnswer, UpstreamFailure } from '../../upstream/port.ts';

/** What identifies a request in its result line. */
export interface RequestName {
  /** `custom_id` as JSON with its quotes, byte for byte as submitted. */
  readonly customIdJson: Uint8Array;
  readonly batchId: string;
  /** The `requestIdStart` of the batch. */
  readonly idStart: string;
  readonly line: number;
}

/** The ids of a batch's result lines begin with this. The number of the line follows. */
export const requestIdStart = (batchId: string): string =>
  `batch_req_${batchId.slice('batch_'.length).replaceAll('-', '')}_`;

/** Why a request has no answer, by its error code (docs/contract.md §3). */
export const UNANSWERED = {
  batch_cancelled: 'This request was not executed because the batch was cancelled.',
  batch_expired: 'This request could not be executed before the completion window expired.',
  internal_error:
    'This request was in flight each time the service stopped unexpectedly, so it is not tried again.',
} as const;
export type UnansweredCode = keyof typeof UNANSWERED | 'upstream_error';

/** Every attempt of a line has the same key, so that an upstream that knows idempotency keys can drop a repeat (P5). */
export const idempotencyKey = (batchId: string, line: number): string => `${batchId}-${line}`;

/** The result line of an HTTP answer. Its `status_code` says success or failure; its `error` is null (docs/contract.md §3, §4). */
export function answerLine(name: RequestName, answer: UpstreamAnswer): Uint8Array {
  const requestId = answer.requestId ?? idempotencyKey(name.batchId, name.line);
  return join(
    `{"id":"${name.idStart}${name.line}","custom_id":`,
    name.customIdJson,
    `,"response":{"status_code":${answer.status},"request_id":${JSON.stringify(requestId)},"body":`,
    answer.body,
    '},"error":null}',
  );
}

/** The result line of a request that has no answer. */
export function unansweredLine(
  name: RequestName,
  error: { readonly code: UnansweredCode; readonly message: string },
): Uint8Array {
  return join(
    `{"id":"${name.idStart}${name.line}","custom_id":`,
    name.customIdJson,
    `,"response":null,"error":${JSON.stringify({ code: error.code, message: error.message })}}`,
  );
}

export const toUpstreamError = (failure: UpstreamFailure) =>
  ({
    code: 'upstream_error',
    message: `The model server gave no answer to use: ${failure.message}${/[.?!]$/.test(failure.message) ? '' : '.'}`,
  }) as const;

function join(...parts: readonly (string | Uint8Array)[]): Uint8Array {
  let size = 0;
  for (const part of parts) size += typeof part === 'string' ? Buffer.byteLength(part) : part.byteLength;
  const line = Buffer.allocUnsafe(size);
  let at = 0;
  for (const part of parts) {
    if (typeof part === 'string') at += line.write(part, at);
    else {
      line.set(part, at);
      at += part.byteLength;
    }
  }
  return line;
}
