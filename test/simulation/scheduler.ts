import type { Clock } from '../../src/core/clock.ts';
import type { Rng } from './rng.ts';

/** One process, as the simulation sees it. Once dead, nothing that it waits for settles and nothing it starts has an effect. */
export interface Life {
  readonly name: string;
  alive: boolean;
}

interface Task {
  readonly atMs: number;
  readonly tie: number;
  readonly life: Life;
  readonly run: () => void;
}

/** A promise of a dead process: it never settles, so no `catch` or `finally` can act after a crash. */
export const never = <T>(): Promise<T> => new Promise<T>(() => {});

/** Virtual time: events run one by one, in order of time and then by lot; all that follows from one runs before the next. */
export class Scheduler {
  readonly #tie: Rng;
  readonly #heap: Task[] = [];
  #nowMs = 0;
  steps = 0;

  constructor(rng: Rng) {
    this.#tie = rng.fork('tie');
  }

  get nowMs(): number {
    return this.#nowMs;
  }

  get pending(): number {
    return this.#heap.length;
  }

  at(delayMs: number, life: Life, run: () => void): void {
    this.#push({ atMs: this.#nowMs + Math.max(0, delayMs), tie: this.#tie.next(), life, run });
  }

  /** Settles after `delayMs` if the process is still alive then, and never otherwise. */
  after<T>(delayMs: number, life: Life, make: () => T | Promise<T>): Promise<T> {
    if (!life.alive) return never();
    return new Promise<T>((resolve, reject) => {
      this.at(delayMs, life, () => {
        try {
          resolve(make());
        } catch (error) {
          reject(error);
        }
      });
    });
  }

  /** Runs the next event and everything that follows from it without a wait. False: nothing is left to happen. */
  async step(): Promise<boolean> {
    for (;;) {
      const task = this.#pop();
      if (!task) return false;
      if (!task.life.alive) continue;
      this.steps++;
      this.#nowMs = task.atMs;
      task.run();
      await settle();
      return true;
    }
  }

  /** `wallMs` turns monotonic time into what people's clocks say, jumps included. */
  clock(life: Life, wallMs: (monoMs: number) => number): Clock {
    return {
      now: () => wallMs(this.#nowMs),
      mono: () => this.#nowMs,
      sleep: (delayMs, signal) => {
        if (!life.alive) return never();
        if (signal?.aborted) return Promise.reject(signal.reason);
        return new Promise((resolve, reject) => {
          const onAbort = () => {
            if (life.alive) reject(signal?.reason);
          };
          signal?.addEventListener('abort', onAbort, { once: true });
          this.at(delayMs, life, () => {
            signal?.removeEventListener('abort', onAbort);
            resolve();
          });
        });
      },
    };
  }

  #push(task: Task): void {
    const heap = this.#heap;
    let i = heap.push(task) - 1;
    while (i > 0) {
      const parent = (i - 1) >> 1;
      if (!isBefore(task, heap[parent]!)) break;
      heap[i] = heap[parent]!;
      i = parent;
    }
    heap[i] = task;
  }

  #pop(): Task | undefined {
    const heap = this.#heap;
    const top = heap[0];
    const last = heap.pop();
    if (!top || !last || heap.length === 0) return top;
    let i = 0;
    for (;;) {
      let child = 2 * i + 1;
      if (child >= heap.length) break;
      if (child + 1 < heap.length && isBefore(heap[child + 1]!, heap[child]!)) child++;
      if (!isBefore(heap[child]!, last)) break;
      heap[i] = heap[child]!;
      i = child;
    }
    heap[i] = last;
    return top;
  }
}

const isBefore = (a: Task, b: Task) => a.atMs < b.atMs || (a.atMs === b.atMs && a.tie < b.tie);

/** One turn of the real event loop: every promise and `nextTick` that can run has run. */
export const settle = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));
