import type { Clock } from './clock.ts';

/**
 * Lets those who wait go on when something has changed. Each waiter removes all that it left here: a race against a promise
 * that lives long would keep a trace of every wait.
 */
export class Notifier {
  #count = 0;
  readonly #waiting = new Set<() => void>();

  /** How often `notify` was called. Read before the state is, it makes a later `wait` end at once if the state has changed since. */
  get count(): number {
    return this.#count;
  }

  notify(): void {
    this.#count += 1;
    for (const wake of this.#waiting) wake();
  }

  /** Waits until `delayMs` are over, `notify` was called more than `since` times, or `signal` aborts. */
  async wait(
    clock: Pick<Clock, 'sleep'>,
    {
      delayMs,
      since = this.#count,
      signal,
    }: { readonly delayMs: number; readonly since?: number | undefined; readonly signal: AbortSignal },
  ): Promise<void> {
    if (signal.aborted || this.#count !== since) return;
    const timer = new AbortController();
    const wake = (): void => timer.abort();
    this.#waiting.add(wake);
    signal.addEventListener('abort', wake, { once: true });
    try {
      await clock.sleep(delayMs, timer.signal);
    } catch (error) {
      if (!timer.signal.aborted) throw error;
    } finally {
      this.#waiting.delete(wake);
      signal.removeEventListener('abort', wake);
    }
  }
}
