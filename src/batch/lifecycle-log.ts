import { isTerminal, type Batch } from '../contract/batch.ts';
import type { Scope } from '../contract/scope.ts';
import type { Clock } from '../core/clock.ts';
import type { Log } from '../core/log.ts';
import type { Progress } from './progress.ts';

interface LifecycleDeps {
  readonly log: Log;
  readonly clock: Clock;
  readonly progress: Pick<Progress, 'isWaiting' | 'waitReason'>;
  readonly waitLoggedAfterMs: number;
}

interface Wait {
  readonly sinceMs: number;
  isLogged: boolean;
}

/** Logs what becomes of each batch, each fact once. */
export class LifecycleLog {
  readonly #log: Log;
  readonly #deps: LifecycleDeps;
  /** The batches that wait, by `seq`. */
  #waits = new Map<number, Wait>();

  constructor(deps: LifecycleDeps) {
    this.#log = deps.log;
    this.#deps = deps;
  }

  /** Not for a create that is repeated. A batch whose file is faulty has ended when it is created. */
  created(batch: Batch, { actor }: Scope): void {
    const { inputFileId: file, endpoint } = batch;
    this.#log.event('batch.created', { ...namesOf(batch), file, endpoint, actor });
    if (isTerminal(batch.status)) this.ended(batch);
  }

  planned(batch: Batch, plan: { deployment: string; total: number; tokens: number }): void {
    this.#log.event('batch.planned', { ...namesOf(batch), ...plan });
  }

  started(batch: Batch, deployment: string): void {
    this.#log.event('batch.started', { ...namesOf(batch), deployment, ...batch.counts });
  }

  ended(batch: Batch): void {
    const { status, createdAt, counts, usage, retries, resent, errors } = batch;
    const endedAt = batch.completedAt ?? batch.failedAt ?? batch.cancelledAt ?? batch.expiredAt ?? createdAt;
    this.#log.event('batch.ended', {
      ...namesOf(batch),
      outcome: status,
      ...counts,
      inputTokens: usage.inputTokens,
      outputTokens: usage.outputTokens,
      retries,
      resent,
      durationMs: (endedAt - createdAt) * 1_000,
      reason: errors?.data[0]?.message,
    });
  }

  /** Call it with all live batches. A wait is logged once it has lasted: a pause of a second is no news. */
  waits(live: readonly Batch[]): void {
    const { clock, progress, waitLoggedAfterMs } = this.#deps;
    const nowMs = clock.mono();
    const waits = new Map<number, Wait>();
    for (const batch of live) {
      const known = this.#waits.get(batch.seq);
      if (!progress.isWaiting(batch)) {
        if (known?.isLogged)
          this.#log.event('batch.resumed', { ...namesOf(batch), afterMs: Math.round(nowMs - known.sinceMs) });
        continue;
      }
      const wait = known ?? { sinceMs: nowMs, isLogged: false };
      if (!wait.isLogged && nowMs - wait.sinceMs >= waitLoggedAfterMs) {
        this.#log.event('batch.waiting', { ...namesOf(batch), reason: progress.waitReason(batch) });
        wait.isLogged = true;
      }
      waits.set(batch.seq, wait);
    }
    this.#waits = waits;
  }
}

const namesOf = ({ id, resourceId, deployment }: Batch) => ({
  batch: id,
  resource: resourceId,
  deployment,
});
