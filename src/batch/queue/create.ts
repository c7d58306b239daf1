import type { Batch, BatchEndpoint, BatchErrors } from '../../contract/batch.ts';
import { ApiError } from '../../contract/error.ts';
import type { FileRow } from '../../contract/file.ts';
import type { Inspection } from '../../contract/inspection.ts';
import type { Scope } from '../../contract/scope.ts';
import { nowS, type Clock } from '../../core/clock.ts';
import { newBatchId, newProducedFileId, type UuidSource } from '../../core/ids.ts';
import type { Deployment, Deployments } from '../../deployments/port.ts';
import { BlobNotFound } from '../../stores/blobs/port.ts';
import type { BatchStore, FileStore } from '../../stores/state/ports.ts';
import { judge, tokenLimitExceeded } from './judge.ts';

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

export interface CreateDeps {
  readonly files: FileStore;
  readonly batches: BatchStore;
  readonly deployments: Deployments;
  /** The inspection of a file, or undefined when it takes longer than a caller should wait. */
  readonly inspectSoon: (scope: Scope, fileId: string) => Promise<Inspection | undefined>;
  readonly clock: Clock;
  readonly uuid: UuidSource;
  readonly wake: () => void;
}

const WINDOW_S = 24 * 60 * 60;

/**
 * Accepts a batch. Nearly always the file is inspected by the time this answers, so a faulty one is `failed` at once,
 * with every bad line, and one that does not fit the quota is refused before it exists. Otherwise the batch waits in
 * `validating`, holding tokens by its size, and the engine judges it.
 */
export async function createBatch(scope: Scope, request: CreateRequest, deps: CreateDeps): Promise<Created> {
  const file = await deps.files.get(scope, request.inputFileId);
  assertUsable(file, request.inputFileId);
  const inspection = await deps.inspectSoon(scope, file.id).catch((error: unknown) => {
    if (error instanceof BlobNotFound) assertUsable(undefined, file.id);
    throw error;
  });
  const verdict = inspection && (await judge(scope, inspection, request, deps.deployments));
  if (verdict?.kind === 'faulty') {
    const batch = await insert(
      scope,
      request,
      { file, errors: verdict.errors, deployment: null, tokens: 0 },
      deps,
    );
    return { ...batch, enqueuedTokens: null, enqueuedTokensMax: null };
  }
  const created = await insert(
    scope,
    request,
    {
      file,
      errors: null,
      deployment: verdict?.deployment ?? null,
      tokens: inspection?.tokens ?? Math.ceil(file.bytes / 4),
    },
    deps,
  );
  deps.wake();
  return { ...created, enqueuedTokensMax: verdict?.deployment.enqueuedTokensMax ?? null };
}

function assertUsable(file: FileRow | undefined, fileId: string): asserts file is FileRow {
  if (file === undefined) {
    throw new ApiError(
      'invalidValue',
      `The input file '${fileId}' does not exist in this resource. Upload it with purpose 'batch' and use the id of the answer.`,
      { param: 'input_file_id' },
    );
  }
  if (file.purpose !== 'batch') {
    throw new ApiError(
      'invalidValue',
      `The file '${fileId}' has the purpose '${file.purpose}'. The input of a batch needs the purpose 'batch'.`,
      { param: 'input_file_id' },
    );
  }
}

async function insert(
  scope: Scope,
  request: CreateRequest,
  facts: { file: FileRow; errors: BatchErrors | null; deployment: Deployment | null; tokens: number },
  { batches, clock, uuid }: CreateDeps,
): Promise<{ batch: Batch; enqueuedTokens: number }> {
  const createdAt = nowS(clock);
  const outcome = await batches.create(
    scope,
    {
      id: newBatchId(uuid),
      endpoint: request.endpoint,
      inputFileId: facts.file.id,
      outputFileId: newProducedFileId(uuid),
      errorFileId: newProducedFileId(uuid),
      deployment: facts.deployment?.name ?? null,
      enqueuedTokens: facts.tokens,
      createdAt,
      expiresAt: createdAt + WINDOW_S,
      metadata: request.metadata,
      outputExpiresAfterS: request.outputExpiresAfterS,
      errors: facts.errors,
    },
    { enqueuedTokensMax: facts.deployment?.enqueuedTokensMax ?? null, idempotency: request.idempotency },
  );
  switch (outcome.kind) {
    case 'created':
    case 'replayed':
      return outcome;
    case 'idempotency_mismatch':
      throw new ApiError(
        'idempotencyMismatch',
        'This Idempotency-Key was used with another request body. Use a new key for a new request.',
        { param: 'Idempotency-Key' },
      );
    case 'token_limit_exceeded':
      throw new ApiError(
        'tokenLimitExceeded',
        tokenLimitExceeded(facts.deployment ?? { name: 'unknown', enqueuedTokensMax: 0 }).message,
      );
  }
}
