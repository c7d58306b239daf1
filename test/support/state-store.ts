import type { DeploymentRow, Resource } from '../../src/contract/control.ts';
import type { FileRow } from '../../src/contract/file.ts';
import type { Scope } from '../../src/contract/scope.ts';
import { assert } from '../../src/core/assert.ts';
import type {
  BatchPlan,
  Claim,
  ClaimedSegment,
  LineResult,
  NewBatch,
  Room,
  StateStore,
} from '../../src/stores/state/ports.ts';
import type { Batch } from '../../src/contract/batch.ts';

export const scope: Scope = { resourceId: 'alpha', actor: 'key:1' };
export const stranger: Scope = { resourceId: 'beta', actor: 'key:1' };

export const fileOf = (id: string, given: Partial<FileRow> = {}): FileRow => ({
  id,
  blobId: id,
  resourceId: scope.resourceId,
  filename: `${id}.jsonl`,
  purpose: 'batch',
  bytes: 12,
  sha256: 'ab'.repeat(32),
  createdAt: 1_000,
  expiresAt: null,
  ...given,
});

export const NO_LIMITS = { withoutExpiryMax: 1_000, withExpiryMax: 1_000 };

export const batchOf = (id: string, given: Partial<NewBatch> = {}): NewBatch => ({
  id,
  endpoint: '/chat/completions',
  dialect: 'azure',
  inputFileId: `file-input-of-${id}`,
  inputBlobId: `file-input-of-${id}`,
  outputFileId: `file-output-of-${id}`,
  errorFileId: `file-errors-of-${id}`,
  deployment: 'gpt',
  enqueuedTokens: 10,
  createdAt: 1_000,
  expiresAt: 87_400,
  metadata: null,
  outputExpiresAfterS: null,
  errors: null,
  whenFull: null,
  ...given,
});

/** A deployment's own limit, without dynamic quota. */
export const upTo = (enqueuedTokensMax: number): Room => ({ enqueuedTokensMax, sharedTokensMax: null });

export const change = { actor: 'admin', atS: 2_000 };

export const resourceOf = (id: string, given: Partial<Resource> = {}): Resource => ({
  id,
  location: 'koreacentral',
  subscriptionId: '00000000-0000-0000-0000-000000000000',
  resourceGroup: 'offpeak',
  offer: 'enterprise',
  keyAuthDisabled: false,
  owner: 'api',
  tags: {},
  createdAt: 900,
  ...given,
});

export const deploymentOf = (name: string, given: Partial<DeploymentRow> = {}): DeploymentRow => ({
  resourceId: scope.resourceId,
  name,
  model: 'gpt-4o',
  version: '2024-11-20',
  sku: 'GlobalBatch',
  enqueuedTokensMax: 50_000,
  dynamicQuota: false,
  whenFull: 'fail',
  versionUpgradeOption: 'OnceNewDefaultVersionAvailable',
  contentFilter: null,
  concurrencyMax: 16,
  upstreams: null,
  owner: 'api',
  tags: {},
  createdAt: 950,
  updatedAt: 950,
  ...given,
});

export async function createBatch(
  store: StateStore,
  id: string,
  given: Partial<NewBatch> = {},
  owner = scope,
): Promise<Batch> {
  const outcome = await store.batches.create(owner, batchOf(id, given), { room: null });
  assert(outcome.kind === 'created', `batch ${id} was not created: ${outcome.kind}`);
  return outcome.batch;
}

/** Segments of `requestsEach` requests on consecutive lines, after `blankLines` blank ones each. */
export const planOf = (
  segments: number,
  {
    requestsEach = 4,
    blankLines = 0,
    ...given
  }: Partial<BatchPlan> & { requestsEach?: number; blankLines?: number } = {},
): BatchPlan => ({
  atS: 1_010,
  deployment: 'gpt',
  enqueuedTokens: 10,
  room: upTo(1_000_000),
  whenFull: 'fail',
  requests: segments * requestsEach,
  segments: Array.from({ length: segments }, (_, index) => ({
    firstLine: 1 + blankLines + index * (requestsEach + blankLines),
    requests: requestsEach,
    byteStart: index * 100,
    byteLength: 100,
  })),
  ...given,
});

/** Makes a batch that is in progress. */
export async function startBatch(
  store: StateStore,
  id: string,
  plan = planOf(1),
  owner = scope,
): Promise<number> {
  const { seq } = await createBatch(store, id, {}, owner);
  const outcome = await store.batches.plan(seq, plan);
  assert(outcome === 'planned', `batch ${id} was not planned: ${outcome}`);
  return seq;
}

export const claimAll = (
  store: StateStore,
  batchSeq: number,
  workerId = 'worker',
): Promise<ClaimedSegment[]> => store.work.claim(batchSeq, { workerId, segmentsMax: 1_000 });

export async function claimOne(
  store: StateStore,
  batchSeq: number,
  workerId = 'worker',
): Promise<ClaimedSegment> {
  const [segment] = await store.work.claim(batchSeq, { workerId, segmentsMax: 1 });
  assert(segment, `batch ${batchSeq} has no segment to claim`);
  return segment;
}

export const resultOf = (segment: Claim, line: number, given: Partial<LineResult> = {}): LineResult => ({
  batchSeq: segment.batchSeq,
  segmentIndex: segment.index,
  epoch: segment.epoch,
  line,
  ok: true,
  payload: bytes(`{"line":${line}}`),
  usage: { inputTokens: 4, cachedTokens: 1, outputTokens: 3, reasoningTokens: 2 },
  retries: 0,
  ...given,
});

/** A result for every request of the segment. */
export const resultsOf = (segment: ClaimedSegment, given: Partial<LineResult> = {}): LineResult[] =>
  Array.from({ length: segment.requests }, (_, offset) =>
    resultOf(segment, segment.firstLine + offset, given),
  );

export const held = ({ batchSeq, index, epoch }: Claim): Claim => ({ batchSeq, index, epoch });

export const bytes = (text: string): Uint8Array => new TextEncoder().encode(text);
export const text = (payload: Uint8Array): string => new TextDecoder().decode(payload);

export const numbers = (count: number): number[] => Array.from({ length: count }, (_, index) => index);

export async function batchBySeq(store: StateStore, seq: number): Promise<Batch> {
  const batch = await store.batches.bySeq(seq);
  assert(batch, `there is no batch ${seq}`);
  return batch;
}

/** Tokens that live batches of a deployment hold. */
export async function heldBy(store: StateStore, deployment: string, owner = scope): Promise<number> {
  return (await store.batches.enqueuedTokens(owner)).get(deployment)?.held ?? 0;
}

/** Fails a live batch, whatever it is doing; false: it is over, or being cancelled. */
export async function endBatch(store: StateStore, seq: number, atS = 2_000): Promise<boolean> {
  const errors = { data: [], omitted: 0 };
  for (const from of ['validating', 'in_progress'] as const)
    if (await store.batches.fail(seq, { from, atS, errors })) return true;
  return false;
}
