import type { Clock } from './clock.ts';

/**
 * Wakes those who rest until something happens. Whoever is woken leaves nothing behind: a race against a promise that
 * lives long would keep a trace of every rest.
 */
export class Bell {
  #rings = 0;
  readonly #resting = new Set<() => void>();

  /** How often it rang. Taken before a look, it tells a rest after it whether something happened meanwhile. */
  get rings(): number {
    return this.#rings;
  }

  ring(): void {
    this.#rings += 1;
    for (const wake of this.#resting) wake();
  }

  /** Until `delayMs` are over, it rings once more than `heard` times, or `signal` aborts. */
  async rest(
    clock: Pick<Clock, 'sleep'>,
    {
      delayMs,
      heard = this.#rings,
      signal,
    }: { readonly delayMs: number; readonly heard?: number; readonly signal: AbortSignal },
  ): Promise<void> {
    if (signal.aborted || this.#rings !== heard) return;
    const timer = new AbortController();
    const wake = (): void => timer.abort();
    this.#resting.add(wake);
    signal.addEventListener('abort', wake, { once: true });
    try {
      await clock.sleep(delayMs, timer.signal);
    } catch (error) {
      if (!timer.signal.aborted) throw error;
    } finally {
      this.#resting.delete(wake);
      signal.removeEventListener('abort', wake);
    }
  }
}
