import { NO_USAGE, type UpstreamAnswer, type UpstreamFailure } from '../../src/upstream/port.ts';
import type { Usage } from '../../src/contract/batch.ts';

/**
 * What a call meets that is no success. `reset` and `bad_answer` are processed, but the answer is lost; `fault` is a success
 * with a failure inside.
 */
export type Mishap =
  | {
      readonly kind: 'status';
      readonly status: number;
      readonly retryAfterMs: number | null;
      /** The words that everybody gets; null: words that name the line. */
      readonly words?: string;
    }
  | {
      readonly kind:
        | 'reset'
        | 'unreachable'
        | 'timeout'
        | 'hang'
        | 'bad_answer'
        | 'foreign_answer'
        | 'redirect'
        | 'fault';
    };

const status = (code: number, words?: string, retryAfterMs: number | null = null): Mishap => ({
  kind: 'status',
  status: code,
  retryAfterMs,
  ...(words !== undefined && { words }),
});

/** Replies about the account, its money and its key, with any status. */
const ACCOUNT: readonly Mishap[] = [
  status(400, 'Your credit balance is too low to access the API'),
  status(401, 'invalid API key'),
  status(402, 'payment required'),
  status(403, 'the organization has been suspended'),
  status(429, 'You exceeded your current quota, check your plan and billing details'),
];

/** Replies about the address, the model, or the way in which they are asked for. */
const SET_UP: readonly Mishap[] = [
  status(400, 'No models loaded. Please load a model'),
  status(403, 'forbidden'),
  status(404, 'not found'),
  status(405, 'method not allowed'),
  status(410, 'gone'),
  status(501, 'not implemented'),
  { kind: 'redirect' },
  { kind: 'foreign_answer' },
];

const TROUBLE: readonly Mishap[] = [
  ...[408, 424, 425, 498, 500, 502, 503, 504].map((code) => status(code, `trouble ${code}`)),
  { kind: 'fault' },
  { kind: 'bad_answer' },
  { kind: 'reset' },
  { kind: 'timeout' },
];

const PACE: readonly Mishap[] = [
  status(429, 'slow down'),
  status(429, 'slow down', 1_000),
  status(429, 'slow down', 20_000),
];

/** What a single line may get for ever. */
export const OF_A_LINE: readonly Mishap[] = [
  ...ACCOUNT,
  ...SET_UP,
  ...TROUBLE,
  ...PACE,
  status(400),
  status(413),
  status(422),
];

/** What everybody may get for a while. */
export const OF_A_SERVER: readonly Mishap[] = [
  ...ACCOUNT,
  ...SET_UP,
  ...TROUBLE,
  ...PACE,
  status(400, 'this server takes other requests'),
  { kind: 'unreachable' },
];

export const errorAnswer = (
  code: number,
  { words, retryAfterMs }: { readonly words: string; readonly retryAfterMs: number | null },
): UpstreamAnswer => ({
  kind: 'answer',
  status: code,
  body: Buffer.from(JSON.stringify({ error: { message: words, code: String(code) } })),
  requestId: null,
  retryAfterMs,
  usage: NO_USAGE,
  fault: null,
});

/** `body`: a JSON object. */
export const success = (body: object, usage: Usage): UpstreamAnswer => ({
  kind: 'answer',
  status: 200,
  body: Buffer.from(JSON.stringify(body)),
  requestId: null,
  retryAfterMs: null,
  usage,
  fault: null,
});

export const failure = (name: string, reason: UpstreamFailure['reason']): UpstreamFailure => ({
  kind: 'failure',
  reason,
  message: `${name}: ${reason}`,
  status: reason === 'bad_answer' || reason === 'foreign_answer' ? 200 : reason === 'redirect' ? 302 : null,
});
