import { mayBeDown, type FailureReading } from '../../serving/reading.ts';
import type { UpstreamReply } from '../../upstream/port.ts';
import type { Evidence, Tail } from './decide.ts';
import type { Backlog, Line, LineTrouble } from './backlog.ts';
import { isAcceptedElsewhere } from './set-up.ts';
import type { Standing } from './standing.ts';

const MINUTE_MS = 60_000;

/** A call whose reply is no success. */
export interface FailedCall {
  readonly line: Line;
  readonly backlog: Backlog;
  readonly standing: Standing;
  readonly startedAtMs: number;
  readonly nowMs: number;
  readonly reply: UpstreamReply;
  readonly reading: FailureReading;
}

/** What `decide` must know. Afterwards the call is noted as the line's latest failure. */
export function gatherEvidence(call: FailedCall, { maxRetries }: { readonly maxRetries: number }): Evidence {
  const { line, backlog, standing, startedAtMs, reading } = call;
  const { route } = standing;
  const sinceMs = line.trouble?.failedAtMs ?? startedAtMs;
  const othersThrottled = route.firstThrottleAtMs > sinceMs;
  const serverLives = route.server.livesSince(sinceMs);
  const isRemoved = !backlog.standings.includes(standing);
  const othersAccepted = !isRemoved && route.acceptedStartedAtMs > sinceMs;
  const trouble = noteFailure(call);
  // As long as others get their turn, one that is asked to slow down may get its own.
  if (othersAccepted && reading.kind === 'throttled') {
    trouble.tailSinceMs = null;
    trouble.allTailSinceMs = null;
  }
  return {
    attempts: trouble.attempts,
    maxRetries,
    // What an upstream says that no longer serves the deployment is held against nobody.
    othersAccepted,
    othersThrottled,
    rejectsSingly:
      backlog.rejectsSingly ||
      route.acceptedStartedAtMs > sinceMs ||
      (backlog.isProven && (route.isProven || backlog.standings.length === 1)),
    acceptedElsewhere: isAcceptedElsewhere(backlog, standing),
    tail: isRemoved || reading.kind === 'rejected' ? null : tailOf(call, trouble, serverLives),
  };
}

function noteFailure({ line, backlog, standing, nowMs, reply, reading }: FailedCall): LineTrouble {
  const { route } = standing;
  const isThrottled = reading.kind === 'throttled';
  if (isThrottled && (line.trouble?.throttles ?? 0) === 0) route.firstThrottleAtMs = nowMs;
  if (line.trouble === null) backlog.troubled += 1;
  const trouble: LineTrouble = (line.trouble ??= {
    reply,
    reading,
    failedAtMs: nowMs,
    attempts: 0,
    throttles: 0,
    fall: null,
    deaths: 0,
    tailTries: 0,
    tailSinceMs: null,
    allTailTries: 0,
    allTailSinceMs: null,
    tailOf: null,
  });
  trouble.reply = reply;
  trouble.reading = reading;
  trouble.failedAtMs = nowMs;
  if (isThrottled) trouble.throttles += 1;
  return trouble;
}

function tailOf(
  { backlog, nowMs, reading }: FailedCall,
  trouble: LineTrouble,
  serverLives: boolean,
): Tail | null {
  // A try that reached nobody, or a server that may be down, is none, and what came before it is long ago.
  const reachedNobody = reading.kind === 'unreachable' || (mayBeDown(reading.kind) && !serverLives);
  if (reachedNobody || !backlog.isTail) {
    trouble.allTailTries = 0;
    trouble.allTailSinceMs = null;
  }
  // Only what it gets again and again is held against a line.
  const about = subjectOf(reading);
  if (reachedNobody || !backlog.isTail || trouble.tailOf !== about) {
    trouble.tailTries = 0;
    trouble.tailSinceMs = null;
  }
  if (reachedNobody) return null;
  trouble.tailOf = about;
  if (!backlog.isTail) return null;
  trouble.tailSinceMs ??= nowMs;
  trouble.tailTries += 1;
  trouble.allTailSinceMs ??= nowMs;
  trouble.allTailTries += 1;
  return {
    lines: backlog.open,
    tries: trouble.tailTries,
    minutes: (nowMs - trouble.tailSinceMs) / MINUTE_MS,
    allTries: trouble.allTailTries,
    allMinutes: (nowMs - trouble.allTailSinceMs) / MINUTE_MS,
    serverLives,
  };
}

function subjectOf({ kind, names }: FailureReading): LineTrouble['tailOf'] {
  if (names === 'account') return 'account';
  if (kind === 'throttled') return 'pace';
  return kind === 'refused' ? 'set-up' : 'trouble';
}
