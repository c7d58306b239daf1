import type { IncomingHttpHeaders } from 'node:http';
import type { Clock } from '../core/clock.ts';
import type { AnswerBody } from './answer.ts';
import type { UpstreamAnswer } from './port.ts';
import { firstOf, parseRetryAfterMs, retryAfterMsOf } from './retry-after.ts';

/** Makes the reply for the caller from what has come over HTTP. */
export function answerReply(
  { body, usage, fault }: AnswerBody,
  {
    status,
    headers,
    clock,
  }: { readonly status: number; readonly headers: IncomingHttpHeaders; readonly clock: Clock },
): UpstreamAnswer {
  const requestId = firstOf(headers['apim-request-id'] ?? headers['x-request-id']);
  const mayAskToWait = fault !== null || WAIT_STATUSES.has(status);
  return {
    kind: 'answer',
    status,
    requestId: requestId?.slice(0, 256) ?? null,
    retryAfterMs: parseRetryAfterMs(headers, clock) ?? (mayAskToWait ? retryAfterMsOf(body) : null),
    body,
    usage,
    fault,
  };
}

/** The body of these errors may say when to come again. */
const WAIT_STATUSES = new Set([429, 503, 529]);
