import type { Clock } from '../../core/clock.ts';

const WINDOW_MS = 60_000;
const ADDRESSES_MAX = 10_000;

/** Counts refused keys and tokens per remote address. Callers with a good one are never held up by it. */
export class FailureLimiter {
  readonly #clock: Clock;
  readonly #perMinuteMax: number;
  readonly #windows = new Map<string, { startedMs: number; failures: number }>();
  constructor(clock: Clock, perMinuteMax: number) {
    this.#clock = clock;
    this.#perMinuteMax = perMinuteMax;
  }

  /** Seconds to wait when this failure is one too many; undefined otherwise. */
  count(address: string): number | undefined {
    const now = this.#clock.mono();
    const current = this.#windows.get(address);
    if (current !== undefined && now - current.startedMs < WINDOW_MS) {
      current.failures += 1;
      if (current.failures <= this.#perMinuteMax) return undefined;
      return Math.ceil((current.startedMs + WINDOW_MS - now) / 1000);
    }
    this.#windows.delete(address);
    const oldest = this.#windows.keys().next();
    if (this.#windows.size >= ADDRESSES_MAX && !oldest.done) this.#windows.delete(oldest.value);
    this.#windows.set(address, { startedMs: now, failures: 1 });
    return undefined;
  }
}
