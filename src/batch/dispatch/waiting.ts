import { timeOf } from '../../serving/server.ts';
import type { FailureReading } from '../../serving/reading.ts';
import type { LiveProgress } from '../progress.ts';
import type { Backlog, LatestFailure } from './backlog.ts';
import type { Standing } from './standing.ts';

interface Surroundings {
  readonly isDiskFull: boolean;
  /** Why there is no upstream; null: there is one. */
  readonly absence: string | null;
  /** Requests that the deployment may have in flight. */
  readonly concurrencyMax: number;
}

export interface Activity extends Pick<LiveProgress, 'inFlight' | 'retries' | 'waiting' | 'endsByItself'> {
  readonly recorded: number;
}

/** What a batch is doing just now. */
export function activityOf(backlog: Backlog, surroundings: Surroundings): Activity {
  const { inFlight, recorded, retries, endsByItself } = backlog;
  return { inFlight, recorded, retries, endsByItself, waiting: waitingOf(backlog, surroundings) };
}

/** Why a batch does not move just now, or hardly, in a sentence for its owner; null: it moves. */
function waitingOf(backlog: Backlog, { isDiskFull, absence, concurrencyMax }: Surroundings): string | null {
  if (isDiskFull)
    return 'The disk is nearly full. Requests are sent again when there is room for their answers.';
  if (absence !== null) return absence;
  return (
    ofAll(backlog.standings.map(reasonOf)) ??
    tailOf(backlog) ??
    aloneOf(backlog) ??
    ofAll(backlog.standings.map(({ route }) => route.server.slowness(concurrencyMax)))
  );
}

/** The first reason, when there is one at every upstream. */
const ofAll = (reasons: readonly (string | null)[]): string | null =>
  reasons.every((reason) => reason !== null) ? (reasons[0] ?? null) : null;

/** Why nothing is sent to one upstream; null: nothing is in the way. */
function reasonOf({ route: { server }, heldBack }: Standing): string | null {
  const { trouble, name } = server;
  if (trouble !== null) return sentence(trouble.text, trouble.sinceMs);
  return heldBack === null ? null : failureOf({ server: name, ...heldBack });
}

const sentence = (text: string, sinceMs: number): string => `${text} (since ${timeOf(sinceMs)})`;

const failureOf = ({ server, reading, sinceMs }: LatestFailure): string => {
  const said = sentence(`${server} ${verbOf(reading)}: ${reading.text}`, sinceMs);
  const isSetUp = reading.kind === 'refused' || reading.kind === 'rejected';
  return isSetUp ? `${said}. Check its address, key and account, and the name of the model.` : said;
};

function verbOf({ kind }: FailureReading): string {
  switch (kind) {
    case 'refused':
    case 'rejected':
      return 'refuses the requests';
    case 'throttled':
      return 'asks to slow down';
    case 'unavailable':
      return 'is not available';
    case 'failed':
      return 'fails at every request';
    case 'silent':
    case 'unreachable':
      return 'does not answer';
  }
}

/** The others have been answered, and what came last is a failure. */
function tailOf({ isTail, open, latestFailure: latest }: Backlog): string | null {
  if (!isTail || latest === null) return null;
  const { server, reading, sinceMs } = latest;
  const one = 'Only one line is left, and it fails; it is tried a few more times';
  const left = open === 1 ? one : `Only ${open} lines are left, and all fail; each is tried a few more times`;
  return `${sentence(left, sinceMs)}. ${server} said last: ${reading.text}`;
}

/** All lines that this process holds have failed and wait for their next try. */
function aloneOf({ troubled, open, latestFailure: latest }: Backlog): string | null {
  const moves = latest === null || troubled === 0 || troubled < open;
  return moves ? null : failureOf(latest);
}
