import { errorWordsOf } from '../upstream/error-words.ts';
import type { UpstreamAnswer, UpstreamReply } from '../upstream/port.ts';
import type { ClassifiedFailure, FailureKind } from './failure.ts';
import { namedBy } from './named-by.ts';

/** Whether a reply is a success without a failure inside. Every reply passes here, so it reads no text. */
export function isAccepted(reply: UpstreamReply): reply is UpstreamAnswer {
  return reply.kind === 'answer' && reply.status >= 200 && reply.status < 300 && reply.fault === null;
}

/** Classifies a reply that is no success, and whose call this process has not given up. */
export function classifyFailure(reply: UpstreamReply): ClassifiedFailure {
  const text = textOf(reply);
  const kind = kindOf(reply);
  const retryAfterMs = reply.kind === 'answer' ? reply.retryAfterMs : null;
  const names = reply.kind === 'answer' ? namedBy({ kind, text, retryAfterMs, body: reply.body }) : null;
  return { kind: names === 'account' ? 'refused' : kind, names, text, retryAfterMs };
}

function kindOf(reply: UpstreamReply): FailureKind {
  if (reply.kind === 'answer') return kindOfStatus(reply.fault === null ? reply.status : statusInside(reply));
  switch (reply.reason) {
    case 'unreachable':
      return 'unreachable';
    case 'reset':
    case 'timeout':
    case 'aborted':
      return 'silent';
    case 'redirect':
    case 'foreign_answer':
      return 'refused';
    case 'bad_answer':
      return 'failed';
  }
}

/** A success may carry a status as its failure's code, as gateways do. */
function statusInside({ fault }: UpstreamAnswer): number {
  const code = fault?.code ?? '';
  if (/^[45]\d\d$/.test(code)) return Number(code);
  return /rate.?limit/i.test(code) ? 429 : 500;
}

const REJECTED: ReadonlySet<number> = new Set([400, 413, 414, 416, 422, 431]);
const REFUSED: ReadonlySet<number> = new Set([
  401, 402, 403, 404, 405, 406, 407, 410, 411, 412, 415, 417, 421, 426, 451, 501, 505, 511,
]);
const UNAVAILABLE: ReadonlySet<number> = new Set([502, 503, 504, 509]);

function kindOfStatus(status: number): FailureKind {
  if (status === 429) return 'throttled';
  if (REJECTED.has(status)) return 'rejected';
  if (REFUSED.has(status) || (status >= 300 && status < 400)) return 'refused';
  // A proxy in front of the server says 520 to 530 of it.
  if (UNAVAILABLE.has(status) || (status >= 520 && status <= 530)) return 'unavailable';
  return 'failed';
}

const TEXT_MAX = 200;
/** The message of an error is looked for in this much of the body. */
const BODY_BYTES_MAX = 16 * 1024;

/** Describes the reply in a line such as `401: invalid API key`. When no answer came, it says what happened. */
function textOf(reply: UpstreamReply): string {
  if (reply.kind === 'failure') return short(reply.message);
  const said =
    reply.fault === null ? messageIn(reply.body) : `a success with a failure inside: ${reply.fault.message}`;
  const text = said === '' ? String(reply.status) : `${reply.status}: ${said}`;
  return short(reply.asked === undefined ? text : `${text} (${reply.asked})`);
}

const short = (text: string): string => {
  const line = text.replaceAll(/\s+/g, ' ').trim();
  return line.length <= TEXT_MAX ? line : `${line.slice(0, TEXT_MAX - 1)}…`;
};

/** The message of an error, in whatever shape it comes, and its code where the message does not have it. */
function messageIn(body: Uint8Array): string {
  const { code, message } = errorWordsOf(body.subarray(0, BODY_BYTES_MAX));
  const isNews = code !== null && !/^\d+$/.test(code) && !message.includes(code);
  return isNews ? `${message} (${code})`.trim() : message;
}
