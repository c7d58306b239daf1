import type { Notifier } from '../../core/notifier.ts';

/**
 * Delivers batches to those who work on them, and tells every process of changes.
 *
 * Invariant: the rows of the state store alone say what there is to do. A batch is work as long as it is live, and whoever
 * sees it live offers it again. So a queue may lose, repeat or delay an offer, and no batch is lost by it.
 */
export interface BatchQueue {
  /**
   * Delivers offered batches from now on, each to one worker at a time, over all processes. The work of a process that died
   * goes to another one.
   */
  deliver(work: Work): void;
  /** These batches are to be worked on, by any process. */
  offer(batchSeqs: readonly number[]): Promise<void>;
  /** A batch or a deployment has changed. Every process hears of it within two seconds. */
  notify(): void;
  /** What any process has notified. */
  readonly changes: Pick<Notifier, 'count' | 'wait'>;
  /** Delivers nothing more, and resolves when the work that was delivered is done. */
  stop(): Promise<void>;
}

/** Takes a batch through one stage. Never rejects. */
export type Work = (batchSeq: number) => Promise<StageOutcome>;

/** `goes_on`: the batch may have another stage, and is delivered again at once. `rests`: it is delivered when it is offered again. */
export type StageOutcome = 'goes_on' | 'rests';
