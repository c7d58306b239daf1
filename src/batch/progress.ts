import { isTerminal, type Batch } from '../contract/batch.ts';
import type { Clock } from '../core/clock.ts';
import { Meter } from './meter.ts';
import type { AdmissionQueue } from './admission/admission-queue.ts';
import { waitsForRoom, type QueuePlace } from './admission/room.ts';

/** What a batch is doing just now. `etaS` is null while nobody can know it. */
export interface LiveProgress {
  readonly requestsPerSecond: number;
  readonly etaS: number | null;
  readonly inFlight: number;
  /** Retries so far of lines that have no durable result yet. */
  readonly retries: number;
  /** Why the batch does not move. Null: it moves. */
  readonly waiting: string | null;
  /** Only failing lines are left. They are judged after a few more tries, so the wait has an end. */
  readonly endsByItself: boolean;
  /** The batch's place among those that wait for room. Null: it does not wait, or no pass has seen it yet. */
  readonly queue: QueuePlace | null;
  /** What the live batches of its deployment hold, and the limit, as the latest pass found them. Null: not known yet. */
  readonly enqueuedTokens: { readonly held: number | null; readonly limit: number | null };
}

interface ProgressDeps {
  readonly clock: Clock;
  readonly admissionQueue: AdmissionQueue;
  /** Undefined: the lines of the batch are not sent from here. */
  readonly activityOf: (batch: Batch) => Activity | undefined;
}

export type Activity = Pick<LiveProgress, 'inFlight' | 'retries' | 'waiting' | 'endsByItself'>;

/** What live batches are doing, as far as this process sees it. */
export class Progress {
  readonly #deps: ProgressDeps;
  /** The batches whose lines are sent from here, by `seq`. */
  readonly #meters = new Map<number, Meter>();

  constructor(deps: ProgressDeps) {
    this.#deps = deps;
  }

  /** The batch's lines are sent from here from now on. False: they were already. */
  begin({ seq, counts }: Batch): boolean {
    if (this.#meters.has(seq)) return false;
    this.#meters.set(seq, new Meter(this.#deps.clock, counts.completed + counts.failed));
    return true;
  }

  see({ seq, counts }: Batch): void {
    this.#meters.get(seq)?.read(counts.completed + counts.failed);
  }

  end(batchSeq: number): void {
    this.#meters.delete(batchSeq);
  }

  /** Undefined once the batch has ended. */
  of(batch: Batch): LiveProgress | undefined {
    if (isTerminal(batch.status)) return undefined;
    const { admissionQueue, activityOf } = this.#deps;
    const activity = activityOf(batch);
    const left = batch.counts.total - batch.counts.completed - batch.counts.failed;
    const meter = activity && this.#meters.get(batch.seq);
    const { held, limit } = admissionQueue.tokensOf(batch) ?? { held: null, limit: null };
    const waiting = activity ? activity.waiting : this.#validationWait(batch);
    return {
      requestsPerSecond: meter?.perSecond() ?? 0,
      etaS: waiting === null ? (meter?.secondsFor(left) ?? null) : null,
      inFlight: activity?.inFlight ?? 0,
      retries: activity?.retries ?? 0,
      waiting,
      endsByItself: activity?.endsByItself ?? false,
      queue: admissionQueue.place(batch),
      enqueuedTokens: { held, limit },
    };
  }

  isWaiting(batch: Batch): boolean {
    if (batch.status === 'validating')
      return batch.waitingTokens !== null || this.#deps.admissionQueue.tokensOf(batch)?.limit === null;
    return (this.#deps.activityOf(batch)?.waiting ?? null) !== null;
  }

  waitReason(batch: Batch): string {
    return this.of(batch)?.waiting ?? 'Waits for room.';
  }

  /** Why a batch is still being validated, if there is more to say than that. */
  #validationWait(batch: Batch): string | null {
    const { admissionQueue } = this.#deps;
    const tokens = admissionQueue.tokensOf(batch);
    if (batch.status !== 'validating' || batch.deployment === null || tokens === undefined) return null;
    if (tokens.limit === null) return deploymentIsGone(batch.deployment);
    const place = admissionQueue.place(batch);
    return place && waitsForRoom(batch.deployment, place, tokens);
  }
}

export const deploymentIsGone = (name: string): string =>
  `The deployment '${name}' is gone. Configure it again under the same name, or cancel the batch.`;
