import type { ClassifiedFailure } from '../../serving/failure.ts';

/** What becomes of a line whose call failed. */
export type Decision =
  /** The reply is its result, in the error file. */
  | 'record'
  /** The attempt is held against the line, which goes again later. */
  | 'count'
  /** The line goes again later, and the attempt is not held against it. */
  | 'retry'
  /** A rejection that may be about the set-up. Whether it is shows when other lines have been answered. */
  | 'hold';

/** What is known when a failed call has to be judged. */
export interface Evidence {
  /** Attempts already held against the line. */
  readonly attempts: number;
  readonly retriesMax: number;
  /** The route accepted a call that began after the line's previous failure. For a first failure: after this call began. */
  readonly othersAccepted: boolean;
  /** Since then another line was asked to slow down for its first time. So the pace is at fault, and not the line. */
  readonly othersThrottled: boolean;
  /** Rejections are about single requests: some request of the batch was accepted, or its rejections differ. */
  readonly rejectsSingly: boolean;
  /** This route has never accepted a request, and another route of the batch has. So the route rejects all requests. */
  readonly acceptedElsewhere: boolean;
  /** Not null when only the last lines of the batch are left. */
  readonly tail: Tail | null;
}

/** What is known of a line that is one of the last lines of its batch. */
export interface Tail {
  /** Lines that are left. */
  readonly lines: number;
  /** Its tries as one of the last lines with replies on this subject, this one included, and the time since the first. */
  readonly tries: number;
  readonly minutes: number;
  /** All its tries as one of the last lines, and the time since the first. */
  readonly allTries: number;
  readonly allMinutes: number;
  /** The server has accepted a request, or answered for its list of models, since the line's try before this one. */
  readonly serverLives: boolean;
}

/**
 * A line may be refused this often while others get through. The next refusal is its result. If the number were smaller, lines
 * would pay for one bad server behind a load balancer.
 */
const REFUSALS_MAX = 3;
/** How often a line may be refused when the reply names the request. */
const REQUEST_REFUSALS_MAX = 2;
/** A 503 or 429 that others do not get is most likely about load. So a line may get this many times the retries. */
const LOAD_RETRIES_FACTOR = 2;

/**
 * The one rule on who pays for a failed call (docs/adr/0020). A line pays when the reply names its request, when others get
 * through meanwhile, or when it is one of the last lines of its batch and gets the same again and again. A server, an account
 * or a set-up never makes lines pay.
 */
export function decide(failure: ClassifiedFailure, evidence: Evidence): Decision {
  const { kind, names } = failure;
  // A call that reached nobody is never about a line.
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

const requestTries = ({ kind }: ClassifiedFailure, { retriesMax }: Evidence): number =>
  kind === 'refused' || kind === 'throttled' ? Math.min(REQUEST_REFUSALS_MAX, retriesMax) : retriesMax;

function triesOf({ kind, names }: ClassifiedFailure, { retriesMax }: Evidence): number {
  if (kind === 'unavailable' || kind === 'throttled' || names === 'account')
    return LOAD_RETRIES_FACTOR * retriesMax;
  return kind === 'refused' ? Math.min(REFUSALS_MAX, retriesMax) : retriesMax;
}

/** With this many lines left, or fewer, no others show whether the lines or the server are at fault. */
const FEW_LINES = 3;
/** How long the last lines are tried, in minutes. Invariant: less than ten. Otherwise a batch does not end in time (P32). */
const TAIL_MINUTES = { few: 2, many: 3, load: 5, pace: 8, crowd: 8, account: 8 } as const;

/** Tries that may be far apart, or say different things, before a line ends by time alone. */
const LONG_TRIES = 3;
/** When more lines than these fail, the server may be away. */
const MANY_LINES = 32;

/** Whether such a reply can be about its line. An outage may give any other, so the server must be known to live. */
export const mayBeAboutLine = ({ kind }: ClassifiedFailure, serverLives: boolean): boolean =>
  kind !== 'unreachable' && (serverLives || kind === 'refused' || kind === 'failed');

/** Whether a line may end with such a reply because it is one of the last lines. Otherwise it waits, as all others do. */
export function endsInTail(failure: ClassifiedFailure, { lines, serverLives }: Tail): boolean {
  if (!mayBeAboutLine(failure, serverLives)) return false;
  // An account that is refused is no line's fault. But when few lines are left, the batch must end.
  return failure.names !== 'account' || (serverLives && lines <= FEW_LINES);
}

/** Whether one of the last lines has been tried often and long enough. */
function isFinal(failure: ClassifiedFailure, tail: Tail, { retriesMax }: Evidence): boolean {
  if (!endsInTail(failure, tail)) return false;
  const { kind, names } = failure;
  // Where tries are far apart, or say different things, the time says as much as their number.
  const isLong = tail.allMinutes >= TAIL_MINUTES.pace && tail.allTries >= LONG_TRIES;
  if (isLong && names !== 'account') return true;
  if (tail.tries <= retriesMax) return false;
  if (tail.lines > MANY_LINES) return tail.minutes >= TAIL_MINUTES.crowd;
  const isFew = tail.lines <= FEW_LINES;
  if (names === 'account') return tail.minutes >= TAIL_MINUTES.account;
  if (kind === 'throttled') return tail.minutes >= (isFew ? TAIL_MINUTES.load : TAIL_MINUTES.pace);
  if (isFew && (kind === 'failed' || kind === 'silent')) return true;
  if (kind === 'unavailable') return tail.minutes >= (isFew ? TAIL_MINUTES.few : TAIL_MINUTES.load);
  return tail.minutes >= TAIL_MINUTES.many;
}
