import type { UpstreamAnswer, UpstreamFailure } from '../../upstream/port.ts';

/** What identifies a request in its result line. */
export interface RequestName {
  /** `custom_id` as JSON with its quotes, byte for byte as submitted. */
  readonly customIdJson: Uint8Array;
  readonly batchId: string;
  /** Of the batch: `requestIdStart`. */
  readonly idStart: string;
  readonly line: number;
}

/** What the ids of a batch's result lines begin with; the number of the line follows. */
export const requestIdStart = (batchId: string): string =>
  `batch_req_${batchId.slice('batch_'.length).replaceAll('-', '')}_`;

/** Ends of a request that never got an answer (docs/contract.md §3). */
export const UNANSWERED = {
  batch_cancelled: 'This request was not executed because the batch was cancelled.',
  batch_expired: 'This request could not be executed before the completion window expired.',
  internal_error:
    'This request was in flight each time the service stopped unexpectedly, so it is not tried again.',
} as const;
export type UnansweredCode = keyof typeof UNANSWERED | 'upstream_error';

/** Stable over every attempt of a line, so that an upstream that knows idempotency keys can drop a repeat (P5). */
export const idempotencyKey = (batchId: string, line: number): string => `${batchId}-${line}`;

/** The line of an HTTP answer: `status_code` tells success from failure, `error` is null (docs/contract.md §3, §4). */
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

/** The line of a request that has no answer. */
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
