import type { Progress } from './progress.ts';

/**
 * Tells when nothing ever gets an answer: a wrong key or address would be waited for forever. Once something was
 * answered the upstream is worth waiting for, however long it is down.
 */
export function createFirstAnswerWatch(waitMaxMs: number): (progress: Progress, nowMs: number) => boolean {
  let doneAtStart: number | null = null;
  let waitingSinceMs: number | null = null;
  return ({ completed, failed, waiting }, nowMs) => {
    doneAtStart ??= completed + failed;
    if (waiting === null || completed + failed > doneAtStart) {
      waitingSinceMs = null;
      return false;
    }
    waitingSinceMs ??= nowMs;
    return nowMs - waitingSinceMs >= waitMaxMs;
  };
}
