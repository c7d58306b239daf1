/** A call that can be ended from outside. */
export interface EndableCall {
  readonly startedAtMs: number;
  readonly signal: AbortSignal;
  onTimeout(): void;
  onAbort(): void;
}

/**
 * Ends the calls of one upstream whose deadline has come or whose signal is aborted. All calls may take the same time, so one
 * timer watches the oldest. Calls of the same signal share one listener. A timer and a listener for each call cost more than
 * the rest of a call's bookkeeping (docs/adr/0021).
 */
export class CallsUnderWay {
  readonly #timeoutMs: number;
  /** Places are used again. A busy `Set` sheds tables, and these keep calls alive until the next full collection. */
  readonly #places: (EndableCall | null)[] = [];
  readonly #freePlaces: number[] = [];
  /** Each of these has its listener. */
  readonly #heard = new WeakSet<AbortSignal>();
  #timer: NodeJS.Timeout | null = null;

  constructor(timeoutMs: number) {
    this.#timeoutMs = timeoutMs;
  }

  /** Returns its place. */
  add(call: EndableCall): number {
    const place = this.#freePlaces.pop() ?? this.#places.length;
    this.#places[place] = call;
    if (this.#timer === null) this.#wake(this.#timeoutMs);
    if (!this.#heard.has(call.signal)) this.#hear(call.signal);
    return place;
  }

  delete(place: number): void {
    this.#places[place] = null;
    this.#freePlaces.push(place);
  }

  #hear(signal: AbortSignal): void {
    this.#heard.add(signal);
    const end = (): void => {
      for (const call of this.#places) if (call?.signal === signal) call.onAbort();
    };
    signal.addEventListener('abort', end, { once: true });
  }

  /** The timer does not keep the process alive: the connections of the calls do that. */
  #wake(afterMs: number): void {
    this.#timer = setTimeout(() => this.#expire(), afterMs).unref();
  }

  #expire(): void {
    this.#timer = null;
    const nowMs = performance.now();
    let leftMs = Number.POSITIVE_INFINITY;
    for (const call of this.#places) {
      if (call === null) continue;
      const left = call.startedAtMs + this.#timeoutMs - nowMs;
      if (left > 0) leftMs = Math.min(leftMs, left);
      else call.onTimeout();
    }
    if (leftMs < Number.POSITIVE_INFINITY) this.#wake(Math.ceil(leftMs));
  }
}
