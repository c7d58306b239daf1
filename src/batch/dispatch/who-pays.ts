import type { ClassifiedFailure } from '../../serving/failure.ts';

/** What becomes of a line whose call failed. */
export type Decision =
  /** The reply is its result, in the error file. */
  | 'record'
  /** The attempt is held against the line. */
  | 'count'
  /** It is not: the line goes again later. */
  | 'retry'
  /** A rejection that may yet turn out to be about the set-up: nothing is known before other lines have been answered. */
  | 'hold';

/** What is known when a failed call has to be judged. */
export interface Evidence {
  /** Attempts already held against the line. */
  readonly attempts: number;
  readonly maxRetries: number;
  /** A call that began after the line's failure before this one, or after this call, was accepted at the same place. */
  readonly othersAccepted: boolean;
  /** Another line was asked to slow down for its first time meanwhile: the pace, not the line, is at fault. */
  readonly othersThrottled: boolean;
  /** Some request of the batch was accepted, or its rejections differ: rejections are about single requests. */
  readonly rejectsSingly: boolean;
  /** This upstream has never accepted a request of its kind, and another one of the batch has: it rejects as a whole. */
  readonly acceptedElsewhere: boolean;
  /** Set when only failing lines are left of a batch that had lines accepted. */
  readonly tail: Tail | null;
}

/** The end of a batch of which only failing lines are left. */
export interface Tail {
  /** Lines that are left. */
  readonly lines: number;
  /** Tries of this line since then, this one included, and the time from the first to this one. */
  readonly tries: number;
  readonly minutes: number;
  /** The same of tries that brought replies of other kinds. */
  readonly allTries: number;
  readonly allMinutes: number;
  /** The server has answered someone, or for its list of models, since the line's try before this one. */
  readonly serverLives: boolean;
}

/** Refused four times while others get through. Fewer would blame lines for one bad server behind a load balancer. */
const REFUSALS_MAX = 3;
const REQUEST_REFUSALS_MAX = 2;
/** A 503 or 429 that others do not get is most likely load, so a line may meet more of them. */
const LOAD_RETRIES_FACTOR = 2;

/**
 * The one rule on who pays for a failed call (docs/adr/0020). A line pays when the reply names its request, when others get
 * through around it, or when it is among the last of its batch and gets the same again and again. A server, an account or
 * a set-up never makes lines pay.
 */
export function decide(failure: ClassifiedFailure, evidence: Evidence): Decision {
  const { kind, names } = failure;
  // No connection is never about a line.
  if (kind === 'unreachable') return 'retry';
  if (kind === 'rejected') {
    if (names === 'request') return 'record';
    if (evidence.acceptedElsewhere) return 'retry';
    return evidence.rejectsSingly ? 'record' : 'hold';
  }
  if (names === 'request') return countUpTo(requestTries(failure, evidence), evidence);
  const isPace = kind === 'throttled' && evidence.othersThrottled;
  if (evidence.othersAccepted && !isPace) return countUpTo(triesOf(failure, evidence), evidence);
  if (evidence.tail !== null && isFinal(failure, evidence.tail, evidence)) return 'record';
  return 'retry';
}

const countUpTo = (triesMax: number, { attempts }: Evidence): Decision =>
  attempts >= triesMax ? 'record' : 'count';

const requestTries = ({ kind }: ClassifiedFailure, { maxRetries }: Evidence): number =>
  kind === 'refused' || kind === 'throttled' ? Math.min(REQUEST_REFUSALS_MAX, maxRetries) : maxRetries;

function triesOf({ kind, names }: ClassifiedFailure, { maxRetries }: Evidence): number {
  if (kind === 'unavailable' || kind === 'throttled' || names === 'account')
    return LOAD_RETRIES_FACTOR * maxRetries;
  return kind === 'refused' ? Math.min(REFUSALS_MAX, maxRetries) : maxRetries;
}

/** So few lines that their server cannot be told from them by trying others. */
const FEW_LINES = 3;
/** Below the ten minutes within which a batch ends by itself. */
const TAIL_MINUTES = { few: 2, many: 3, load: 5, pace: 8, crowd: 8, account: 8 } as const;

const LONG_TRIES = 3;
/** More lines than these that all fail look like a server that is away. */
const MANY_LINES = 32;

/** Whether the last lines of a batch end by themselves after such a reply. Otherwise they wait, as all others do. */
export function endsInTail({ kind, names }: ClassifiedFailure, { lines, serverLives }: Tail): boolean {
  if (kind === 'unreachable') return false;
  // Lines that fail alike for want of money are no lines' fault, save where there are next to none of them.
  if (names === 'account') return serverLives && lines <= FEW_LINES;
  // No answer, or one that the server's guard may have given for it: it must be known to live.
  return serverLives || kind === 'refused' || kind === 'failed';
}

/** Whether one of the last lines has been tried often and long enough. */
function isFinal(failure: ClassifiedFailure, tail: Tail, { maxRetries }: Evidence): boolean {
  if (!endsInTail(failure, tail)) return false;
  const { kind, names } = failure;
  // Where tries are far apart, or bring this and that, the time tells as much as their number.
  const isLong = tail.allMinutes >= TAIL_MINUTES.pace && tail.allTries >= LONG_TRIES;
  if (isLong && names !== 'account') return true;
  if (tail.tries <= maxRetries) return false;
  if (tail.lines > MANY_LINES) return tail.minutes >= TAIL_MINUTES.crowd;
  const isFew = tail.lines <= FEW_LINES;
  if (names === 'account') return tail.minutes >= TAIL_MINUTES.account;
  if (kind === 'throttled') return tail.minutes >= (isFew ? TAIL_MINUTES.load : TAIL_MINUTES.pace);
  if (isFew && (kind === 'failed' || kind === 'silent')) return true;
  if (kind === 'unavailable') return tail.minutes >= (isFew ? TAIL_MINUTES.few : TAIL_MINUTES.load);
  return tail.minutes >= TAIL_MINUTES.many;
}
