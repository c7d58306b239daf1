import type { Feed, HeldRejection } from './feed.ts';

/** The same words to so many lines, with none accepted, are about the set-up. */
const LINES_ALIKE = 20;

/**
 * What the rejections of a batch's first lines are about, as long as none of its lines was accepted:
 * `lines`: single requests; `set-up`: model, account or address; null: more must be known.
 */
export function judgeRejections(feed: Feed): 'lines' | 'set-up' | null {
  const [first] = feed.held;
  if (first === undefined) return null;
  if (feed.rejectsSingly || feed.held.some(isPassed)) return 'lines';
  const words = wordsOf(first);
  if (feed.held.some((rejection) => wordsOf(rejection) !== words)) return 'lines';
  if (contradictsModelList(first) || feed.held.length >= LINES_ALIKE) return 'set-up';
  const isAll =
    feed.exhausted &&
    feed.looks === 0 &&
    feed.inFlight === 0 &&
    feed.waiting === 0 &&
    feed.ready.length + feed.suspects.length + feed.apart.length === 0;
  return isAll ? 'lines' : null;
}

/** Another batch's line was accepted there meanwhile. */
const isPassed = ({ line, standing }: HeldRejection): boolean =>
  line.trouble !== null && standing.route.acceptedStartedAtMs > line.trouble.failedAtMs;

/** Numbers and ids differ from reply to reply. */
const wordsOf = ({ reading }: Pick<HeldRejection, 'reading'>): string =>
  reading.text.replaceAll(/\b[0-9a-f-]*\d[0-9a-f-]*\b/gi, '#');

/** The server lists models and not this one, and its reply speaks of one. */
function contradictsModelList({ reading, standing }: HeldRejection): boolean {
  const { models } = standing.route.server;
  const { model } = standing.upstream;
  if (models === null || models.length === 0) return false;
  const isSame = (listed: string) => listed === model || listed.startsWith(`${model}:`);
  if (models.some(isSame)) return false;
  return /\bmodel/i.test(reading.text) || [model, ...models].some((name) => reading.text.includes(name));
}

/** Whether a rejection says again what holds the batch back. */
export const isSameRejection = (rejection: Pick<HeldRejection, 'reading' | 'standing'>): boolean => {
  const { heldBack } = rejection.standing;
  const isRejected = rejection.reading.kind === 'rejected' && heldBack?.reading.kind === 'rejected';
  return isRejected && wordsOf(heldBack) === wordsOf(rejection);
};
