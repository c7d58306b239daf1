/** Time, as an argument: production reads the system, a simulation replays a seed. */
export interface Clock {
  /** Milliseconds since 1970 by the wall clock. It may jump, so it is only for timestamps that people read. */
  now(): number;
  /** Monotonic milliseconds. Every interval, deadline and back-off uses them. */
  mono(): number;
  /** Resolves after `delayMs`; rejects with `signal.reason` when aborted first. */
  sleep(delayMs: number, signal?: AbortSignal): Promise<void>;
}

/** `setTimeout` fires at once beyond this delay, so longer sleeps are clamped to it (about 24.8 days). */
const TIMER_MS_MAX = 2 ** 31 - 1;

export const systemClock: Clock = {
  now: () => Date.now(),
  mono: () => performance.now(),
  sleep: (delayMs, signal) =>
    new Promise((resolve, reject) => {
      if (signal?.aborted) return reject(signal.reason);
      const onAbort = () => {
        clearTimeout(timer);
        reject(signal?.reason);
      };
      const timer = setTimeout(
        () => {
          signal?.removeEventListener('abort', onAbort);
          resolve();
        },
        Math.min(Math.max(0, delayMs), TIMER_MS_MAX),
      );
      signal?.addEventListener('abort', onAbort, { once: true });
    }),
};

/** Unix seconds, the unit of every timestamp on the wire. */
export const nowS = (clock: Clock): number => Math.floor(clock.now() / 1000);
