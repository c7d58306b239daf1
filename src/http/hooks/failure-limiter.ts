import type { Clock } from '../../core/clock.ts';

const INTERVAL_MS = 60_000;
const ADDRESSES_MAX = 10_000;

/** Counts refused keys and tokens by the address of the caller. It never holds up callers with a good one. */
export class FailureLimiter {
  readonly #clock: Clock;
  readonly #perMinuteMax: number;
  readonly #intervals = new Map<string, { startedMs: number; failures: number }>();
  constructor(clock: Clock, perMinuteMax: number) {
    this.#clock = clock;
    this.#perMinuteMax = perMinuteMax;
  }

  /** Returns the seconds to wait when this failure is one too many, and undefined otherwise. */
  count(address: string): number | undefined {
    const now = this.#clock.mono();
    const current = this.#intervals.get(address);
    if (current !== undefined && now - current.startedMs < INTERVAL_MS) {
      current.failures += 1;
      if (current.failures <= this.#perMinuteMax) return undefined;
      return Math.ceil((current.startedMs + INTERVAL_MS - now) / 1000);
    }
    this.#intervals.delete(address);
    const oldest = this.#intervals.keys().next();
    if (this.#intervals.size >= ADDRESSES_MAX && !oldest.done) this.#intervals.delete(oldest.value);
    this.#intervals.set(address, { startedMs: now, failures: 1 });
    return undefined;
  }
}
