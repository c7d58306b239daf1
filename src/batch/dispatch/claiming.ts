import type { Backlog } from './backlog.ts';

const SEGMENTS_PER_CLAIM_MAX = 8;
/** A claim is a commit of its own, so a wider window claims more at a time. */
const WINDOW_PER_SEGMENT = 16;
/** A claim waits for the commit before it. So much, in windows and in lines, is at hand for that time beyond one window. */
const SPARE_WINDOWS = 4;
const SPARE_LINES_MAX = 128;

/** Which batch claims next, if any, and how much: first one that has nothing; then, when lines at hand run low, in turn. */
export function chooseClaim(
  backlogs: readonly Backlog[],
  { windowSize, hasUpstream }: { readonly windowSize: number; readonly hasUpstream: boolean },
): { readonly backlog: Backlog; readonly segmentsMax: number } | undefined {
  const starving = backlogs.find((backlog) => mayClaim(backlog) && backlog.segments.size === 0);
  if (starving !== undefined) return { backlog: starving, segmentsMax: 1 };
  // Without an upstream one segment is enough to find out whether anything is left to send.
  if (!hasUpstream) return undefined;
  const freshLines = backlogs.reduce((sum, backlog) => sum + freshLinesOf(backlog), 0);
  const spareLines = Math.min(SPARE_WINDOWS * windowSize, SPARE_LINES_MAX);
  if (freshLines >= windowSize + spareLines) return undefined;
  const first = backlogs.find(mayClaim);
  if (first === undefined) return undefined;
  const openLines = backlogs.reduce((sum, backlog) => sum + backlog.unrecorded, 0);
  if (openLines >= 4 * windowSize + 256) return undefined;
  const segmentsMax = Math.min(SEGMENTS_PER_CLAIM_MAX, 1 + Math.floor(windowSize / WINDOW_PER_SEGMENT));
  return { backlog: first, segmentsMax };
}

/** Lines that failed and wait for a probe are not enough to be at hand: those after them may be well. */
const freshLinesOf = (backlog: Backlog): number =>
  backlog.troubled === 0
    ? backlog.ready.length
    : Math.min(backlog.ready.length, backlog.unrecorded - backlog.troubled);

const mayClaim = (backlog: Backlog): boolean => !backlog.isHalted && !backlog.isExhausted;
