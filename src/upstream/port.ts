import type { BatchEndpoint, Usage } from '../contract/batch.ts';

/** A model server that really answers. */
export interface Upstream {
  readonly name: string;
  /** Never rejects: what can go wrong out there is a value. After `signal` aborts it resolves soon with `aborted`. */
  call(request: UpstreamRequest, signal: AbortSignal): Promise<UpstreamReply>;
  close(): Promise<void>;
}

export interface UpstreamRequest {
  readonly endpoint: BatchEndpoint;
  /** The submitted `body`, with `model.start..end` (byte offsets of the JSON string with its quotes) to be replaced. */
  readonly body: Uint8Array;
  readonly model: { readonly start: number; readonly end: number };
  /** The same over every attempt of a line (P5). */
  readonly idempotencyKey: string;
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
}

/** No usable answer. `sent`: the request may have been processed. */
export interface UpstreamFailure {
  readonly kind: 'failure';
  readonly reason: 'unreachable' | 'reset' | 'timeout' | 'bad_answer' | 'redirect' | 'aborted';
  readonly sent: boolean;
  /** Names the upstream and the cause; no secrets. */
  readonly message: string;
  /** The HTTP status, when there was one (`bad_answer`, `redirect`). */
  readonly status: number | null;
}

export const NO_USAGE: Usage = { inputTokens: 0, cachedTokens: 0, outputTokens: 0, reasoningTokens: 0 };
