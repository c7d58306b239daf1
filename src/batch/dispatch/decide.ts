import type { UpstreamReply } from '../../upstream/port.ts';

/**
 * What a reply says, and about whom.
 *
 * | sort | examples | about |
 * | --- | --- | --- |
 * | answered | 2xx | the line |
 * | rejected | 400, 413, 422 … | the line |
 * | throttled | 429 | our pace |
 * | refused | 401, 403, 404, a redirect, a page | the deployment's set-up, unless other lines get through |
 * | down | connection refused, 502, 503, 504 | the upstream, unless other lines get through |
 * | suspect | 500, 408, 409, reset, time-out, a failure under 200 | the line or the upstream: attempts decide |
 */
export type ReplySort = 'answered' | 'rejected' | 'throttled' | 'refused' | 'down' | 'suspect' | 'aborted';

export function sortReply(reply: UpstreamReply): ReplySort {
  if (reply.kind === 'failure') {
    if (reply.reason === 'aborted') return 'aborted';
    if (reply.reason === 'foreign_answer' || reply.reason === 'redirect') return 'refused';
    return reply.reason === 'unreachable' ? 'down' : 'suspect';
  }
  const { status, fault } = reply;
  if (status >= 200 && status < 300) return fault === null ? 'answered' : 'suspect';
  if (status === 429) return 'throttled';
  if (status === 401 || status === 403 || status === 404) return 'refused';
  if (status === 408 || status === 409) return 'suspect';
  if (status === 502 || status === 503 || status === 504) return 'down';
  return status >= 500 ? 'suspect' : 'rejected';
}

/** For people: what came back. */
export function describe(reply: UpstreamReply): string {
  if (reply.kind === 'failure') return reply.message;
  const body = Buffer.from(reply.body.subarray(0, 300)).toString('utf8');
  return `answers ${reply.status}${reply.asked === undefined ? '' : ` to ${reply.asked}`}: ${body}`;
}

export type Decision =
  | { readonly kind: 'record'; readonly ok: boolean }
  /** `counts`: this attempt is held against the line. */
  | { readonly kind: 'retry'; readonly counts: boolean };

/** What is known when a reply has to be judged. */
export interface Evidence {
  /** Attempts already held against the line. */
  readonly attempts: number;
  /** A call that began after the line's first failure has succeeded: the upstream works for others. */
  readonly othersSucceed: boolean;
  /** Some call to the upstream has succeeded since the process started. */
  readonly everSucceeded: boolean;
  /** The upstream is considered down or misconfigured, this reply included. */
  readonly upstreamDown: boolean;
  readonly maxRetries: number;
}

/** A 503 that others do not get is most likely load, so a line may meet more of them before it fails. */
const DOWN_RETRIES_FACTOR = 4;

/** The one rule on who pays for a failure: an upstream that is down or misconfigured burns no line (P13, P16). */
export function decide(sort: Exclude<ReplySort, 'aborted'>, evidence: Evidence): Decision {
  switch (sort) {
    case 'answered':
      return { kind: 'record', ok: true };
    case 'rejected':
      return { kind: 'record', ok: false };
    case 'throttled':
      return { kind: 'retry', counts: false };
    case 'refused':
      if (evidence.othersSucceed) return { kind: 'record', ok: false };
      return retryUnlessSpent(
        { counts: evidence.everSucceeded && !evidence.upstreamDown, retriesMax: evidence.maxRetries },
        evidence,
      );
    case 'down': {
      const counts = evidence.othersSucceed && !evidence.upstreamDown;
      return retryUnlessSpent({ counts, retriesMax: evidence.maxRetries * DOWN_RETRIES_FACTOR }, evidence);
    }
    case 'suspect':
      return retryUnlessSpent({ counts: !evidence.upstreamDown, retriesMax: evidence.maxRetries }, evidence);
  }
}

function retryUnlessSpent(
  rule: { readonly counts: boolean; readonly retriesMax: number },
  evidence: Evidence,
): Decision {
  if (rule.counts && evidence.attempts >= rule.retriesMax) return { kind: 'record', ok: false };
  return { kind: 'retry', counts: rule.counts };
}
