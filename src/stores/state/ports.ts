import type { Batch, BatchErrors, BatchStatus, TerminalStatus, Usage } from '../../contract/batch.ts';
import type {
  AuditEntry,
  DeploymentRow,
  EnqueuedTokens,
  QuotaGroup,
  Resource,
  ResourceKey,
  WhenFull,
} from '../../contract/control.ts';
import type { FilePurpose, FileRow } from '../../contract/file.ts';
import type { Inspection, SegmentPlan } from '../../contract/inspection.ts';
import type { Scope } from '../../contract/scope.ts';
import type { PartRow, UploadRow } from '../../contract/upload.ts';

/**
 * The state store, in small ports over one database. SQLite and PostgreSQL run the same statements and pass the same suite,
 * `test/conformance`. Every call is one transaction: when its promise resolves, its effect survives a power cut. Arguments
 * and results are plain data, so that the embedded store can live in a thread of its own. "Audited" means that the audit log
 * gets an entry in the same transaction.
 */
export interface StateStore extends StatePorts {
  close(): Promise<void>;
}

export interface StatePorts {
  readonly installation: InstallationStore;
  readonly resources: ResourceStore;
  readonly deployments: DeploymentStore;
  readonly audit: AuditStore;
  readonly files: FileStore;
  readonly uploads: UploadStore;
  readonly batches: BatchStore;
  readonly work: WorkStore;
  readonly results: ResultStore;
  readonly retention: RetentionStore;
}

/** `transient`: a later try may succeed (busy, connection lost, disk full). Otherwise the process must end (P9). */
export class StoreError extends Error {
  override name = 'StoreError';
  readonly transient: boolean;
  /** `disk_full` lets callers answer 507 and pause work. */
  readonly reason: 'disk_full' | 'busy' | 'connection' | 'io' | 'other';
  constructor(message: string, reason: StoreError['reason'], options?: ErrorOptions) {
    super(message, options);
    this.reason = reason;
    this.transient = reason !== 'io' && reason !== 'other';
  }
}

/** Who changes something, and when. The audit log has it, in the transaction of the change. */
export interface Change {
  readonly actor: string;
  readonly atS: number;
}

/** The facts that tie the database to the rest of its installation. Undefined: not written yet. */
export interface InstallationStore {
  get(fact: InstallationFact): Promise<string | undefined>;
  set(fact: InstallationFact, value: string): Promise<void>;
  /** Whether there is any key, whose digest was made with the pepper. */
  hasKeys(): Promise<boolean>;
  /** Deletes all keys, the admin key too. Audited. */
  dropKeys(change: Change): Promise<void>;
}

/** The id of the installation, and a check that recognises the pepper. */
type InstallationFact = 'installation_id' | 'pepper_check';

export interface ResourceStore {
  get(resourceId: string): Promise<Resource | undefined>;
  /** The list is ordered by name. Both filters are exact. */
  list(filter: { readonly subscriptionId?: string; readonly resourceGroup?: string }): Promise<Resource[]>;
  /** Inserts or replaces; `createdAt` stays. Audited unless nothing changes. */
  put(resource: Resource, change: Change): Promise<'created' | 'updated' | 'unchanged'>;
  /** Deletes the resource with all that it has. `in_use`: it has live batches. */
  delete(resourceId: string, change: Change): Promise<'deleted' | 'not_found' | 'in_use'>;
  keys(resourceId: string): Promise<ResourceKey[]>;
  /** Sets one key. Audited as created or regenerated, unless nothing changes. */
  putKey(resourceId: string, key: ResourceKey, change: Change): Promise<void>;
  /** Audited. False: the slot was empty. */
  deleteKey(resourceId: string, slot: 1 | 2, change: Change): Promise<boolean>;
  findByKeyDigest(
    digest: string,
  ): Promise<{ readonly resource: Resource; readonly key: ResourceKey } | undefined>;
  /** Digest of the key that opens the control plane. Undefined: none is set. */
  adminKeyDigest(): Promise<string | undefined>;
  setAdminKeyDigest(digest: string, change: Change): Promise<void>;
}

export interface DeploymentStore {
  get(scope: Scope, name: string): Promise<DeploymentRow | undefined>;
  /** The list is ordered by name. */
  list(scope: Scope): Promise<DeploymentRow[]>;
  /**
   * Inserts or replaces; `createdAt` stays. Invariant: the shares of all deployments of its quota group together never pass
   * `quotaTokensMax` (null: no quota), also under concurrent calls. A deployment that takes no more than before is always
   * accepted, since the quota may have shrunk. Audited unless nothing changes.
   */
  put(
    scope: Scope,
    deployment: DeploymentRow,
    options: { readonly quotaTokensMax: number | null; readonly atS: number },
  ): Promise<DeploymentPut>;
  /** `in_use`: live batches name it. */
  delete(scope: Scope, name: string, atS: number): Promise<'deleted' | 'not_found' | 'in_use'>;
  /** What the deployments of a subscription take of its quotas, by region, model and SKU. */
  usages(filter: { readonly subscriptionId: string; readonly location?: string }): Promise<QuotaUsage[]>;
}

export type DeploymentPut =
  | { readonly kind: 'created' | 'updated' | 'unchanged'; readonly deployment: DeploymentRow }
  /** `usedTokens`: the shares of the other deployments of the group. */
  | { readonly kind: 'insufficient_quota'; readonly usedTokens: number }
  /** The resource was deleted meanwhile. */
  | { readonly kind: 'no_resource' };

export interface QuotaUsage extends QuotaGroup {
  /** The shares of its deployments. */
  readonly allocatedTokens: number;
  /** Tokens that live batches hold now. */
  readonly heldTokens: number;
}

export interface AuditStore {
  /** Newest first. `resourceId` null: every resource, and the service. `before`: entries with a smaller `seq`. */
  list(query: {
    readonly resourceId: string | null;
    readonly before?: number;
    readonly limit: number;
  }): Promise<AuditEntry[]>;
}

export interface FileQuery {
  readonly purpose?: FilePurpose;
  readonly after?: string;
  readonly limit: number;
  readonly order: 'asc' | 'desc';
}

/** Limits of input files per resource; produced files do not count (docs/contract.md §5). */
export interface FileLimits {
  readonly withoutExpiryMax: number;
  readonly withExpiryMax: number;
}

export interface FileStore {
  /** Counts and inserts in one transaction. `limit`: the resource has as many input files of that kind as it may. */
  insert(scope: Scope, file: FileRow, limits: FileLimits): Promise<'inserted' | 'limit'>;
  get(scope: Scope, fileId: string): Promise<FileRow | undefined>;
  /** `unknown_after`: no file of the scope has that id. */
  list(scope: Scope, query: FileQuery): Promise<{ files: FileRow[]; hasMore: boolean } | 'unknown_after'>;
  /** Audited. Returns the id of its blob, which is among the removals now. Undefined: there is no such file. */
  delete(scope: Scope, fileId: string, atS: number): Promise<string | undefined>;
  /** What a pass over the file found. Undefined: no pass was made. */
  inspection(scope: Scope, fileId: string): Promise<Inspection | undefined>;
  saveInspection(scope: Scope, fileId: string, inspection: Inspection): Promise<void>;
  /** Deletes expired files of all resources, and returns the ids of their blobs, which are among the removals now. */
  deleteExpired(nowS: number, limit: number): Promise<string[]>;
  /** Which of these blobs belong to a file, a part or a removal, of any resource. The others are strays. */
  existing(blobIds: readonly string[]): Promise<string[]>;
  /** What was stored under this id, also for a deleted file whose bytes are still there. */
  stored(blobId: string): Promise<Pick<FileRow, 'blobId' | 'bytes' | 'sha256'> | undefined>;
  /** How many files all resources have. */
  count(): Promise<number>;
  /** Files of all resources, newest first, before `beforeSeq`. */
  all(query: {
    readonly beforeSeq: number | null;
    readonly limit: number;
  }): Promise<(FileRow & { readonly seq: number })[]>;
  /** Blobs of parts of pending uploads, of all resources. */
  parts(query: {
    readonly afterId: string;
    readonly limit: number;
  }): Promise<Pick<FileRow, 'blobId' | 'bytes' | 'sha256'>[]>;
  /** Blobs of deleted files whose bytes may still be there. */
  removals(query: { readonly afterId: string; readonly limit: number }): Promise<string[]>;
  /** Called when their bytes are removed. */
  forgetRemovals(blobIds: readonly string[]): Promise<void>;
}

export interface UploadLimits {
  /** Pending uploads that a resource may have. */
  readonly pendingMax: number;
  /** Parts that an upload may have, and their bytes together. A part that was sent twice counts twice. */
  readonly partsMax: number;
  readonly partBytesMax: number;
}

export type PartOutcome = 'added' | 'too_many_parts' | 'too_many_bytes' | 'ended';

/** Files that come in parts. The call that ends an upload returns its blobs, which are among the removals then. */
export interface UploadStore {
  /** `limit`: the resource has as many pending uploads as it may. */
  start(
    scope: Scope,
    upload: UploadRow,
    limits: Pick<UploadLimits, 'pendingMax'>,
  ): Promise<'started' | 'limit'>;
  get(scope: Scope, uploadId: string): Promise<UploadRow | undefined>;
  /** `ended`: the upload is no longer pending, has expired at `atS`, or there is none. */
  addPart(
    scope: Scope,
    part: PartRow,
    limits: Pick<UploadLimits, 'partsMax' | 'partBytesMax'> & { readonly atS: number },
  ): Promise<PartOutcome>;
  /** The parts of a pending upload. */
  parts(scope: Scope, uploadId: string): Promise<PartRow[]>;
  /** Inserts the file and ends the upload and its parts, in one transaction. `limit`: as `FileStore.insert`. */
  complete(
    scope: Scope,
    uploadId: string,
    completion: {
      readonly file: FileRow;
      readonly digest: string;
      readonly limits: FileLimits;
      readonly atS: number;
    },
  ): Promise<
    | { readonly kind: 'completed'; readonly blobIds: string[] }
    | { readonly kind: 'limit' }
    | { readonly kind: 'ended' }
  >;
  /** Resolves to undefined when the upload is not pending. */
  cancel(scope: Scope, uploadId: string): Promise<string[] | undefined>;
  /** Ends expired uploads of all resources, and deletes those that ended long ago. `more`: there may be further ones. */
  expire(nowS: number, limit: number): Promise<{ readonly blobIds: string[]; readonly more: boolean }>;
}

export interface NewBatch extends Pick<
  Batch,
  | 'id'
  | 'endpoint'
  | 'dialect'
  | 'inputFileId'
  | 'inputBlobId'
  | 'outputFileId'
  | 'errorFileId'
  | 'deployment'
  | 'enqueuedTokens'
  | 'createdAt'
  | 'expiresAt'
  | 'metadata'
  | 'outputExpiresAfterS'
  | 'whenFull'
> {
  /** Given when the faults are known already. The batch is created as `failed`, and holds no tokens. */
  readonly errors: BatchErrors | null;
}

/**
 * What decides whether a batch may start (P21). A batch is admitted when its tokens fit and no older batch of its deployment
 * is in the way. An older batch that waits is in the way when it would fit too, or when it has waited longer than
 * `QUEUE_PASS_S`. So the oldest goes first, and a small batch may pass a large one for a while. A waiting batch that is too
 * large for the deployment's own limit keeps only shared room free, so that the own share does not stand idle for it. A batch
 * that is too large for any room keeps none.
 */
export interface Room {
  /** Limit of the deployment. Its live batches together never hold more, except by dynamic quota. */
  readonly enqueuedTokensMax: number;
  /**
   * Limit of dynamic quota. The batch is also admitted when all live batches of the quota group, with this one, hold no more
   * together. Null: dynamic quota is off.
   */
  readonly sharedTokensMax: number | null;
}

/** A deployment, and what room it has. */
export interface DeploymentRoom {
  readonly resourceId: string;
  readonly deployment: string;
  readonly room: Room;
}

export interface CreateOptions {
  /** Null: no deployment is known yet. Validation asks for room later. */
  readonly room: Room | null;
  /** The `Idempotency-Key`, with a digest of the request body. It is kept for 24 h in each resource. */
  readonly idempotency?: { readonly key: string; readonly bodyDigest: string };
}

export type CreateOutcome =
  | { readonly kind: 'created'; readonly batch: Batch; readonly enqueuedTokens: number }
  | { readonly kind: 'replayed'; readonly batch: Batch; readonly enqueuedTokens: number }
  | { readonly kind: 'idempotency_mismatch' }
  /** There is no room and the batch must not wait, or there never will be room. */
  | { readonly kind: 'token_limit_exceeded'; readonly enqueuedTokens: number };

/** The tree of a `$filter`, as `http/wire/filter.ts` reads it. Status values are lower case. */
export type BatchFilter =
  | { readonly kind: 'and' | 'or'; readonly left: BatchFilter; readonly right: BatchFilter }
  | {
      readonly kind: 'compare';
      readonly field: 'created_at' | 'status' | 'endpoint' | 'input_file_id' | 'completed_at';
      readonly op: 'eq' | 'ne' | 'gt' | 'ge' | 'lt' | 'le';
      readonly value: string | number | null;
    };

export interface BatchQuery {
  readonly filter?: BatchFilter;
  readonly orderBy: {
    readonly field: 'created_at' | 'completed_at' | 'status';
    readonly direction: 'asc' | 'desc';
  };
  readonly after?: string;
  readonly limit: number;
}

export interface BatchStore {
  /**
   * Reserves the tokens and inserts the batch, or changes nothing (P21). A batch that may wait and finds no room is inserted
   * with `waitingTokens`, and holds none. `enqueuedTokens`: the deployment's sum afterwards.
   */
  create(scope: Scope, batch: NewBatch, options: CreateOptions): Promise<CreateOutcome>;
  get(scope: Scope, batchId: string): Promise<Batch | undefined>;
  /** Each batch has its first faults; the rest counts as omitted. `get` has all that are kept. */
  list(scope: Scope, query: BatchQuery): Promise<{ batches: Batch[]; hasMore: boolean } | 'unknown_after'>;
  /** The batch that reserved this id for its output or error file, whether the file exists yet or not. */
  findByProducedFile(scope: Scope, fileId: string): Promise<Batch | undefined>;
  /** Moves a live batch to `cancelling`, audited. A batch that is cancelling or terminal is returned unchanged. */
  cancel(scope: Scope, batchId: string, atS: number): Promise<Batch | undefined>;
  /** The keys are deployments. Those without live batches are absent. */
  enqueuedTokens(scope: Scope): Promise<ReadonlyMap<string, EnqueuedTokens>>;
  /**
   * Which waiting batches of these deployments are worth a `plan` now: of each deployment the one that would be admitted, and
   * those that can never start, so that they end. A hint: others may take the room before.
   */
  nextToStart(deployments: readonly DeploymentRoom[], nowS: number): Promise<number[]>;
  /** The live batches of all resources, oldest first. */
  live(): Promise<Batch[]>;
  bySeq(seq: number): Promise<Batch | undefined>;
  /**
   * When there is room: `validating` → `in_progress` with its segments, in one transaction. Otherwise a batch that may wait
   * stays with `waitingTokens`, and holds none. `token_limit_exceeded`: it must not wait, or would wait for ever. `stale`: it
   * is no longer `validating`.
   */
  plan(seq: number, plan: BatchPlan): Promise<'planned' | 'waiting' | 'token_limit_exceeded' | 'stale'>;
  /**
   * `from` → `failed`. False: the batch is in another state. Then the fault comes too late: it is about what the batch was
   * before, and must not fail what was started since.
   */
  fail(
    seq: number,
    fault: {
      readonly from: Extract<BatchStatus, 'validating' | 'in_progress'>;
      readonly atS: number;
      readonly errors: BatchErrors;
    },
  ): Promise<boolean>;
  /** `in_progress` → `finalizing`, when every request has a result. False: the batch is in another state, or not done. */
  startFinalizing(seq: number, atS: number): Promise<boolean>;
  /** Inserts the produced files, sets the end and the counts, and releases the tokens, in one transaction. False: not in `from`. */
  publish(seq: number, publication: Publication): Promise<boolean>;
}

export interface BatchPlan {
  readonly atS: number;
  readonly deployment: string;
  readonly enqueuedTokens: number;
  readonly room: Room;
  /** Applies when the batch has no `whenFull` of its own. */
  readonly whenFull: WhenFull;
  readonly requests: number;
  readonly segments: readonly SegmentPlan[];
}

export interface Publication {
  readonly from: Extract<BatchStatus, 'finalizing' | 'cancelling' | 'in_progress'>;
  /** `failed`: the batch cannot go on. What was recorded is kept. */
  readonly to: TerminalStatus;
  readonly atS: number;
  /** Given when `to` is `failed`. */
  readonly errors?: BatchErrors;
  /** Line counts of the two files. The total is their sum, unless `to` is `failed`. */
  readonly completed: number;
  readonly failed: number;
  readonly files: readonly FileRow[];
}

/** A segment as its claimant holds it. Writes carry `epoch`. Once another claim has raised it, they affect nothing. */
export interface ClaimedSegment extends SegmentPlan {
  readonly batchSeq: number;
  /** Position in the batch, from 0. */
  readonly index: number;
  readonly epoch: number;
  /** How often the process ended while this segment was claimed. */
  readonly crashes: number;
  /** The line that was tried alone when the process ended, and how often that happened. */
  readonly suspectLine: number | null;
  readonly suspectCrashes: number;
  /** Lines that already have a result. */
  readonly recordedLines: readonly number[];
}

/** What a write to a claimed segment must name. */
export type Claim = Pick<ClaimedSegment, 'batchSeq' | 'index' | 'epoch'>;

export interface WorkStore {
  /**
   * Claims up to `segmentsMax` unclaimed, unfinished segments of one batch, lowest first. Empty unless `in_progress`.
   * `known`: the segments of the batch that the worker knows it has claimed. Its others were claimed by a call whose answer
   * was lost, and count as unclaimed.
   */
  claim(
    batchSeq: number,
    options: {
      readonly workerId: string;
      readonly segmentsMax: number;
      readonly known?: readonly number[];
    },
  ): Promise<ClaimedSegment[]>;
  /**
   * Gives unfinished segments back; no crash is counted. `inDoubt`: requests that were sent and whose replies will not be
   * known. They count as the batch's `resent`. Stale epochs are ignored.
   */
  release(segments: readonly (Claim & { readonly inDoubt?: number })[]): Promise<void>;
  /**
   * Takes back every segment of other workers: raises its epoch, counts a crash (and one for its suspect), and adds its
   * requests without a result to the batch's `resent`. Called once at start, when all other workers have ended.
   */
  reclaim(workerId: string): Promise<{ segments: number; requests: number }>;
  /** Records that `line` is tried alone, before it is sent. 0: no line is. False: the epoch is stale. */
  markSuspect(segment: Claim, line: number): Promise<boolean>;
}

/**
 * Removes what was kept long enough. The blobs of removed files are returned, and are among the removals.
 */
export interface RetentionStore {
  /** Removes ended batches, with the rows of the files that they produced. */
  pruneBatches(query: Prune): Promise<{ batches: number; blobIds: string[] }>;
  /** Removes files that have no expiry of their own and that no live batch reads. */
  pruneFiles(query: Prune): Promise<string[]>;
  pruneAudit(query: Prune): Promise<number>;
  pruneIdempotencyKeys(query: Prune): Promise<number>;
  /** Gives some of the space of removed rows back to the disk. False: there is little, or the database does it by itself. */
  shrink(): Promise<boolean>;
}

export interface Prune {
  /** What came, or ended, by then is removed. */
  readonly byS: number;
  /** A call removes at most this many rows. */
  readonly limit: number;
}

/** The one recorded outcome of a line. */
export interface LineResult {
  readonly batchSeq: number;
  readonly segmentIndex: number;
  readonly epoch: number;
  readonly line: number;
  /** Whether it goes to the output file. If not, it goes to the error file. */
  readonly ok: boolean;
  /** The whole line of the produced file, without its final newline. */
  readonly payload: Uint8Array;
  readonly usage: Usage;
  /** Upstream calls of this line beyond its first. */
  readonly retries: number;
}

export interface ResultRow {
  readonly line: number;
  readonly ok: boolean;
  readonly payload: Uint8Array;
}

export interface ResultStore {
  /**
   * Inserts a group and moves the counters of its batches and the progress of its segments, in one transaction. Results whose
   * epoch is stale, or whose batch takes no more results, are dropped. Returns the segments that are lost.
   */
  commit(group: readonly LineResult[]): Promise<Claim[]>;
  /** Results after `afterLine` in line order, up to `bytesMax` payload bytes or `rowsMax` rows, but one at least. */
  page(
    batchSeq: number,
    query: {
      readonly afterLine: number;
      readonly bytesMax: number;
      readonly rowsMax: number;
      readonly ok?: boolean;
    },
  ): Promise<ResultRow[]>;
  /** The last line up to which every request has a result. 0: the first request has none. */
  completeThrough(batchSeq: number): Promise<number>;
  /** How many results with this outcome lie at or before `throughLine`. */
  count(batchSeq: number, query: { readonly throughLine: number; readonly ok: boolean }): Promise<number>;
  /** Deletes results and segments of terminal batches, `rowsMax` a call at most. True: more is left. */
  purge(rowsMax: number): Promise<boolean>;
}
