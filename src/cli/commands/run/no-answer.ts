import type { Progress } from '../../terminal/progress.ts';

/** A pause in the waiting that is shorter is a try that goes on: it may take a moment to be refused. */
const TRY_MS = 10_000;

/**
 * Tells when nothing ever gets an answer: a wrong key or address would be waited for forever. Once something was
 * answered the upstream is worth waiting for, however long it is down; so are last lines that are being judged.
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
