import { Notifier } from '../../core/notifier.ts';
import type { BatchQueue, Work } from './port.ts';

/**
 * The queue of a process that is alone. It keeps nothing on the disk: after a restart the first pass over the live batches
 * offers them all. It is idle until `deliver`, and delivers until `stop`; idle or stopped, it ignores offers.
 *
 * A batch is in one of three modes:
 *
 * - It is unknown. An offer delivers it at once, however many others are being worked on.
 * - It is being worked on, stage after stage, until it rests. Then it is unknown again.
 * - It was offered meanwhile. It may have changed after the work last read it, so it is delivered once more when it rests.
 */
export class LocalQueue implements BatchQueue {
  readonly changes = new Notifier();
  #work: Work | null = null;
  readonly #running = new Map<number, Promise<void>>();
  readonly #offeredMeanwhile = new Set<number>();

  deliver(work: Work): void {
    this.#work = work;
  }

  async offer(batchSeqs: readonly number[]): Promise<void> {
    if (this.#work === null) return;
    for (const seq of batchSeqs) {
      if (this.#running.has(seq)) this.#offeredMeanwhile.add(seq);
      else this.#running.set(seq, this.#run(seq, this.#work));
    }
  }

  notify(): void {
    this.changes.notify();
  }

  async stop(): Promise<void> {
    this.#work = null;
    await Promise.all(this.#running.values());
  }

  async #run(seq: number, work: Work): Promise<void> {
    for (let isDue = true; isDue;) {
      this.#offeredMeanwhile.delete(seq);
      const outcome = await work(seq);
      isDue = outcome === 'goes_on' || (this.#offeredMeanwhile.has(seq) && this.#work !== null);
    }
    this.#offeredMeanwhile.delete(seq);
    this.#running.delete(seq);
  }
}
