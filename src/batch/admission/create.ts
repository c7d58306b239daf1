import type { Batch, BatchEndpoint, BatchErrors } from '../../contract/batch.ts';
import type { WhenFull } from '../../contract/control.ts';
import { ApiError, type Dialect } from '../../contract/error.ts';
import type { FileRow } from '../../contract/file.ts';
import type { Inspection } from '../../contract/inspection.ts';
import type { Scope } from '../../contract/scope.ts';
import { assert } from '../../core/assert.ts';
import { nowS, type Clock } from '../../core/clock.ts';
import type { Log } from '../../core/log.ts';
import { newBatchId, newProducedFileId, type UuidSource } from '../../core/ids.ts';
import type { Deployment, Deployments } from '../../deployments/port.ts';
import type { BatchStore, FileStore } from '../../stores/state/ports.ts';
import { damageText, InputDamage, type Input } from '../inputs.ts';
import { judge } from './judge.ts';
import { roomOf, tokenLimitExceeded } from './room.ts';

/** What a caller asked for, parsed and checked at the border. */
export interface CreateRequest {
  readonly inputFileId: string;
  readonly endpoint: BatchEndpoint;
  readonly dialect: Dialect;
  readonly metadata: Readonly<Record<string, string>> | null;
  readonly outputExpiresAfterS: number | null;
  /** What to do when there is no room for its tokens. Undefined: its deployment says it. */
  readonly whenFull?: WhenFull | undefined;
  readonly idempotency?: { readonly key: string; readonly bodyDigest: string };
}

/** The two figures of the token headers. */
export interface TokenFigures {
  /** Held by the live batches of the deployment. */
  readonly enqueuedTokens: number;
  readonly enqueuedTokensMax: number;
}

export interface Created {
  readonly batch: Batch;
  /** Null: no deployment is known. */
  readonly tokens: TokenFigures | null;
}

/** There is no room for the batch, and it is not to wait. */
export class TokenLimitExceeded extends ApiError {
  override name = 'TokenLimitExceeded';
  readonly tokens: TokenFigures;
  constructor(message: string, tokens: TokenFigures) {
    super('tokenLimitExceeded', message);
    this.tokens = tokens;
  }
}

/** `createBatch` as routes see it. Throws `ApiError`. */
export type CreateBatch = (scope: Scope, request: CreateRequest) => Promise<Created>;

export interface CreateDeps {
  readonly files: FileStore;
  readonly batches: BatchStore;
  readonly deployments: Deployments;
  /** The inspection of a file, or undefined when it takes longer than a caller should wait. */
  readonly inspectSoon: (scope: Scope, file: Input) => Promise<Inspection | undefined>;
  readonly clock: Clock;
  readonly uuid: UuidSource;
  readonly log: Log;
  readonly notify: () => void;
  /** Not called for a create that is repeated. */
  readonly noteCreated: (batch: Batch) => void;
  /** `held`: the tokens that the live batches of its deployment hold. */
  readonly noteHeld: (batch: Batch, deployment: Deployment, held: number) => void;
}

const WINDOW_S = 24 * 60 * 60;

/**
 * Accepts a batch. Nearly always the file is inspected before this answers. Then a batch with a faulty file is `failed` at
 * once, with every bad line, and a batch that does not fit the quota is refused before it exists. Otherwise the batch is
 * `validating`, holds tokens by the size of its file, and the engine judges it later.
 */
export async function createBatch(scope: Scope, request: CreateRequest, deps: CreateDeps): Promise<Created> {
  const file = await deps.files.get(scope, request.inputFileId);
  assertUsable(file, request.inputFileId);
  const inspection = await deps.inspectSoon(scope, file).catch(async (error: unknown) => {
    if (!(error instanceof InputDamage)) throw error;
    // The file may have been deleted meanwhile.
    assertUsable(await deps.files.get(scope, request.inputFileId), request.inputFileId);
    const { id, resourceId: resource } = file;
    deps.log.event('file.damaged', { file: id, resource, reason: error.message });
    throw new ApiError(
      'invalidValue',
      `${damageText(id, error)} Upload it again, and use the id of the answer.`,
      { param: 'input_file_id', cause: error },
    );
  });
  const verdict = inspection && (await judge(scope, inspection, request, deps.deployments));
  if (verdict?.kind === 'faulty') {
    const facts = { file, errors: verdict.errors, deployment: null, tokens: 0 };
    const { batch } = await insert(scope, request, facts, deps);
    return { batch, tokens: await tokensOf(scope, inspection?.model ?? null, deps) };
  }
  const deployment = verdict?.deployment ?? null;
  const tokens = inspection?.tokens ?? Math.ceil(file.bytes / 4);
  const { batch, enqueuedTokens } = await insert(
    scope,
    request,
    { file, errors: null, deployment, tokens },
    deps,
  );
  if (deployment !== null) deps.noteHeld(batch, deployment, enqueuedTokens);
  deps.notify();
  return { batch, tokens: deployment && figures(deployment, enqueuedTokens) };
}

const figures = ({ enqueuedTokensMax }: Deployment, enqueuedTokens: number): TokenFigures => ({
  enqueuedTokens,
  enqueuedTokensMax,
});

/** The figures of the deployment that a faulty file names. Null: there is no such deployment. */
async function tokensOf(
  scope: Scope,
  model: string | null,
  { batches, deployments }: CreateDeps,
): Promise<TokenFigures | null> {
  const deployment = model === null ? undefined : await deployments.find(scope, model);
  if (deployment === undefined) return null;
  const held = (await batches.enqueuedTokens(scope)).get(deployment.name)?.held ?? 0;
  return figures(deployment, held);
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
  { batches, clock, uuid, noteCreated }: CreateDeps,
): Promise<{ batch: Batch; enqueuedTokens: number }> {
  const createdAt = nowS(clock);
  const outcome = await batches.create(
    scope,
    {
      id: newBatchId(uuid),
      endpoint: request.endpoint,
      dialect: request.dialect,
      inputFileId: facts.file.id,
      inputBlobId: facts.file.blobId,
      outputFileId: newProducedFileId(uuid),
      errorFileId: newProducedFileId(uuid),
      deployment: facts.deployment?.name ?? null,
      enqueuedTokens: facts.tokens,
      createdAt,
      expiresAt: createdAt + WINDOW_S,
      metadata: request.metadata,
      outputExpiresAfterS: request.outputExpiresAfterS,
      whenFull: request.whenFull ?? facts.deployment?.whenFull ?? null,
      errors: facts.errors,
    },
    { room: facts.deployment && roomOf(facts.deployment), idempotency: request.idempotency },
  );
  switch (outcome.kind) {
    case 'created':
      noteCreated(outcome.batch);
      return outcome;
    case 'replayed':
      return outcome;
    case 'idempotency_mismatch':
      throw new ApiError(
        'idempotencyMismatch',
        'This Idempotency-Key was used with another request body. Use a new key for a new request.',
        { param: 'Idempotency-Key' },
      );
    case 'token_limit_exceeded': {
      assert(facts.deployment, 'a batch of no known deployment has no limit');
      const { message } = tokenLimitExceeded(facts.deployment, facts.tokens);
      throw new TokenLimitExceeded(message, figures(facts.deployment, outcome.enqueuedTokens));
    }
  }
}
