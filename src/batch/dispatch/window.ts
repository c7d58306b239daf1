/**
 * How many requests one deployment may have in flight: additive increase, multiplicative decrease.
 * Starts at its maximum, since the operator set it on purpose.
 */
export class Window {
  size: number;
  #sizeMax: number;
  #successes = 0;
  #shrunkAtMs = Number.NEGATIVE_INFINITY;

  constructor(options: { readonly sizeMax: number }) {
    this.#sizeMax = options.sizeMax;
    this.size = options.sizeMax;
  }

  /** A window that was cut by an upstream in trouble finds its way up by itself. */
  resize(sizeMax: number): void {
    this.size = this.size === this.#sizeMax ? sizeMax : Math.min(this.size, sizeMax);
    this.#sizeMax = sizeMax;
  }

  /** One more slot after a whole window of successes. */
  grow(): void {
    if (this.size >= this.#sizeMax) return;
    this.#successes += 1;
    if (this.#successes < this.size) return;
    this.#successes = 0;
    this.size += 1;
  }

  /** Only calls begun after the last cut say that the new size is still too large. */
  shrink(call: { readonly startedAtMs: number; readonly nowMs: number }): void {
    if (call.startedAtMs <= this.#shrunkAtMs) return;
    this.#shrunkAtMs = call.nowMs;
    this.#successes = 0;
    this.size = Math.max(1, Math.floor(this.size * 0.7));
  }
}
