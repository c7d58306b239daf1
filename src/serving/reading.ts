import { errorWordsOf } from '../upstream/error-words.ts';
import type { UpstreamAnswer, UpstreamReply } from '../upstream/port.ts';

/**
 * What came back, and about whom it speaks unless evidence says otherwise (docs/adr/0020).
 *
 * | kind | replies | speaks about |
 * | --- | --- | --- |
 * | accepted | 2xx without a failure inside | – |
 * | rejected | 400, 413, 414, 416, 422, 431 | the request |
 * | refused | redirects, 401 to 407, 410 to 412, 415, 421, 426, 451, 501, 505, 511; a success that is no answer of a model API; texts that name the account or the model | the account, the address or the set-up |
 * | throttled | 429 | our pace |
 * | unavailable | 502, 503, 504, 509, 520 to 530 | the upstream |
 * | failed | 500, 408, 409, 424, 425, 498, 499, any other status; a success with a failure inside; a broken answer | the request or the upstream |
 * | silent | no answer to a request that was sent: reset, time-out | the request or the upstream |
 * | unreachable | no connection: refused, unknown name, TLS | the upstream |
 * | aborted | given up by us | – |
 */
type ReplyKind =
  | 'accepted'
  | 'rejected'
  | 'refused'
  | 'throttled'
  | 'unavailable'
  | 'failed'
  | 'silent'
  | 'unreachable'
  | 'aborted';

/** Kinds that speak of no success. */
export type FailureKind = Exclude<ReplyKind, 'accepted' | 'aborted'>;

export interface FailureReading {
  readonly kind: FailureKind;
  /** Whom the text of the reply names, whatever its status. */
  readonly names: 'request' | 'account' | null;
  /** For people: status and text, such as `401: invalid API key`. */
  readonly text: string;
  /** Asks to be left alone for so long. */
  readonly retryAfterMs: number | null;
}

/** A success without a failure inside. The way of every reply: it reads no text. */
export function isAccepted(reply: UpstreamReply): reply is UpstreamAnswer {
  return reply.kind === 'answer' && reply.status >= 200 && reply.status < 300 && reply.fault === null;
}

/** Reads a reply that is no success and was not given up by us. */
export function readFailure(reply: UpstreamReply): FailureReading {
  const text = textOf(reply);
  const kind = kindOf(reply);
  const names = namedBy(kind, text);
  const retryAfterMs = reply.kind === 'answer' ? reply.retryAfterMs : null;
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
  // 520 to 530 are what a proxy before the server says of it.
  if (UNAVAILABLE.has(status) || (status >= 520 && status <= 530)) return 'unavailable';
  return 'failed';
}

/** The account, its money and its keys; a model that is not there. */
const ACCOUNT = [
  /insufficient[_ ](quota|funds|balance|credits?)/i,
  /\b(credit|account) balance\b/i,
  /\b(out of|no|not enough|insufficient) (credits?|funds)\b/i,
  /\bbilling\b|\bpayment\b|\bprepaid\b|\bunpaid\b|\bpast due\b/i,
  /exceeded your (current|monthly|daily) (quota|spend|budget|usage)/i,
  /\b(budget|spend(ing)? limit|hard limit|quota|usage limit) (has been |was |is )?(exceeded|reached|exhausted)/i,
  /\b(invalid|incorrect|expired|missing|revoked|disabled|wrong|no) (api|access|subscription|authentication)[ _-]?(key|token)/i,
  /\b(api|access|subscription)[ _-]?key\b.{0,40}\b(invalid|incorrect|expired|missing|revoked|disabled|required)/i,
  /\b(account|organi[sz]ation|subscription|project|workspace)\b.{0,40}\b(deactivated|disabled|suspended|blocked|terminated|not found|expired)/i,
  /\bunauthori[sz]ed\b|\bunauthenticated\b|\bauthentication (failed|error|required)\b/i,
] as const;

const MODEL = [
  /\bmodel[_ ]not[_ ](found|loaded|available)\b|\bDeploymentNotFound\b|\bModelNotFound/i,
  /\b(invalid|unknown|unrecogni[sz]ed) model\b(?! (input|output|param|argument|setting))/i,
  /\bno (such )?models?\b.{0,30}\b(loaded|found|available|running|exists?|deployed)\b|\bno such model\b/i,
  /\b(model|deployment|engine)\b.{0,120}\b(does not exist|doesn't exist|do not exist|not found|is not (loaded|available|served|running|deployed)|not loaded|is unavailable|no longer (exists|available)|has been (deprecated|retired|removed|unloaded))/i,
] as const;

/** The request alone: its length, or what it asks for. */
const REQUEST = [
  /context[_ ]?(length|size|window)|max[_ ]?model[_ ]?len|maximum (context|input|prompt|sequence) length/i,
  /\b(request|prompt|input|message|payload|body|content)s?\b.{0,40}\btoo (large|long|big)\b/i,
  /\btoo (large|long|big)\b.{0,20}\b(request|prompt|input|payload|body)\b/i,
  /\b(prompt|input)\b.{0,40}\b(exceeds?|exceeded|longer than|larger than)\b.{0,60}\b(tokens?|length|maximum|limit)\b/i,
  /moderation|\bflagged\b|content[_ ]?(filter|policy|management)|responsible ?ai|safety (system|policy|filter)|jailbreak/i,
] as const;

/** `Limit 30000, Requested 45000`: more than can ever be had, whatever the pace. */
const LIMIT_REQUESTED = /\blimit\D{0,4}([\d,]{1,15}).{0,60}?\brequested\D{0,4}([\d,]{1,15})/i;

function namedBy(kind: FailureKind, text: string): FailureReading['names'] {
  if (kind === 'silent' || kind === 'unreachable') return null;
  const isPace = kind === 'throttled';
  const asks = LIMIT_REQUESTED.exec(text);
  if (asks !== null && toNumber(asks[2]) > toNumber(asks[1])) return 'request';
  const isOf = (patterns: readonly RegExp[]) => patterns.some((pattern) => pattern.test(text));
  if (!isPace && isOf(REQUEST)) return 'request';
  if (isPace && /\brequest too large\b/i.test(text)) return 'request';
  if (isOf(ACCOUNT)) return 'account';
  if (!isPace && isOf(MODEL)) return 'account';
  return /^(401|402|407)\b/.test(text) ? 'account' : null;
}

const toNumber = (digits: string | undefined): number => Number(digits?.replaceAll(',', ''));

const TEXT_MAX = 200;
/** Of a body: enough for its message. */
const BODY_BYTES_MAX = 16 * 1024;

/** `401: invalid API key`, or what happened where no answer came. */
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

/** The words of an error, in whatever shape, and its code where they do not have it. */
function messageIn(body: Uint8Array): string {
  const { code, message } = errorWordsOf(body.subarray(0, BODY_BYTES_MAX));
  const isNews = code !== null && !/^\d+$/.test(code) && !message.includes(code);
  return isNews ? `${message} (${code})`.trim() : message;
}
