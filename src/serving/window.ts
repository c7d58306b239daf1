/** A sign of overload weighs less with every reply after it. About this many replies are remembered. */
const MEMORY = 32;
/** When a larger part of the replies are failures, the server is overloaded: single lines fail more rarely. */
const MANY_FAILURES = 0.25;
/** When a larger part of the replies are signs of overload, the limit shrinks faster: two of the remembered replies. */
const MANY_OVERLOADS = 2 / MEMORY;
/** With every round of successes the limit grows by this part of itself. */
const GROWTH = 0.25;

/**
 * How many requests this process may have in flight at one model server. Other processes have windows of their
 * own (`app/single-process.ts`).
 *
 * The window is in one of two modes:
 *
 * - Free: there is no limit. A single failure says nothing of load, and changes nothing.
 * - Limited: the server has shown that it is overloaded, by a 429, a 503 or a time-out, or by many failures at once. Each
 *   further sign shrinks the limit by a tenth, or by a third while signs are many, at most once per round trip. Each round of
 *   successes makes it grow by a quarter. The window is free again once the limit is twice what was in flight before it.
 */
export class Window {
  /** Infinity: no limit. */
  size = Number.POSITIVE_INFINITY;
  #successes = 0;
  #shrunkAtMs = Number.NEGATIVE_INFINITY;
  /** How much of the latest replies were failures, and how much were signs of overload: between 0 and 1. */
  #failures = 0;
  #overloads = 0;
  /** What was in flight when the window became limited. */
  #usedBefore = 0;

  noteSuccess(): void {
    if (this.#failures > 0) this.#failures = decayed(this.#failures);
    if (this.#overloads > 0) this.#overloads = decayed(this.#overloads);
    if (this.size === Number.POSITIVE_INFINITY) return;
    this.#successes += 1;
    if (this.#successes < this.size) return;
    this.#successes = 0;
    this.size += Math.max(1, Math.floor(this.size * GROWTH));
    if (this.size >= 2 * this.#usedBefore) this.size = Number.POSITIVE_INFINITY;
  }

  /** `isOverload`: the reply itself says so. `inFlight` counts this call. */
  noteFailure(call: {
    readonly isOverload: boolean;
    readonly startedAtMs: number;
    readonly nowMs: number;
    readonly inFlight: number;
  }): void {
    this.#failures += (1 - this.#failures) / MEMORY;
    if (call.isOverload) this.#overloads += (1 - this.#overloads) / MEMORY;
    const isCrowd = this.#failures > MANY_FAILURES && call.inFlight > 1;
    if (!call.isOverload && !isCrowd) return;
    // Only a call begun after the last cut says that the new size is still too large.
    if (call.startedAtMs <= this.#shrunkAtMs) return;
    this.#shrunkAtMs = call.nowMs;
    this.#successes = 0;
    const used = Math.min(this.size, call.inFlight);
    if (this.size === Number.POSITIVE_INFINITY) this.#usedBefore = used;
    const factor = this.#overloads > MANY_OVERLOADS || isCrowd ? 0.7 : 0.9;
    this.size = Math.max(1, Math.floor(used * factor));
  }
}

/** Takes the weight of one more reply from a share. */
const decayed = (share: number): number => (share < 0.001 ? 0 : share - share / MEMORY);
