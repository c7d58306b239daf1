/** Exponential back-off with equal jitter: the wait is between half of `baseMs * 2^n` and all of it. `n` counts from 0. */
export function backoffMs(
  n: number,
  options: { readonly baseMs: number; readonly capMs: number; readonly random: () => number },
): number {
  const fullMs = Math.min(options.capMs, options.baseMs * 2 ** Math.min(n, 30));
  return fullMs / 2 + (fullMs / 2) * options.random();
}
