import type { BatchEndpoint, Usage } from '../contract/batch.ts';

/** A model server that really answers. */
export interface Upstream {
  readonly name: string;
  /** Upstreams with the same address and key are one server with one account, and have the same text here. They share health and pace. */
  readonly server: string;
  /** The model's name at this upstream. */
  readonly model: string;
  /** Never rejects: what can go wrong at an upstream is a value. After `signal` aborts it resolves soon with `aborted`. */
  call(request: UpstreamRequest, signal: AbortSignal): Promise<UpstreamReply>;
  /**
   * Asks for its list of models (`GET …/models`), which tells that it lives and what it serves. Never rejects. After `signal`
   * aborts it resolves soon.
   */
  probe(signal: AbortSignal): Promise<UpstreamProbe>;
  close(): Promise<void>;
}

export interface UpstreamRequest {
  readonly endpoint: BatchEndpoint;
  /** The submitted body. `model.start..end`, the byte offsets of a JSON string with its quotes, is to be replaced. */
  readonly body: Uint8Array;
  readonly model: { readonly start: number; readonly end: number };
  /** Every attempt of a line has the same key (P5). */
  readonly idempotencyKey: string;
  /** `custom_id` as JSON with its quotes. Only the simulator in this process reads it. It is never sent. */
  readonly customIdJson?: Uint8Array | undefined;
}

export type UpstreamReply = UpstreamAnswer | UpstreamFailure;

/** The upstream answered over HTTP with JSON. */
export interface UpstreamAnswer {
  readonly kind: 'answer';
  readonly status: number;
  /** Valid JSON on one line. It is as it came, save that raw newlines are spaces. */
  readonly body: Uint8Array;
  readonly requestId: string | null;
  readonly retryAfterMs: number | null;
  readonly usage: Usage;
  /** What the body of a success (2xx) says of a failure that it carries. Null for a real success and for every other status. */
  readonly fault: { readonly code: string | null; readonly message: string } | null;
  /**
   * With 404 and 405, people are told where it was asked: method and URL without the query, such as
   * "POST http://127.0.0.1:8000/chat/completions", with a hint when the base URL looks wrong.
   */
  readonly asked?: string;
}

/** The upstream gave no usable answer. */
export interface UpstreamFailure {
  readonly kind: 'failure';
  /**
   * - `foreign_answer` is a success that is no answer of a model API at all: HTML, nothing, text, an event stream that
   *   cannot be put together, or JSON that is no object. The server or its address is at fault.
   * - `bad_answer` is a JSON object that is cut, broken, too long or no UTF-8, or broken framing. It may be about one line.
   */
  readonly reason:
    | 'unreachable'
    | 'reset'
    | 'timeout'
    | 'bad_answer'
    | 'foreign_answer'
    | 'redirect'
    | 'aborted';
  /** What happened, in words for people, to follow "NAME: ". It has no secrets, and no name of the upstream. */
  readonly message: string;
  /** The HTTP status, if there was one. */
  readonly status: number | null;
}

export type UpstreamProbe =
  /** The list could be read. It may be empty. */
  | { readonly kind: 'models'; readonly ids: readonly string[] }
  /** The server gave any other HTTP answer. */
  | { readonly kind: 'answer'; readonly status: number; readonly message: string }
  /** The server gave no HTTP answer. */
  | { readonly kind: 'failure'; readonly reason: UpstreamFailure['reason']; readonly message: string };

/** The model that the submitted body names. */
export const modelOf = ({ body, model }: Pick<UpstreamRequest, 'body' | 'model'>): string =>
  String(JSON.parse(Buffer.from(body.subarray(model.start, model.end)).toString()));

export const NO_USAGE: Usage = { inputTokens: 0, cachedTokens: 0, outputTokens: 0, reasoningTokens: 0 };
