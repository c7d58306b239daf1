import type { BatchEndpoint, Usage } from '../contract/batch.ts';

/** A model server that really answers. */
export interface Upstream {
  readonly name: string;
  /** Equal for those that are one server with one account: the same address and key. They share health and pace. */
  readonly server: string;
  /** The model's name there. */
  readonly model: string;
  /** Never rejects: what can go wrong out there is a value. After `signal` aborts it resolves soon with `aborted`. */
  call(request: UpstreamRequest, signal: AbortSignal): Promise<UpstreamReply>;
  /**
   * Asks for its list of models (`GET …/models`): evidence that it lives, and of what it knows. Never rejects; after
   * `signal` aborts it resolves soon.
   */
  probe(signal: AbortSignal): Promise<UpstreamProbe>;
  close(): Promise<void>;
}

export interface UpstreamRequest {
  readonly endpoint: BatchEndpoint;
  /** The submitted `body`, with `model.start..end` (byte offsets of the JSON string with its quotes) to be replaced. */
  readonly body: Uint8Array;
  readonly model: { readonly start: number; readonly end: number };
  /** The same over every attempt of a line (P5). */
  readonly idempotencyKey: string;
  /** `custom_id` as JSON with its quotes. Only the simulator in this process looks at it; it is never sent. */
  readonly customIdJson?: Uint8Array | undefined;
}

export type UpstreamReply = UpstreamAnswer | UpstreamFailure;

/** The upstream answered over HTTP with JSON. */
export interface UpstreamAnswer {
  readonly kind: 'answer';
  readonly status: number;
  /** Valid JSON on one line, as it came save that raw newlines are spaces. */
  readonly body: Uint8Array;
  readonly requestId: string | null;
  readonly retryAfterMs: number | null;
  readonly usage: Usage;
  /** A success (2xx) whose body carries a failure: what it says. Null for a real success and for every other status. */
  readonly fault: { readonly code: string | null; readonly message: string } | null;
  /**
   * With 404 and 405, where it was asked, for people: method and URL without the query, such as
   * "POST http://127.0.0.1:8000/chat/completions", with a hint where the base URL looks wrong.
   */
  readonly asked?: string;
}

/** No usable answer. */
export interface UpstreamFailure {
  readonly kind: 'failure';
  /**
   * - `foreign_answer`: a success that is no answer of a model API at all: HTML, nothing, text, an event stream that
   *   cannot be put together, JSON that is no object. It speaks about the server or its address.
   * - `bad_answer`: a JSON object that is cut, broken, too long or no UTF-8, or broken framing. It may be about one line.
   */
  readonly reason:
    | 'unreachable'
    | 'reset'
    | 'timeout'
    | 'bad_answer'
    | 'foreign_answer'
    | 'redirect'
    | 'aborted';
  /** What happened, in a person's words, to stand behind "NAME: ". No secrets, and no name of the upstream. */
  readonly message: string;
  /** The HTTP status, when there was one. */
  readonly status: number | null;
}

export type UpstreamProbe =
  /** A list that can be read; it may be empty. */
  | { readonly kind: 'models'; readonly ids: readonly string[] }
  /** Any other HTTP answer. */
  | { readonly kind: 'answer'; readonly status: number; readonly message: string }
  /** No HTTP answer. */
  | { readonly kind: 'failure'; readonly reason: UpstreamFailure['reason']; readonly message: string };

export const NO_USAGE: Usage = { inputTokens: 0, cachedTokens: 0, outputTokens: 0, reasoningTokens: 0 };
