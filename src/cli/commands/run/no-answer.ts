import type { Progress } from '../../terminal/progress.ts';

/** While a request is tried, the batch does not wait. A try ends within this time; a longer pause means that requests go out. */
const TRY_MS = 10_000;

/**
 * Says when a run has waited too long for its first answer, as with a wrong key or address. After the first answer the run
 * waits for the upstream without a limit. It also waits while the engine decides about the last lines.
 */
export function createNoAnswerWatch(waitMaxMs: number): (progress: Progress, nowMs: number) => boolean {
  let doneAtStart: number | null = null;
  let waitingSinceMs: number | null = null;
  let waitedAtMs = 0;
  return ({ completed, failed, waiting, endsByItself = false }, nowMs) => {
    doneAtStart ??= completed + failed;
    if (endsByItself) return false;
    if (completed + failed > doneAtStart || nowMs - waitedAtMs >= TRY_MS) waitingSinceMs = null;
    if (waiting === null || completed + failed > doneAtStart) return false;
    waitedAtMs = nowMs;
    waitingSinceMs ??= nowMs;
    return nowMs - waitingSinceMs >= waitMaxMs;
  };
}
