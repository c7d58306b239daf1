import type { Batch, BatchEndpoint } from '../../contract/batch.ts';
import type { Scope } from '../../contract/scope.ts';

/** What a caller asked for, parsed and checked at the border. */
export interface CreateRequest {
  readonly inputFileId: string;
  readonly endpoint: BatchEndpoint;
  /** Azure lets `/chat/completions` stand for rows that all go to `/responses`; OpenAI does not. */
  readonly dialect: 'azure' | 'openai';
  readonly metadata: Readonly<Record<string, string>> | null;
  readonly outputExpiresAfterS: number | null;
  readonly idempotency?: { readonly key: string; readonly bodyDigest: string };
}

/** What the answer needs: the row, and the two figures of the token headers (null: no deployment is known). */
export interface Created {
  readonly batch: Batch;
  readonly enqueuedTokens: number | null;
  readonly enqueuedTokensMax: number | null;
}

/** `createBatch` as routes see it. Throws `ApiError`. */
export type CreateBatch = (scope: Scope, request: CreateRequest) => Promise<Created>;
