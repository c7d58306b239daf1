import { isTerminal, type Batch, type BatchStatus, type TerminalStatus } from '../contract/batch.ts';
import { nowS, type Clock } from '../core/clock.ts';
import type { Log } from '../core/log.ts';
import type { BatchQueue, StageOutcome } from '../stores/queue/port.ts';
import type { BatchStore, DeploymentRoom } from '../stores/state/ports.ts';
import { deploymentKey, type DeploymentKey } from './deployment-key.ts';
import type { Dispatchers } from './dispatch/dispatchers.ts';
import type { LifecycleLog } from './lifecycle-log.ts';
import { isWaiting, type AdmissionQueue } from './admission/admission-queue.ts';
import { roomOf } from './admission/room.ts';
import { retryTransient } from './transient.ts';

type Stage = (batch: Batch) => Promise<StageOutcome>;
export type Stages = Readonly<Record<Exclude<BatchStatus, TerminalStatus>, Stage>>;

export interface SchedulerDeps {
  readonly queue: BatchQueue;
  readonly batches: Pick<BatchStore, 'live' | 'nextToStart' | 'bySeq'>;
  readonly dispatchers: Pick<Dispatchers, 'refresh'>;
  readonly admissionQueue: AdmissionQueue;
  readonly lifecycleLog: Pick<LifecycleLog, 'ended'>;
  readonly stages: Stages;
  /** A pass has seen these live batches. */
  readonly onPass: (live: readonly Batch[]) => Promise<void>;
  /** The batch is not worked on here any more. */
  readonly onRest: (batchSeq: number) => void;
  /** How often a pass is made when nothing is notified. */
  readonly tickMs: number;
  readonly clock: Clock;
  readonly random: () => number;
  readonly log: Log;
  readonly onFatal: (error: unknown) => void;
  /** The engine stops. */
  readonly signal: AbortSignal;
}

/**
 * Says which batches are worked on, and when; the queue says by whom.
 *
 * A pass reads every live batch and its deployment, and offers the queue those that can go on. There is a pass after each
 * change that is notified, and one every `tickMs`. A batch that the queue delivers goes through its stages until it ends, or
 * rests because it waits for room or for its deployment: then a later pass offers it again. From `start` until `signal` is
 * aborted there are passes and deliveries. After that none begins, and batches rest where they are.
 */
export class Scheduler {
  readonly #deps: SchedulerDeps;
  #passes: Promise<void> = Promise.resolve();
  /** Batches that went through a stage here since they last rested. When one of them rests, others are notified. */
  readonly #moved = new Set<number>();

  constructor(deps: SchedulerDeps) {
    this.#deps = deps;
  }

  start(): void {
    const { queue, onFatal } = this.#deps;
    queue.deliver((batchSeq) =>
      this.#work(batchSeq).catch((error: unknown) => {
        onFatal(error);
        return 'rests';
      }),
    );
    this.#passes = this.#run().catch(onFatal);
  }

  /** Call when `signal` is aborted. */
  async stop(): Promise<void> {
    await Promise.all([this.#deps.queue.stop(), this.#passes]);
  }

  /** Repeats `work` while it fails for a transient reason. Undefined when the engine stopped first. */
  async patiently<T>(work: () => Promise<T>): Promise<T | undefined> {
    const { signal } = this.#deps;
    try {
      return await retryTransient(work, this.#deps, signal);
    } catch (error) {
      if (signal.aborted && error === signal.reason) return undefined;
      throw error;
    }
  }

  /** Resolves at the next change after `since`, after a tick, or when the engine stops. */
  rest(since?: number): Promise<void> {
    const { queue, clock, tickMs, signal } = this.#deps;
    return queue.changes.wait(clock, { delayMs: tickMs, since, signal });
  }

  /** Offers the waiting batches of these deployments that can start now. */
  async startNext(rooms: readonly DeploymentRoom[]): Promise<void> {
    const { queue, batches, clock } = this.#deps;
    if (rooms.length > 0) await queue.offer(await batches.nextToStart(rooms, nowS(clock)));
  }

  async #run(): Promise<void> {
    const { queue, signal } = this.#deps;
    while (!signal.aborted) {
      // Read before the batches are: a change during the pass makes another pass follow.
      const { count } = queue.changes;
      await this.patiently(() => this.#pass());
      await this.rest(count);
    }
  }

  async #pass(): Promise<void> {
    const { queue, batches, dispatchers, admissionQueue, onPass } = this.#deps;
    admissionQueue.startPass();
    const live = await batches.live();
    const deployments = await dispatchers.refresh(live);
    admissionQueue.endPass(live, deployments);
    const rooms = new Map<DeploymentKey, DeploymentRoom>();
    const ready: number[] = [];
    for (const batch of live) {
      const { seq, status, resourceId } = batch;
      const key = deploymentKey(batch);
      const deployment = deployments.get(key);
      // A batch whose deployment is gone waits until that is back.
      if (status === 'validating' && batch.deployment !== null && deployment === undefined) continue;
      if (!isWaiting(batch) || deployment === undefined) ready.push(seq);
      else rooms.set(key, { resourceId, deployment: deployment.name, room: roomOf(deployment) });
    }
    await queue.offer(ready);
    await this.startNext([...rooms.values()]);
    await onPass(live);
  }

  /** Takes the batch through the stage that it is at. */
  async #work(batchSeq: number): Promise<StageOutcome> {
    const { batches, stages, lifecycleLog, queue, signal, onRest } = this.#deps;
    const batch = signal.aborted ? undefined : await this.patiently(() => batches.bySeq(batchSeq));
    if (batch !== undefined && !isTerminal(batch.status)) {
      const stage = stages[batch.status];
      if ((await this.patiently(() => stage(batch))) === 'goes_on') {
        this.#moved.add(batchSeq);
        return 'goes_on';
      }
    }
    onRest(batchSeq);
    if (this.#moved.delete(batchSeq)) {
      if (batch !== undefined && isTerminal(batch.status)) lifecycleLog.ended(batch);
      queue.notify();
    }
    return 'rests';
  }
}
