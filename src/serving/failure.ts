/**
 * What a reply is, and about whom it speaks unless evidence says otherwise (docs/adr/0020).
 *
 * | kind | replies | speaks about |
 * | --- | --- | --- |
 * | accepted | 2xx without a failure inside | – |
 * | rejected | 400, 413, 414, 416, 422, 431 | the request |
 * | refused | redirects, 401 to 407, 410 to 412, 415, 417, 421, 426, 451, 501, 505, 511; a success that is no answer of a model API; texts that name the account or the model | the account, the address or the set-up |
 * | throttled | 429 | our pace |
 * | unavailable | 502, 503, 504, 509, 520 to 530 | the upstream |
 * | failed | 500, 408, 409, 424, 425, 498, 499, any other status; a success with a failure inside; a broken answer | the request or the upstream |
 * | silent | no answer to a request that was sent: reset, time-out | the request or the upstream |
 * | unreachable | no connection: refused, unknown name, TLS | the upstream |
 * | aborted | this process has given the call up | – |
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

/** Kinds of replies that are no success. */
export type FailureKind = Exclude<ReplyKind, 'accepted' | 'aborted'>;

export interface ClassifiedFailure {
  readonly kind: FailureKind;
  /** Whom the text of the reply blames, whatever its status. Null: it blames neither. */
  readonly names: 'request' | 'account' | null;
  /** Status and text for people, such as `401: invalid API key`. */
  readonly text: string;
  /** How long the server asks to be left alone. */
  readonly retryAfterMs: number | null;
}

/** The server may be down: nothing came from it, or a gateway answered in its place. */
export const mayBeDown = (kind: FailureKind): boolean => kind === 'unavailable' || kind === 'silent';
