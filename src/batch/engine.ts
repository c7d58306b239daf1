import type { Batch, BatchErrors } from '../contract/batch.ts';
import type { Scope } from '../contract/scope.ts';
import { assert } from '../core/assert.ts';
import { nowS, type Clock } from '../core/clock.ts';
import type { Failpoint } from '../core/failpoint.ts';
import type { UuidSource } from '../core/ids.ts';
import type { Log } from '../core/log.ts';
import { RetryStorms } from '../serving/retry-storm.ts';
import type { Deployments } from '../deployments/port.ts';
import type { Servers } from '../serving/servers.ts';
import type { BlobStore } from '../stores/blobs/port.ts';
import type { BatchQueue, StageOutcome } from '../stores/queue/port.ts';
import type { StateStore } from '../stores/state/ports.ts';
import { Dispatchers } from './dispatch/dispatchers.ts';
import type { SuspectTurn } from './dispatch/poison/process-crashes.ts';
import { finalize } from './finalize/finalize.ts';
import { damageText, InputDamage, Inputs, type Input } from './inputs.ts';
import { Inspections } from './inspections.ts';
import { LifecycleLog } from './lifecycle-log.ts';
import { Progress, type LiveProgress } from './progress.ts';
import { AdmissionQueue } from './admission/admission-queue.ts';
import { createBatch, type CreateBatch } from './admission/create.ts';
import { faulty, judge } from './admission/judge.ts';
import { roomOf, tokenLimitExceeded } from './admission/room.ts';
import { Recorder } from './results/recorder.ts';
import { Scheduler, type Stages } from './scheduler.ts';
import type { Inspector } from './validate/port.ts';

export interface EngineOptions {
  /** How many results are committed together. Null: the number follows the largest concurrency of a deployment with work. */
  readonly commitGroupMax: number | null;
  readonly commitLingerMs: number;
  readonly commitBytesMax: number;
  /** Attempts of a line beyond its first that may be held against it. */
  readonly retriesMax: number;
  readonly retryBaseMs: number;
  readonly retryCapMs: number;
  readonly acceptedBefore: boolean;
  /** How long a create waits for the inspection of its file. */
  readonly createWaitMs: number;
  /** How long requests in flight may go on after a cancel. */
  readonly cancelGraceMs: number;
  /** How often the live batches are read when nothing is notified. */
  readonly tickMs: number;
  /** Whether a batch ends as `expired` when its completion window is over. The original never does that. */
  readonly strictWindow: boolean;
  /** How long a batch waits before its wait is logged. */
  readonly waitLoggedAfterMs: number;
}

/** These options have their defaults in `config/options.ts`. */
type ConfiguredOption = 'retriesMax' | 'strictWindow';

const ENGINE_DEFAULTS: Omit<EngineOptions, ConfiguredOption> = {
  commitGroupMax: null,
  commitLingerMs: 2,
  commitBytesMax: 8 * 1024 * 1024,
  retryBaseMs: 500,
  retryCapMs: 60_000,
  acceptedBefore: false,
  createWaitMs: 30_000,
  cancelGraceMs: 10_000,
  tickMs: 1_000,
  waitLoggedAfterMs: 10_000,
};

export interface EngineDeps {
  readonly clock: Clock;
  readonly random: () => number;
  readonly uuid: UuidSource;
  readonly state: StateStore;
  readonly blobs: BlobStore;
  readonly deployments: Deployments;
  readonly inspect: Inspector;
  readonly log: Log;
  readonly failpoint: Failpoint;
  readonly queue: BatchQueue;
  /** Takes back what dead processes held. */
  readonly reclaim: () => ReturnType<StateStore['work']['reclaim']>;
  readonly servers: Servers;
  readonly suspectTurn: SuspectTurn;
  /** The id under which this process claims segments: no other process of this store has ever had it. */
  readonly workerId: string;
  /** Whether results could be stored now. While they could not, nothing is sent (P10). */
  readonly hasDiskSpace: () => boolean;
  /** The engine can no longer keep its promises: the process must end. A restart resumes. */
  readonly onFatal: (error: unknown) => void;
  readonly options: Pick<EngineOptions, ConfiguredOption> & Partial<EngineOptions>;
}

const PURGE_ROWS = 2_000;
const STOPPED = new Error('the engine stops');

/**
 * Runs every live batch to its end, from `start` to `stop`. The scheduler says when a batch goes on; the batches of a deployment
 * share a dispatcher. An engine that stops sends nothing new, leaves batches where they are, and is never started again.
 */
export class Engine {
  readonly #deps: EngineDeps;
  readonly #options: EngineOptions;
  readonly #recorder: Recorder;
  readonly #dispatchers: Dispatchers;
  readonly #lifecycleLog: LifecycleLog;
  readonly #inputs: Inputs;
  readonly #inspections: Inspections;
  readonly #retryStorms: RetryStorms;
  readonly #admissionQueue = new AdmissionQueue();
  readonly #progress: Progress;
  readonly #scheduler: Scheduler;
  readonly #stopping = new AbortController();

  constructor(deps: EngineDeps) {
    const { state, blobs } = deps;
    const { signal } = this.#stopping;
    this.#deps = deps;
    this.#options = { ...ENGINE_DEFAULTS, ...deps.options };
    this.#recorder = new Recorder(
      { ...deps, results: state.results },
      {
        groupMax: this.#options.commitGroupMax,
        lingerMs: this.#options.commitLingerMs,
        groupBytesMax: this.#options.commitBytesMax,
      },
    );
    this.#inputs = new Inputs({ files: state.files, blobs });
    this.#inspections = new Inspections({ ...deps, files: state.files, inputs: this.#inputs, signal });
    this.#retryStorms = new RetryStorms(deps);
    this.#dispatchers = new Dispatchers(
      {
        ...deps,
        work: state.work,
        inputs: this.#inputs,
        recorder: this.#recorder,
        retryStorms: this.#retryStorms,
      },
      this.#options,
    );
    const activityOf = (batch: Batch) => this.#dispatchers.get(batch)?.activity(batch.seq);
    this.#progress = new Progress({ ...deps, admissionQueue: this.#admissionQueue, activityOf });
    const { tickMs, waitLoggedAfterMs } = this.#options;
    this.#lifecycleLog = new LifecycleLog({ ...deps, progress: this.#progress, waitLoggedAfterMs });
    this.#scheduler = new Scheduler({
      ...deps,
      batches: state.batches,
      dispatchers: this.#dispatchers,
      admissionQueue: this.#admissionQueue,
      lifecycleLog: this.#lifecycleLog,
      stages: this.#stages,
      onPass: (live) => this.#afterPass(live),
      onRest: (batchSeq) => this.#progress.end(batchSeq),
      tickMs,
      signal,
    });
  }

  /** Takes back what dead processes held, and resumes every live batch. */
  async start(): Promise<void> {
    const taken = await this.#deps.reclaim();
    if (taken.segments > 0) this.#deps.log.event('segments.taken_back', taken);
    this.#scheduler.start();
  }

  /** A batch or a deployment has changed. */
  notify(): void {
    this.#deps.queue.notify();
  }

  /** Deployments or their upstreams have changed: when this resolves, every request from now on goes where they say. */
  async redeploy(): Promise<void> {
    await this.#scheduler.patiently(() => this.#dispatchers.refresh([]));
    this.notify();
  }

  /** Sends nothing new, lets requests in flight finish for `drainMs`, and makes their results durable. */
  async stop({ drainMs }: { readonly drainMs: number }): Promise<void> {
    this.#stopping.abort(STOPPED);
    this.#dispatchers.stopAll(drainMs);
    await this.#scheduler.stop();
    await this.#recorder.flush();
  }

  readonly createBatch: CreateBatch = (scope, request) =>
    createBatch(scope, request, {
      ...this.#deps,
      files: this.#deps.state.files,
      batches: this.#deps.state.batches,
      inspectSoon: (caller, file) => this.#inspections.soon(caller, file, this.#options.createWaitMs),
      notify: () => this.notify(),
      noteCreated: (batch) => this.#lifecycleLog.created(batch, scope),
      noteHeld: (batch, deployment, held) => this.#admissionQueue.add(batch, deployment, held),
    });

  progress(batch: Batch): LiveProgress | undefined {
    return this.#progress.of(batch);
  }

  /**
   * The order of the stages. Each moves the batch on in the store, so that after a restart the batch goes on at the same
   * place.
   */
  readonly #stages: Stages = {
    validating: (batch) => this.#validate(batch),
    in_progress: (batch) =>
      this.#isOver(batch)
        ? this.#finalize(batch, { from: 'in_progress', to: 'expired' })
        : this.#dispatch(batch),
    finalizing: (batch) => this.#finalize(batch, { from: 'finalizing', to: 'completed' }),
    cancelling: (batch) => this.#finalize(batch, { from: 'cancelling', to: 'cancelled' }),
  };

  async #validate(batch: Batch): Promise<StageOutcome> {
    const { state, deployments, clock, failpoint } = this.#deps;
    const scope: Scope = { resourceId: batch.resourceId, actor: 'engine' };
    const inspection = await this.#inspections.of(scope, inputOf(batch)).catch((error: unknown) => {
      if (error instanceof InputDamage) return error;
      throw error;
    });
    if (inspection instanceof InputDamage) return this.#endDamaged(batch, inspection);
    const verdict = await judge(scope, inspection, batch, deployments);
    failpoint('validate:before-plan');
    if (verdict.kind === 'faulty') {
      // Its deployment has gone since the batch was created: the batch waits until the deployment is back.
      const hadOne = batch.deployment !== null && batch.deployment === inspection.model;
      if (hadOne && verdict.errors.data.every(({ code }) => code === 'model_not_found')) return 'rests';
      return this.#fail(batch, 'validating', verdict);
    }
    const { deployment } = verdict;
    const { requests: total, tokens, segments } = inspection;
    const room = roomOf(deployment);
    const planned = await state.batches.plan(batch.seq, {
      atS: nowS(clock),
      deployment: deployment.name,
      enqueuedTokens: tokens,
      room,
      whenFull: deployment.whenFull,
      requests: total,
      segments,
    });
    if (planned === 'token_limit_exceeded')
      await this.#fail(batch, 'validating', faulty(tokenLimitExceeded(deployment, tokens)));
    if (planned === 'planned') {
      this.#lifecycleLog.planned(batch, { deployment: deployment.name, total, tokens });
      if (batch.waitingTokens !== null) {
        // Waiting batches start one at a time, and the others move up.
        this.#admissionQueue.started(batch, tokens);
        const { resourceId } = batch;
        await this.#scheduler.startNext([{ resourceId, deployment: deployment.name, room }]);
      }
    }
    failpoint('validate:after-plan');
    return planned === 'waiting' ? 'rests' : 'goes_on';
  }

  async #dispatch(batch: Batch): Promise<StageOutcome> {
    const { state, clock } = this.#deps;
    const { deployment } = batch;
    assert(deployment !== null, 'a planned batch has a deployment');
    if (this.#progress.begin(batch)) this.#lifecycleLog.started(batch, deployment);
    const dispatcher = await this.#dispatchers.of({ ...batch, deployment });
    if (this.#stopping.signal.aborted) return 'rests';
    try {
      await dispatcher.run(batch);
    } catch (error) {
      if (!(error instanceof InputDamage)) throw error;
      return this.#endDamaged(batch, error);
    }
    if (await state.batches.startFinalizing(batch.seq, nowS(clock))) return 'goes_on';
    // Either it was cancelled or has expired: the next stage sees that. Or others have its last segments: it is read again later.
    const now = await state.batches.bySeq(batch.seq);
    if (now?.status === 'in_progress' && !this.#isOver(now)) await this.#scheduler.rest();
    return 'goes_on';
  }

  async #finalize(batch: Batch, ending: Parameters<typeof finalize>[1]): Promise<StageOutcome> {
    const { batches, results } = this.#deps.state;
    await finalize(batch, ending, { ...this.#deps, batches, results, inputs: this.#inputs });
    return 'goes_on';
  }

  /** Ends this batch alone. Its recorded results are published, since they were paid for. */
  async #endDamaged({ seq, ...batch }: Batch, damage: InputDamage): Promise<StageOutcome> {
    const now = await this.#deps.state.batches.bySeq(seq);
    if (now?.status !== batch.status || (now.status !== 'validating' && now.status !== 'in_progress'))
      return 'goes_on';
    const { id, resourceId: resource, inputFileId: file } = now;
    this.#deps.log.event('input.damaged', { batch: id, resource, file, reason: damage.message });
    const { errors } = faulty(inputDamaged(now, damage));
    const { completed, failed } = now.counts;
    if (now.status === 'validating' || completed + failed === 0)
      return this.#fail(now, now.status, { errors });
    return this.#finalize(now, { from: now.status, to: 'failed', errors });
  }

  /** Fails the batch if it is still in the state `from`: another process may have moved it on since. */
  async #fail(
    { seq }: Batch,
    from: 'validating' | 'in_progress',
    { errors }: { readonly errors: BatchErrors },
  ): Promise<StageOutcome> {
    const { state, clock } = this.#deps;
    await state.batches.fail(seq, { from, atS: nowS(clock), errors });
    return 'goes_on';
  }

  /** A pass has read these batches. */
  async #afterPass(live: readonly Batch[]): Promise<void> {
    for (const batch of live) {
      this.#progress.see(batch);
      if (batch.status === 'cancelling' || this.#isOver(batch))
        this.#dispatchers.get(batch)?.stopBatch(batch.seq, this.#options.cancelGraceMs);
    }
    this.#lifecycleLog.waits(live);
    this.#dispatchers.wake();
    this.#retryStorms.report();
    while (!this.#stopping.signal.aborted && (await this.#deps.state.results.purge(PURGE_ROWS)));
  }

  #isOver({ status, expiresAt }: Batch): boolean {
    const { strictWindow } = this.#options;
    return strictWindow && status === 'in_progress' && nowS(this.#deps.clock) >= expiresAt;
  }
}

const inputOf = ({ inputFileId: id, inputBlobId: blobId }: Batch): Input => ({ id, blobId });

const inputDamaged = ({ inputFileId, counts }: Batch, damage: InputDamage) =>
  ({
    code: damage.kind === 'missing' ? 'input_no_permissions' : 'input_modified',
    message: `${damageText(inputFileId, damage)} ${counts.completed + counts.failed} of ${counts.total} requests were done by then; what came of them is kept in the batch's files. Upload the file again, and create a new batch for the rest.`,
    param: 'input_file_id',
    line: null,
  }) as const;
