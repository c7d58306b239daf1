import { isTerminal, type Batch, type BatchErrors, type BatchStatus } from '../contract/batch.ts';
import { ApiError } from '../contract/error.ts';
import type { Inspection } from '../contract/inspection.ts';
import type { Scope } from '../contract/scope.ts';
import { assert } from '../core/assert.ts';
import { Bell } from '../core/bell.ts';
import { nowS, type Clock } from '../core/clock.ts';
import type { Failpoint } from '../core/failpoint.ts';
import type { UuidSource } from '../core/ids.ts';
import type { Log } from '../core/log.ts';
import { RetryStorms } from '../core/retry-storm.ts';
import type { Deployments } from '../deployments/port.ts';
import type { BlobStore } from '../stores/blobs/port.ts';
import { Servers } from '../serving/servers.ts';
import type { StateStore } from '../stores/state/ports.ts';
import type { SuspectTurn } from './dispatch/poison/process-crashes.ts';
import { Dispatchers, gone } from './dispatch/dispatchers.ts';
import type { OutputsAlong } from './finalize/along.ts';
import { finalize } from './finalize/finalize.ts';
import { createBatch, type CreateBatch } from './queue/create.ts';
import { faulty, judge } from './queue/judge.ts';
import { AdmissionQueue } from './queue/admission-queue.ts';
import { roomOf, tokenLimitExceeded, waitsForRoom } from './queue/room.ts';
import { BatchJournal, type WaitOf } from './journal.ts';
import { damageText, InputDamage, Inputs, readingInput, type Input } from './inputs.ts';
import { retryTransient } from './transient.ts';
import { Meter, type LiveProgress } from './progress.ts';
import { Recorder } from './results/recorder.ts';
import type { Inspector } from './validate/port.ts';

export interface EngineOptions {
  /** Null: by the widest window of the deployments that have work. */
  readonly commitGroupMax: number | null;
  readonly commitLingerMs: number;
  readonly commitBytesMax: number;
  /** Attempts of a line beyond its first that may be held against it. */
  readonly maxRetries: number;
  readonly retryBaseMs: number;
  readonly retryCapMs: number;
  readonly acceptedBefore: boolean;
  /** How long a create waits for the inspection of its file. */
  readonly createWaitMs: number;
  /** How long requests in flight may go on after a cancel. */
  readonly cancelGraceMs: number;
  /** How often the store is asked for batches that others made or cancelled. */
  readonly tickMs: number;
  /** True: a batch ends as `expired` when its window does. The original never does that. */
  readonly strictWindow: boolean;
  /** A batch that waits for so long is told in the log. */
  readonly waitToldAfterMs: number;
}

const ENGINE_DEFAULTS: EngineOptions = {
  commitGroupMax: null,
  commitLingerMs: 2,
  commitBytesMax: 8 * 1024 * 1024,
  maxRetries: 5,
  retryBaseMs: 500,
  retryCapMs: 60_000,
  acceptedBefore: false,
  createWaitMs: 30_000,
  cancelGraceMs: 10_000,
  tickMs: 1_000,
  strictWindow: false,
  waitToldAfterMs: 10_000,
};

export interface EngineDeps {
  readonly clock: Clock;
  readonly random: () => number;
  readonly uuid: UuidSource;
  readonly state: StateStore;
  readonly blobs: BlobStore;
  readonly deployments: Deployments;
  readonly inspect: Inspector;
  /** Writes large outputs while their batches run. */
  readonly along: OutputsAlong;
  readonly log: Log;
  readonly failpoint: Failpoint;
  /** Names this process among all that ever held segments of this store. */
  readonly owner: string;
  /** False: the disk is nearly full, and nothing must be paid for that could not be stored (P10). */
  readonly hasDiskSpace: () => boolean;
  /** The engine can no longer keep its promises: the process must end. A restart resumes. */
  readonly onFatal: (error: unknown) => void;
  readonly options?: Partial<EngineOptions>;
}

const PURGE_ROWS = 2_000;

/** Runs every live batch to its end. One task per batch walks the stages; dispatchers are shared per deployment. */
export class Engine {
  readonly #deps: EngineDeps;
  readonly #options: EngineOptions;
  readonly #recorder: Recorder;
  readonly #dispatchers: Dispatchers;
  readonly #journal: BatchJournal;
  readonly #inputs: Inputs;
  readonly #retryStorms: RetryStorms;
  readonly #admissionQueue = new AdmissionQueue();
  readonly #tasks = new Map<number, Promise<void>>();
  readonly #meters = new Map<number, Meter>();
  readonly #inspections = new Map<string, Promise<Inspection>>();
  readonly #stopping = new AbortController();
  #ticking: Promise<void> | null = null;
  readonly #changes = new Bell();

  constructor(deps: EngineDeps) {
    this.#deps = deps;
    this.#options = { ...ENGINE_DEFAULTS, ...deps.options };
    this.#recorder = new Recorder(
      { ...deps, results: deps.state.results },
      {
        groupMax: this.#options.commitGroupMax,
        lingerMs: this.#options.commitLingerMs,
        groupBytesMax: this.#options.commitBytesMax,
      },
    );
    this.#journal = new BatchJournal(deps, this.#options.waitToldAfterMs);
    this.#inputs = new Inputs({ files: deps.state.files, blobs: deps.blobs });
    this.#retryStorms = new RetryStorms(deps);
    const suspectTurn: SuspectTurn = { line: null };
    this.#dispatchers = new Dispatchers(
      {
        ...deps,
        work: deps.state.work,
        blobs: this.#inputs,
        recorder: this.#recorder,
        recorded: deps.along.recorded,
        suspectTurn,
        servers: new Servers(deps),
        retryStorms: this.#retryStorms,
      },
      this.#options,
    );
  }

  /** Takes back what a dead process held, and resumes every live batch. Call once, as the store's only engine. */
  async start(): Promise<void> {
    const taken = await this.#deps.state.work.reclaim(this.#deps.owner);
    if (taken.segments > 0) this.#deps.log.event('segments.taken_back', taken);
    this.#ticking = this.#tick().catch(this.#deps.onFatal);
  }

  /** Something changed in the store: look now rather than at the next tick. */
  wake(): void {
    this.#changes.ring();
  }

  /** Deployments or their upstreams have changed: when this resolves, every request from now on goes where they say. */
  async redeploy(): Promise<void> {
    await this.#patiently(() => this.#dispatchers.refresh([]));
    this.wake();
  }

  /** Sends nothing new, lets requests in flight finish for `drainMs`, and makes their results durable. */
  async stop({ drainMs }: { readonly drainMs: number }): Promise<void> {
    this.#stopping.abort(STOPPED);
    this.#dispatchers.stopAll(drainMs);
    await Promise.all([...this.#tasks.values(), this.#ticking]);
    await this.#recorder.flush();
  }

  readonly createBatch: CreateBatch = (scope, request) =>
    createBatch(scope, request, {
      ...this.#deps,
      files: this.#deps.state.files,
      batches: this.#deps.state.batches,
      inspectSoon: (owner, file) => this.#inspectSoon(owner, file),
      wake: () => this.wake(),
      noteCreated: (batch) => this.#journal.created(batch, scope),
      noteHeld: (batch, deployment, held) => this.#admissionQueue.add(batch, deployment, held),
    });

  /** Undefined once the batch has ended. */
  progress(batch: Batch): LiveProgress | undefined {
    if (isTerminal(batch.status)) return undefined;
    const activity = this.#dispatchers.get(batch)?.activity(batch.seq);
    const left = batch.counts.total - batch.counts.completed - batch.counts.failed;
    const meter = activity && this.#meters.get(batch.seq);
    const requestsPerSecond = meter?.perSecond() ?? 0;
    const { held, limit } = this.#admissionQueue.of(batch) ?? { held: null, limit: null };
    const waiting = activity ? activity.waiting : this.#waitsFor(batch);
    return {
      requestsPerSecond,
      etaS: waiting === null ? (meter?.secondsFor(left) ?? null) : null,
      inFlight: activity?.inFlight ?? 0,
      retries: activity?.retries ?? 0,
      waiting,
      endsByItself: activity?.endsByItself ?? false,
      queue: this.#admissionQueue.place(batch),
      enqueuedTokens: { held, limit },
    };
  }

  /** Why a batch is still being validated, if there is more to say than that. */
  #waitsFor(batch: Batch): string | null {
    const quota = this.#admissionQueue.of(batch);
    if (batch.status !== 'validating' || batch.deployment === null || quota === undefined) return null;
    if (quota.limit === null) return gone(batch.deployment);
    const place = this.#admissionQueue.place(batch);
    return place && waitsForRoom(batch.deployment, place, quota);
  }

  readonly #waits: WaitOf = {
    isWaiting: (batch) => {
      if (batch.status === 'validating')
        return batch.waitingTokens !== null || this.#admissionQueue.of(batch)?.limit === null;
      const activity = this.#dispatchers.get(batch)?.activity(batch.seq);
      return activity !== undefined && activity.waiting !== null;
    },
    reasonOf: (batch) => this.progress(batch)?.waiting ?? 'Waits for room.',
  };

  async #tick(): Promise<void> {
    while (!this.#stopping.signal.aborted) {
      // From before the look: what changes meanwhile makes it look again.
      const heard = this.#changes.rings;
      await this.#patiently(async () => {
        this.#admissionQueue.startLook();
        const live = await this.#deps.state.batches.live();
        this.#admissionQueue.look(live, await this.#dispatchers.refresh(live), nowS(this.#deps.clock));
        for (const batch of live) this.#attend(batch);
        this.#journal.look(live, this.#waits);
        await this.#purge();
      });
      this.#dispatchers.wake();
      this.#retryStorms.tell();
      await this.#rest(this.#options.tickMs, heard);
    }
  }

  /** Starts the batch's task, or tells the one that runs what has changed. */
  #attend(batch: Batch): void {
    if (this.#stopping.signal.aborted) return;
    const { seq } = batch;
    const running = this.#dispatchers.get(batch);
    this.#meters.get(seq)?.read(batch.counts.completed + batch.counts.failed);
    if (batch.status === 'cancelling') running?.stopBatch(seq, this.#options.cancelGraceMs);
    if (this.#isOver(batch)) running?.stopBatch(seq, this.#options.cancelGraceMs);
    if (this.#tasks.has(seq) || !this.#admissionQueue.hasTurn(batch)) return;
    const task = this.#run(seq)
      .catch(this.#deps.onFatal)
      .finally(() => {
        this.#tasks.delete(seq);
        this.#meters.delete(seq);
        this.wake();
      });
    this.#tasks.set(seq, task);
  }

  /** The order of the stages. Each moves the batch on in the store, so a restart goes on at the same place. */
  async #run(seq: number): Promise<void> {
    const steps: BatchStatus[] = [];
    try {
      while (!this.#stopping.signal.aborted) {
        const batch = await this.#patiently(() => this.#deps.state.batches.bySeq(seq));
        if (batch === undefined) return;
        // One that had ended before this task began was told by another.
        if (isTerminal(batch.status) && steps.length > 0) this.#journal.ended(batch);
        if (isTerminal(batch.status) || !this.#admissionQueue.takeTurn(batch)) return;
        const { deployment } = batch;
        if (batch.status === 'in_progress' && deployment !== null && !steps.includes('in_progress'))
          this.#journal.started(batch, deployment);
        if (steps.at(-1) !== batch.status) steps.push(batch.status);
        await this.#patiently(() => this.#step(batch));
      }
    } finally {
      await this.#deps.along.drop(seq);
    }
  }

  async #step(batch: Batch): Promise<void> {
    const stores = this.#finalizeDeps();
    switch (batch.status) {
      case 'validating':
        return this.#validate(batch);
      case 'in_progress':
        if (this.#isOver(batch)) {
          await finalize(batch, { from: 'in_progress', to: 'expired' }, stores);
          return;
        }
        return this.#dispatch(batch);
      case 'finalizing':
        await finalize(batch, { from: 'finalizing', to: 'completed' }, stores);
        return;
      case 'cancelling':
        await finalize(batch, { from: 'cancelling', to: 'cancelled' }, stores);
        return;
      case 'completed':
      case 'failed':
      case 'cancelled':
      case 'expired':
        return;
    }
  }

  #finalizeDeps() {
    const { state, blobs, along, clock, uuid, failpoint, log } = this.#deps;
    const { batches, results } = state;
    return { batches, results, blobs, inputs: this.#inputs, along, clock, uuid, failpoint, log };
  }

  async #validate(batch: Batch): Promise<void> {
    const { state, deployments, clock } = this.#deps;
    const scope = scopeOf(batch);
    const inspection = await this.#inspect(scope, inputOf(batch)).catch((error: unknown) => {
      if (error instanceof InputDamage) return error;
      throw error;
    });
    if (inspection instanceof InputDamage) return this.#endDamaged(batch, inspection);
    const verdict = await judge(scope, inspection, batch, deployments);
    this.#deps.failpoint('validate:before-plan');
    if (verdict.kind === 'faulty') {
      // Its deployment has gone since it was created: `AdmissionQueue` keeps it until that is back.
      const hadOne = batch.deployment !== null && batch.deployment === inspection.model;
      if (hadOne && verdict.errors.data.every(({ code }) => code === 'model_not_found'))
        return this.#rest(this.#options.tickMs);
      return this.#fail(batch, 'validating', verdict);
    }
    const { deployment } = verdict;
    const planned = await state.batches.plan(batch.seq, {
      atS: nowS(clock),
      deployment: deployment.name,
      enqueuedTokens: inspection.tokens,
      room: roomOf(deployment),
      whenFull: deployment.whenFull,
      requests: inspection.requests,
      segments: inspection.segments,
    });
    if (planned === 'token_limit_exceeded') {
      await this.#fail(batch, 'validating', faulty(tokenLimitExceeded(deployment, inspection.tokens)));
    }
    if (planned === 'planned') {
      const { requests: total, tokens } = inspection;
      this.#journal.planned(batch, { deployment: deployment.name, total, tokens });
    }
    // Others may have waited for this one to start.
    if (planned === 'planned' && batch.waitingTokens !== null) this.wake();
    this.#deps.failpoint('validate:after-plan');
  }

  async #dispatch(batch: Batch): Promise<void> {
    const { state, along, clock } = this.#deps;
    const { deployment } = batch;
    assert(deployment !== null, 'a planned batch has a deployment');
    const dispatcher = await this.#dispatchers.of({ ...batch, deployment });
    if (!this.#meters.has(batch.seq)) {
      this.#meters.set(batch.seq, new Meter(clock, batch.counts.completed + batch.counts.failed));
    }
    if (this.#stopping.signal.aborted) return;
    along.follow(batch);
    try {
      await dispatcher.run(batch);
    } catch (error) {
      if (!(error instanceof InputDamage)) throw error;
      return this.#endDamaged(batch, error);
    }
    if (await state.batches.startFinalizing(batch.seq, nowS(clock))) return;
    // Cancelled or expired, which the next step sees; or others hold the last segments.
    const now = await state.batches.bySeq(batch.seq);
    if (now?.status === 'in_progress' && !this.#isOver(now)) await this.#rest(this.#options.tickMs);
  }

  /** Ends this batch alone. What was recorded is published: it was paid for. */
  async #endDamaged({ seq, ...batch }: Batch, damage: InputDamage): Promise<void> {
    const now = await this.#deps.state.batches.bySeq(seq);
    if (now?.status !== batch.status || (now.status !== 'validating' && now.status !== 'in_progress')) return;
    const { id, resourceId: resource, inputFileId: file } = now;
    this.#deps.log.event('input.damaged', { batch: id, resource, file, reason: damage.message });
    const { errors } = faulty(inputDamaged(now, damage));
    const { completed, failed } = now.counts;
    if (now.status === 'validating' || completed + failed === 0)
      return this.#fail(now, now.status, { errors });
    await finalize(now, { from: now.status, to: 'failed', errors }, this.#finalizeDeps());
  }

  /** Only from the state that it was found in: another process may have moved it on since. */
  async #fail(
    { seq }: Batch,
    from: 'validating' | 'in_progress',
    { errors }: { readonly errors: BatchErrors },
  ): Promise<void> {
    const { state, clock } = this.#deps;
    await state.batches.fail(seq, { from, atS: nowS(clock), errors });
  }

  #isOver(batch: Batch): boolean {
    return (
      this.#options.strictWindow &&
      batch.status === 'in_progress' &&
      nowS(this.#deps.clock) >= batch.expiresAt
    );
  }

  async #inspectSoon(scope: Scope, input: Input): Promise<Inspection | undefined> {
    const timer = new AbortController();
    const late = this.#deps.clock.sleep(this.#options.createWaitMs, timer.signal).catch(() => undefined);
    try {
      return (await Promise.race([this.#inspect(scope, input), late])) ?? undefined;
    } catch (error) {
      throw error === STOPPED ? stopsNow() : error;
    } finally {
      timer.abort();
    }
  }

  /** From the store, or by one pass that all who ask meanwhile share. */
  async #inspect(scope: Scope, { id: fileId, blobId }: Input): Promise<Inspection> {
    const { files } = this.#deps.state;
    const known = await files.inspection(scope, fileId);
    if (known !== undefined) return known;
    const running = this.#inspections.get(blobId);
    if (running !== undefined) return running;
    const inspecting = (async () => {
      await this.#inputs.check(blobId);
      const inspection = await readingInput(() => this.#deps.inspect(blobId, this.#stopping.signal));
      await files.saveInspection(scope, fileId, inspection);
      return inspection;
    })().finally(() => this.#inspections.delete(blobId));
    this.#inspections.set(blobId, inspecting);
    return inspecting;
  }

  async #purge(): Promise<void> {
    while (!this.#stopping.signal.aborted && (await this.#deps.state.results.purge(PURGE_ROWS)));
  }

  /** Undefined when the engine stopped first. */
  async #patiently<T>(work: () => Promise<T>): Promise<T | undefined> {
    try {
      return await retryTransient(work, this.#deps, this.#stopping.signal);
    } catch (error) {
      if (error === STOPPED) return undefined;
      throw error;
    }
  }

  /** Until the delay is over, something happens, or the engine stops. */
  #rest(delayMs: number, heard?: number): Promise<void> {
    return this.#changes.rest(this.#deps.clock, { delayMs, heard, signal: this.#stopping.signal });
  }
}

const STOPPED = new Error('the engine stops');
const stopsNow = (): ApiError =>
  new ApiError('notReady', 'The service is being stopped. Create the batch again when it is back.', {
    retryAfterS: 5,
    cause: STOPPED,
  });

const inputDamaged = ({ inputFileId, counts }: Batch, damage: InputDamage) =>
  ({
    code: damage.kind === 'missing' ? 'input_no_permissions' : 'input_modified',
    message: `${damageText(inputFileId, damage)} ${counts.completed + counts.failed} of ${counts.total} requests were done by then; what came of them is kept in the batch's files. Upload the file again, and create a new batch for the rest.`,
    param: 'input_file_id',
    line: null,
  }) as const;

const inputOf = ({ inputFileId: id, inputBlobId: blobId }: Batch): Input => ({ id, blobId });

const scopeOf = (batch: Batch): Scope => ({ resourceId: batch.resourceId, actor: 'engine' });
