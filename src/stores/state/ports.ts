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
 * The state store, in small ports over one database. SQLite and PostgreSQL run the same statements and pass the
 * same conformance suite, `test/conformance`. Every call is one transaction: when its promise resolves, its effect survives a power cut.
 * Arguments and results are plain data, so that the embedded store can live in its own thread.
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

/** `transient`: trying again may help (busy, connection lost, disk full). Otherwise the process must end (P9). */
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

/** Who changes something, and when: what is written to the audit log in the transaction of the change. */
export interface Change {
  readonly actor: string;
  readonly atS: number;
}

/** What ties the database to the rest of its installation; a name of `settings` each. Undefined: not written yet. */
export interface InstallationStore {
  get(fact: InstallationFact): Promise<string | undefined>;
  set(fact: InstallationFact, value: string): Promise<void>;
  /** Whether any key was given out, whose digest the pepper has made. */
  hasKeys(): Promise<boolean>;
  /** Forgets all keys, the admin key too. Audited. */
  dropKeys(change: Change): Promise<void>;
}

/** Its id; what the pepper is recognised by. */
type InstallationFact = 'installation_id' | 'pepper_check';

export interface ResourceStore {
  get(resourceId: string): Promise<Resource | undefined>;
  /** By name. Both filters: exact. */
  list(filter: { readonly subscriptionId?: string; readonly resourceGroup?: string }): Promise<Resource[]>;
  /** Inserts or replaces; `createdAt` stays. Audited unless nothing changes. */
  put(resource: Resource, change: Change): Promise<'created' | 'updated' | 'unchanged'>;
  /** With its keys, deployments, files' and uploads' rows, batches and idempotency keys. `in_use`: it has live batches. */
  delete(resourceId: string, change: Change): Promise<'deleted' | 'not_found' | 'in_use'>;
  keys(resourceId: string): Promise<ResourceKey[]>;
  /** Sets one key. Audited as created or regenerated; a key that is the same already changes nothing. */
  putKey(resourceId: string, key: ResourceKey, change: Change): Promise<void>;
  /** Audited. False: the slot is empty. */
  deleteKey(resourceId: string, slot: 1 | 2, change: Change): Promise<boolean>;
  findByKeyDigest(
    digest: string,
  ): Promise<{ readonly resource: Resource; readonly key: ResourceKey } | undefined>;
  /** Digest of the key that opens the control plane; undefined until one is set. */
  adminKeyDigest(): Promise<string | undefined>;
  setAdminKeyDigest(digest: string, change: Change): Promise<void>;
}

export interface DeploymentStore {
  get(scope: Scope, name: string): Promise<DeploymentRow | undefined>;
  /** By name. */
  list(scope: Scope): Promise<DeploymentRow[]>;
  /**
   * Inserts or replaces; `createdAt` stays. The shares of all deployments of its quota group together never pass
   * `quotaTokensMax` (null: no quota), also under concurrent calls; one that takes no more of its group than before is
   * always possible, as the quota may have shrunk since. Audited unless nothing changes.
   */
  put(
    scope: Scope,
    deployment: DeploymentRow,
    options: { readonly quotaTokensMax: number | null; readonly atS: number },
  ): Promise<DeploymentPut>;
  /** `in_use`: live batches name it. */
  delete(scope: Scope, name: string, atS: number): Promise<'deleted' | 'not_found' | 'in_use'>;
  /** What the deployments of a subscription take of its quotas, by region, model and SKU. For reading before one asks. */
  usages(filter: { readonly subscriptionId: string; readonly location?: string }): Promise<QuotaUsage[]>;
}

export type DeploymentPut =
  | { readonly kind: 'created' | 'updated' | 'unchanged'; readonly deployment: DeploymentRow }
  /** `usedTokens`: what the other deployments of the group have. */
  | { readonly kind: 'insufficient_quota'; readonly usedTokens: number }
  /** The resource was deleted meanwhile. */
  | { readonly kind: 'no_resource' };

export interface QuotaUsage extends QuotaGroup {
  /** Shares of its deployments. */
  readonly allocatedTokens: number;
  /** Held by live batches just now. */
  readonly heldTokens: number;
}

export interface AuditStore {
  /** Newest first. `resourceId` null: of every resource and of the service. `before`: entries with a smaller `seq`. */
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
  /** Counts and inserts in one transaction; `limit` when the resource has as many input files of that kind as it may. */
  insert(scope: Scope, file: FileRow, limits: FileLimits): Promise<'inserted' | 'limit'>;
  get(scope: Scope, fileId: string): Promise<FileRow | undefined>;
  /** `unknown_after`: no file of the scope has that id. */
  list(scope: Scope, query: FileQuery): Promise<{ files: FileRow[]; hasMore: boolean } | 'unknown_after'>;
  /** Audited. Returns the id of its blob, which is among the removals from now on; undefined: there is no such file. */
  delete(scope: Scope, fileId: string, atS: number): Promise<string | undefined>;
  /** What a pass over the file found; undefined when none was made. */
  inspection(scope: Scope, fileId: string): Promise<Inspection | undefined>;
  saveInspection(scope: Scope, fileId: string, inspection: Inspection): Promise<void>;
  /** Deletes rows past their expiry, all resources, and returns the ids of their blobs, which are among the removals. */
  deleteExpired(nowS: number, limit: number): Promise<string[]>;
  /** Which of these blobs belong to a file or part of any resource, or to one that was deleted: what belongs to none is a stray. */
  existing(blobIds: readonly string[]): Promise<string[]>;
  /** What was stored under this id, also of a deleted file whose bytes are still there. */
  stored(blobId: string): Promise<Pick<FileRow, 'blobId' | 'bytes' | 'sha256'> | undefined>;
  /** Of all resources. */
  count(): Promise<number>;
  /** Files of all resources, newest first, before `beforeSeq`. */
  all(query: {
    readonly beforeSeq: number | null;
    readonly limit: number;
  }): Promise<(FileRow & { readonly seq: number })[]>;
  /** Blobs of parts that wait to become files, of all resources. */
  parts(query: {
    readonly afterId: string;
    readonly limit: number;
  }): Promise<Pick<FileRow, 'blobId' | 'bytes' | 'sha256'>[]>;
  /** Blobs of deleted files whose bytes are not known to be gone. */
  removals(query: { readonly afterId: string; readonly limit: number }): Promise<string[]>;
  /** Their bytes are gone. */
  forgetRemovals(blobIds: readonly string[]): Promise<void>;
}

export interface UploadLimits {
  /** Pending uploads of a resource. */
  readonly pendingMax: number;
  /** Parts of one upload, and their bytes together. A part that was sent twice counts twice. */
  readonly partsMax: number;
  readonly partBytesMax: number;
}

export type PartOutcome = 'added' | 'too_many_parts' | 'too_many_bytes' | 'ended';

/** Files that come in parts. The call that ends an upload returns its blobs, which are among the removals from then on. */
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
  /** Of a pending upload. */
  parts(scope: Scope, uploadId: string): Promise<PartRow[]>;
  /** The file's row, the end of the upload and of its parts in one transaction. `limit`: as `FileStore.insert`. */
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
  /** Undefined: the upload is not pending. */
  cancel(scope: Scope, uploadId: string): Promise<string[] | undefined>;
  /**
   * Ends pending uploads whose time is over, all resources, and forgets those that ended long ago. `more`: there are
   * further ones.
   */
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
  /** Given when the faults are already known: the batch is born `failed` and holds no tokens. */
  readonly errors: BatchErrors | null;
}

/**
 * What decides whether a batch may start (P21). It is admitted when its tokens fit, and when no older batch of the
 * deployment that waits for room would fit too, or has waited longer than `QUEUE_PASS_S`: oldest first, but a small one
 * passes a large one that must wait, for a while. One that is too large for the deployment's own limit can keep only
 * shared room free, so that nobody's own share stands idle for it; one too large for any room keeps none.
 */
export interface Room {
  /** Limit of the deployment: its live batches never hold more together, save by dynamic quota. */
  readonly enqueuedTokensMax: number;
  /**
   * Dynamic quota: the batch is also admitted when all live batches of the deployment's quota group hold no more than
   * this together, with it. Null: off.
   */
  readonly sharedTokensMax: number | null;
}

export interface CreateOptions {
  /** Null: no deployment is known yet, and validation will ask. */
  readonly room: Room | null;
  /** From `Idempotency-Key`, with a digest of the request body. Kept 24 h per resource. */
  readonly idempotency?: { readonly key: string; readonly bodyDigest: string };
}

export type CreateOutcome =
  | { readonly kind: 'created'; readonly batch: Batch; readonly enqueuedTokens: number }
  | { readonly kind: 'replayed'; readonly batch: Batch; readonly enqueuedTokens: number }
  | { readonly kind: 'idempotency_mismatch' }
  /** There is no room and the batch is not to wait, or there never will be. */
  | { readonly kind: 'token_limit_exceeded'; readonly enqueuedTokens: number };

/** A comparison tree of `$filter`; see `http/wire/filter.ts`. Status values are lower case. */
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
   * Reserves the tokens and inserts, or changes nothing (P21). A batch that is to wait when it finds no room is inserted
   * with `waitingTokens`, and holds none. `enqueuedTokens`: the deployment's sum afterwards.
   */
  create(scope: Scope, batch: NewBatch, options: CreateOptions): Promise<CreateOutcome>;
  get(scope: Scope, batchId: string): Promise<Batch | undefined>;
  /** Of their faults the first ten or so; the rest counts as omitted. `get` has all that are kept. */
  list(scope: Scope, query: BatchQuery): Promise<{ batches: Batch[]; hasMore: boolean } | 'unknown_after'>;
  /** The batch that reserved this id for its output or error file, whether the file exists yet or not. */
  findByProducedFile(scope: Scope, fileId: string): Promise<Batch | undefined>;
  /** To `cancelling` when live, audited; a batch that is already cancelling or terminal is returned unchanged. */
  cancel(scope: Scope, batchId: string, atS: number): Promise<Batch | undefined>;
  /** By deployment; those without live batches are absent. */
  enqueuedTokens(scope: Scope): Promise<ReadonlyMap<string, EnqueuedTokens>>;
  /** Every batch that is not terminal, all resources, oldest first. For the engine. */
  live(): Promise<Batch[]>;
  bySeq(seq: number): Promise<Batch | undefined>;
  /**
   * `validating` → `in_progress` with its segments, in one transaction, when there is room for it. Otherwise, if it is
   * to wait, it stays with `waitingTokens` and holds none. `token_limit_exceeded`: it is not to wait, or would for ever.
   * `stale`: the batch is no longer `validating`.
   */
  plan(seq: number, plan: BatchPlan): Promise<'planned' | 'waiting' | 'token_limit_exceeded' | 'stale'>;
  /**
   * `from` → `failed`, dropping its work. False: it is in another state, and whoever found the fault is late: what
   * another has started must not fail by what it was before.
   */
  fail(
    seq: number,
    fault: {
      readonly from: Extract<BatchStatus, 'validating' | 'in_progress'>;
      readonly atS: number;
      readonly errors: BatchErrors;
    },
  ): Promise<boolean>;
  /** `in_progress` → `finalizing`, only when every request has a result. False: it is in another state, or not done. */
  startFinalizing(seq: number, atS: number): Promise<boolean>;
  /** Rows of the produced files, terminal state, counts and release of the tokens in one transaction. False: not in `from`. */
  publish(seq: number, publication: Publication): Promise<boolean>;
}

export interface BatchPlan {
  readonly atS: number;
  readonly deployment: string;
  readonly enqueuedTokens: number;
  readonly room: Room;
  /** For a batch that does not say itself. */
  readonly whenFull: WhenFull;
  readonly requests: number;
  readonly segments: readonly SegmentPlan[];
}

export interface Publication {
  readonly from: Extract<BatchStatus, 'finalizing' | 'cancelling' | 'in_progress'>;
  /** `failed`: the batch cannot go on, and what was recorded is kept. */
  readonly to: TerminalStatus;
  readonly atS: number;
  /** Of a failed one. */
  readonly errors?: BatchErrors;
  /** Line counts of the two files; total = completed + failed, save where it failed. */
  readonly completed: number;
  readonly failed: number;
  readonly files: readonly FileRow[];
}

/** A segment as its claimant holds it. Writes carry `epoch`; once another claim has raised it they affect nothing. */
export interface ClaimedSegment extends SegmentPlan {
  readonly batchSeq: number;
  /** Position in the batch, from 0. */
  readonly index: number;
  readonly epoch: number;
  /** Ends of the process while this segment was claimed. */
  readonly crashes: number;
  /** The line that was tried alone when the process ended, and how often that was so. */
  readonly suspectLine: number | null;
  readonly suspectCrashes: number;
  /** Lines that already have a result. */
  readonly recordedLines: readonly number[];
}

export interface WorkStore {
  /**
   * Claims up to `segmentsMax` unclaimed, unfinished segments of one batch, lowest first. Empty unless `in_progress`.
   * `held`: the segments of the batch that the owner knows it holds; one of its others was claimed by a call whose
   * answer was lost, and counts as unclaimed.
   */
  claim(
    batchSeq: number,
    options: {
      readonly owner: string;
      readonly segmentsMax: number;
      readonly held?: readonly number[];
    },
  ): Promise<ClaimedSegment[]>;
  /**
   * Gives segments back undone, without blame. `inDoubt`: requests sent whose replies will not be known, which count as
   * the batch's `resent`. Stale epochs are ignored.
   */
  release(
    segments: readonly (Pick<ClaimedSegment, 'batchSeq' | 'index' | 'epoch'> & {
      readonly inDoubt?: number;
    })[],
  ): Promise<void>;
  /**
   * Takes back every segment claimed by an owner other than `owner`: raises its epoch, counts a crash (and one for its
   * suspect), and adds its requests without result to the batch's `resent`. Call once, when all other owners are dead.
   */
  reclaim(owner: string): Promise<{ segments: number; requests: number }>;
  /** Notes, before it is sent, that `line` is tried alone; 0: that none is. False: the epoch is stale. */
  markSuspect(segment: Pick<ClaimedSegment, 'batchSeq' | 'index' | 'epoch'>, line: number): Promise<boolean>;
}

/**
 * Gives up what is older than it is to be kept, so many rows per call at most. `byS`: what came, or ended, by then. The
 * blobs of removed files are returned, and recorded as removals.
 */
export interface RetentionStore {
  /** Ended batches, with the rows of the files that they produced. */
  pruneBatches(query: {
    readonly byS: number;
    readonly limit: number;
  }): Promise<{ batches: number; blobIds: string[] }>;
  /** Files without an expiry of their own that no live batch reads, uploaded or produced. */
  pruneFiles(query: { readonly byS: number; readonly limit: number }): Promise<string[]>;
  pruneAudit(query: { readonly byS: number; readonly limit: number }): Promise<number>;
  pruneIdempotencyKeys(query: { readonly byS: number; readonly limit: number }): Promise<number>;
  /** Hands some of the space of removed rows back to the disk. False: there is little, or the database does it itself. */
  shrink(): Promise<boolean>;
}

/** The one recorded outcome of a line. */
export interface LineResult {
  readonly batchSeq: number;
  readonly segmentIndex: number;
  readonly epoch: number;
  readonly line: number;
  /** True: goes to the output file; false: to the error file. */
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
   * Inserts a group, moves the counters of its batches and the progress of its segments, in one transaction.
   * Results whose epoch is stale, or whose batch takes no more results, are dropped; returns the lost segments.
   */
  commit(group: readonly LineResult[]): Promise<Pick<ClaimedSegment, 'batchSeq' | 'index' | 'epoch'>[]>;
  /** Results in line order after `afterLine`, until `bytesMax` payload bytes or `rowsMax` rows (at least one row if any). */
  page(
    batchSeq: number,
    query: {
      readonly afterLine: number;
      readonly bytesMax: number;
      readonly rowsMax: number;
      readonly ok?: boolean;
    },
  ): Promise<ResultRow[]>;
  /** The last line such that it and every request before it have a result; 0 when the first has none. */
  completeThrough(batchSeq: number): Promise<number>;
  /** How many results with this outcome lie at or before `throughLine`: lines of the produced file that are certain. */
  count(batchSeq: number, query: { readonly throughLine: number; readonly ok: boolean }): Promise<number>;
  /** Drops payloads and segments of terminal batches, a bounded number per call. True: more is left. */
  purge(rowsMax: number): Promise<boolean>;
}
