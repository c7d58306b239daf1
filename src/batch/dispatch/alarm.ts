import type { Clock } from '../../core/clock.ts';

/** Calls `then` once, at the earliest of the times to which it was set since the last call. */
export class Alarm {
  readonly #clock: Clock;
  readonly #then: () => void;
  #atMs = Number.POSITIVE_INFINITY;
  #timer = new AbortController();

  constructor(clock: Clock, then: () => void) {
    this.#clock = clock;
    this.#then = then;
  }

  /** `atMs`: monotonic. The promise never waits for longer than the alarm, and rejects with what `then` throws. */
  async set(atMs: number): Promise<void> {
    if (atMs >= this.#atMs) return;
    this.#atMs = atMs;
    // Invariant: one timer at a time. Otherwise each timer would set another one, and their number would grow.
    this.#timer.abort();
    const timer = (this.#timer = new AbortController());
    try {
      await this.#clock.sleep(Math.max(1, atMs - this.#clock.mono()), timer.signal);
    } catch {
      // An earlier time took the place of this one.
      return;
    }
    this.#atMs = Number.POSITIVE_INFINITY;
    this.#then();
  }
}
