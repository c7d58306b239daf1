import { availableParallelism } from 'node:os';
import { Worker } from 'node:worker_threads';
import type { Weather } from './plan.ts';
import type { History } from './world.ts';

/** One history to run: the plan of the seed, with a planted bug when `mutant` names one. */
export interface Task {
  readonly seed: number;
  readonly weather?: Weather;
  readonly mutant?: string;
}

/** Threads that run histories. Each history is alone in its thread, and the same in every one. */
export class Pool {
  readonly #workers: Worker[];
  readonly #idle: Worker[];
  readonly #waiting: ((worker: Worker) => void)[] = [];

  constructor(threads = availableParallelism()) {
    this.#workers = Array.from(
      { length: threads },
      () => new Worker(new URL('./worker.ts', import.meta.url)),
    );
    this.#idle = [...this.#workers];
  }

  async run(task: Task): Promise<History> {
    const worker = this.#idle.pop() ?? (await new Promise<Worker>((resolve) => this.#waiting.push(resolve)));
    try {
      return await new Promise<History>((resolve, reject) => {
        worker.once('error', reject);
        worker.once('message', (history: History) => {
          worker.off('error', reject);
          resolve(history);
        });
        worker.postMessage(task);
      });
    } finally {
      const next = this.#waiting.shift();
      if (next) next(worker);
      else this.#idle.push(worker);
    }
  }

  async close(): Promise<void> {
    await Promise.all(this.#workers.map((worker) => worker.terminate()));
  }
}
