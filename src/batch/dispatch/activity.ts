import { timeOf } from '../../serving/server.ts';
import type { ClassifiedFailure } from '../../serving/failure.ts';
import type { Activity } from '../progress.ts';
import type { Backlog, LatestFailure } from './backlog.ts';
import type { BatchRoute } from './batch-route.ts';

interface Surroundings {
  readonly isDiskFull: boolean;
  /** A sentence that says why there is no upstream. Null: there is one. */
  readonly absence: string | null;
  /** Requests that the deployment may have in flight. */
  readonly concurrencyMax: number;
}

/** What a batch is doing just now. */
export function activityOf(backlog: Backlog, surroundings: Surroundings): Activity {
  const { inFlight, retries, endsByItself } = backlog;
  return { inFlight, retries, endsByItself, waiting: waitingOf(backlog, surroundings) };
}

/** A sentence that says why a batch does not move, or moves slowly. Null: it moves. */
function waitingOf(backlog: Backlog, { isDiskFull, absence, concurrencyMax }: Surroundings): string | null {
  if (isDiskFull)
    return 'The disk is nearly full. Requests are sent again when there is space for their answers.';
  if (absence !== null) return absence;
  return (
    ofAll(backlog.routes.map(reasonOf)) ??
    lastLinesOf(backlog) ??
    allFailingOf(backlog) ??
    ofAll(backlog.routes.map(({ server }) => server.slowness(concurrencyMax)))
  );
}

/** Returns the first reason when every upstream has one. Otherwise null. */
const ofAll = (reasons: readonly (string | null)[]): string | null =>
  reasons.every((reason) => reason !== null) ? (reasons[0] ?? null) : null;

/** Why nothing is sent to one upstream; null: something may be sent. */
function reasonOf({ server, heldBack }: BatchRoute): string | null {
  const { trouble, name } = server;
  if (trouble !== null) return sentence(trouble.text, trouble.sinceMs);
  return heldBack === null ? null : failureOf({ server: name, ...heldBack });
}

const sentence = (text: string, sinceMs: number): string => `${text} (since ${timeOf(sinceMs)})`;

const failureOf = ({ server, failure, sinceMs }: LatestFailure): string => {
  const said = sentence(`${server} ${verbOf(failure)}: ${failure.text}`, sinceMs);
  const isSetUp = failure.kind === 'refused' || failure.kind === 'rejected';
  return isSetUp ? `${said}. Check its address, key and account, and the name of the model.` : said;
};

function verbOf({ kind }: ClassifiedFailure): string {
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

/** Says that only the last lines are left, and that they fail. Null: that is not so. */
function lastLinesOf({ isTail, unrecorded, latestFailure: latest }: Backlog): string | null {
  if (!isTail || latest === null) return null;
  const { server, failure, sinceMs } = latest;
  const one = 'Only one line is left, and it fails; it is tried a few more times';
  const left =
    unrecorded === 1
      ? one
      : `Only ${unrecorded} lines are left, and all fail; each is tried a few more times`;
  return `${sentence(left, sinceMs)}. ${server} said last: ${failure.text}`;
}

/** Says how the latest line failed, when all lines of the backlog have failed and wait for their next try. Else null. */
function allFailingOf({ troubled, unrecorded, latestFailure: latest }: Backlog): string | null {
  const moves = latest === null || troubled === 0 || troubled < unrecorded;
  return moves ? null : failureOf(latest);
}
