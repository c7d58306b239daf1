/** A sign of overload weighs less with every reply after it: about this many replies are remembered. */
const MEMORY = 32;
/** So large a part of failed replies is more than single lines that fail. */
const MANY_FAILURES = 0.25;
const GROWTH = 0.25;

/**
 * How many requests one upstream may have in flight. Without a limit until it shows that it is overloaded: by 429, 503
 * or time-outs, or by many failures at once. A single failure says nothing of load and costs nothing. From then on the
 * limit shrinks by a tenth, or by a third while the signs go on, at most once per round trip; it grows by a quarter with
 * every round of successes, and is gone once it no longer binds.
 */
export class Window {
  /** Infinity: no limit. */
  size = Number.POSITIVE_INFINITY;
  #successes = 0;
  #shrunkAtMs = Number.NEGATIVE_INFINITY;
  /** Between 0 and 1: how much of the latest replies were failures, or signs of overload. */
  #failures = 0;
  #overloads = 0;
  /** In flight when the limit was last widest. */
  #free = 0;

  noteSuccess(): void {
    if (this.#failures > 0) this.#failures = settle(this.#failures);
    if (this.#overloads > 0) this.#overloads = settle(this.#overloads);
    if (this.size === Number.POSITIVE_INFINITY) return;
    this.#successes += 1;
    if (this.#successes < this.size) return;
    this.#successes = 0;
    this.size += Math.max(1, Math.floor(this.size * GROWTH));
    if (this.size >= 2 * this.#free) this.size = Number.POSITIVE_INFINITY;
  }

  /** `isOverload`: the reply itself says so. `inFlight`: this call included. */
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
    if (this.size === Number.POSITIVE_INFINITY) this.#free = used;
    const factor = this.#overloads > 1 / 16 || isCrowd ? 0.7 : 0.9;
    this.size = Math.max(1, Math.floor(used * factor));
  }
}

const settle = (share: number): number => (share < 0.001 ? 0 : share - share / MEMORY);
