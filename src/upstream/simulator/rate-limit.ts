import type { Clock } from '../../core/clock.ts';

export interface RateLimits {
  readonly requestsPerMinute?: number | null;
  readonly tokensPerMinute?: number | null;
}

/** Takes one request of `tokens`, and returns 0. When the limit is reached, it returns the milliseconds to wait. */
export function createRateLimit(
  { requestsPerMinute, tokensPerMinute }: RateLimits,
  clock: Clock,
): (tokens: number) => number {
  const requests = new Bucket(requestsPerMinute ?? Infinity, clock);
  const tokens = new Bucket(tokensPerMinute ?? Infinity, clock);
  return (cost) => {
    const waitMs = Math.ceil(Math.max(requests.waitMs(1), tokens.waitMs(cost)));
    if (waitMs > 0) return waitMs;
    requests.take(1);
    tokens.take(cost);
    return 0;
  };
}

/** A bucket holds the requests or tokens of a minute, and fills evenly. */
class Bucket {
  readonly #perMinute: number;
  readonly #clock: Clock;
  #level: number;
  #filledAtMs: number;

  constructor(perMinute: number, clock: Clock) {
    this.#perMinute = perMinute;
    this.#clock = clock;
    this.#level = perMinute;
    this.#filledAtMs = clock.mono();
  }

  waitMs(cost: number): number {
    if (this.#perMinute === Infinity) return 0;
    const nowMs = this.#clock.mono();
    this.#level = Math.min(
      this.#perMinute,
      this.#level + ((nowMs - this.#filledAtMs) * this.#perMinute) / 60_000,
    );
    this.#filledAtMs = nowMs;
    // A request that needs more than a whole minute passes when the bucket is full, and leaves it below zero.
    const lacking = Math.min(cost, this.#perMinute) - this.#level;
    return lacking > 1e-9 ? (lacking * 60_000) / this.#perMinute : 0;
  }

  take(cost: number): void {
    if (this.#perMinute !== Infinity) this.#level -= cost;
  }
}
