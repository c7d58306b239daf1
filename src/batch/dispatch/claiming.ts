import type { Feed } from './feed.ts';

const SEGMENTS_PER_CLAIM_MAX = 8;
/** A claim is a commit of its own, so a wider window claims more at a time. */
const WINDOW_PER_SEGMENT = 16;
/** A claim waits for the commit before it. So much, in windows and in lines, is at hand for that time beyond one window. */
const SPARE_WINDOWS = 4;
const SPARE_LINES_MAX = 128;

/** Which batch claims next, if any, and how much: first one that has nothing; then, when lines at hand run low, in turn. */
export function chooseClaim(
  feeds: readonly Feed[],
  { windowSize, hasUpstream }: { readonly windowSize: number; readonly hasUpstream: boolean },
): { readonly feed: Feed; readonly segmentsMax: number } | undefined {
  const starving = feeds.find((feed) => mayClaim(feed) && feed.segments.size === 0);
  if (starving !== undefined) return { feed: starving, segmentsMax: 1 };
  // Without an upstream one segment is enough to find out whether anything is left to send.
  if (!hasUpstream) return undefined;
  const freshLines = feeds.reduce((sum, feed) => sum + freshLinesOf(feed), 0);
  const spareLines = Math.min(SPARE_WINDOWS * windowSize, SPARE_LINES_MAX);
  if (freshLines >= windowSize + spareLines) return undefined;
  const first = feeds.find(mayClaim);
  if (first === undefined) return undefined;
  const openLines = feeds.reduce((sum, feed) => sum + feed.open, 0);
  if (openLines >= 4 * windowSize + 256) return undefined;
  const segmentsMax = Math.min(SEGMENTS_PER_CLAIM_MAX, 1 + Math.floor(windowSize / WINDOW_PER_SEGMENT));
  return { feed: first, segmentsMax };
}

/** Lines that failed and wait for a probe are not enough to be at hand: those after them may be well. */
const freshLinesOf = (feed: Feed): number =>
  feed.troubled === 0 ? feed.ready.length : Math.min(feed.ready.length, feed.open - feed.troubled);

const mayClaim = (feed: Feed): boolean => !feed.closed && !feed.exhausted;
