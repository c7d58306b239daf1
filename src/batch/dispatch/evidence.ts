import type { ClassifiedFailure } from '../../serving/failure.ts';
import type { UpstreamReply } from '../../upstream/port.ts';
import { mayBeAboutLine, type Evidence, type Tail } from './who-pays.ts';
import type { LineTrouble } from './backlog.ts';
import type { Call } from './call.ts';
import { isAcceptedElsewhere } from './rejections.ts';

const MINUTE_MS = 60_000;

/** A call whose reply is no success. */
export interface FailedCall extends Call {
  readonly startedAtMs: number;
  readonly nowMs: number;
  readonly reply: UpstreamReply;
  readonly failure: ClassifiedFailure;
}

/** Gathers what `decide` must know, and notes the call as the line's latest failure. */
export function gatherEvidence(call: FailedCall, { retriesMax }: { readonly retriesMax: number }): Evidence {
  const { line, backlog, batchRoute, startedAtMs, failure } = call;
  const { server, route } = batchRoute;
  const sinceMs = line.trouble?.failedAtMs ?? startedAtMs;
  const othersThrottled = route.firstThrottleAtMs > sinceMs;
  const serverLives = server.livesSince(sinceMs);
  const isRemoved = !backlog.routes.includes(batchRoute);
  const othersAccepted = !isRemoved && route.acceptedStartedAtMs > sinceMs;
  const trouble = noteFailure(call);
  // The line is throttled while others are accepted. So the server has a place for it sooner or later.
  if (othersAccepted && failure.kind === 'throttled') {
    trouble.tailSinceMs = null;
    trouble.allTailSinceMs = null;
  }
  return {
    attempts: trouble.attempts,
    retriesMax,
    // False for an upstream that no longer serves the deployment: what it says is held against no line.
    othersAccepted,
    othersThrottled,
    rejectsSingly:
      backlog.rejectsSingly ||
      route.acceptedStartedAtMs > sinceMs ||
      (backlog.isProven && (route.isProven || backlog.routes.length === 1)),
    acceptedElsewhere: isAcceptedElsewhere(backlog, batchRoute),
    tail: isRemoved || failure.kind === 'rejected' ? null : tailOf(call, trouble, serverLives),
  };
}

function noteFailure({ line, backlog, batchRoute, nowMs, reply, failure }: FailedCall): LineTrouble {
  const { route, upstream } = batchRoute;
  const isThrottled = failure.kind === 'throttled';
  if (isThrottled && (line.trouble?.throttles ?? 0) === 0) route.firstThrottleAtMs = nowMs;
  if (line.trouble === null) backlog.troubled += 1;
  const trouble: LineTrouble = (line.trouble ??= {
    reply,
    failure,
    upstream: upstream.name,
    failedAtMs: nowMs,
    attempts: 0,
    throttles: 0,
    outage: null,
    deaths: 0,
    tailTries: 0,
    tailSinceMs: null,
    allTailTries: 0,
    allTailSinceMs: null,
    tailSubject: null,
  });
  trouble.reply = reply;
  trouble.failure = failure;
  trouble.upstream = upstream.name;
  trouble.failedAtMs = nowMs;
  if (isThrottled) trouble.throttles += 1;
  return trouble;
}

function tailOf(
  { backlog, nowMs, failure }: FailedCall,
  trouble: LineTrouble,
  serverLives: boolean,
): Tail | null {
  // A try that an outage may explain says nothing of the line. All counts start anew after it.
  const saysNothing = !mayBeAboutLine(failure, serverLives);
  if (saysNothing || !backlog.isTail) {
    trouble.allTailTries = 0;
    trouble.allTailSinceMs = null;
  }
  // Only replies on one subject are held against the line. A reply on another subject starts that count anew.
  const about = subjectOf(failure);
  if (saysNothing || !backlog.isTail || trouble.tailSubject !== about) {
    trouble.tailTries = 0;
    trouble.tailSinceMs = null;
  }
  if (saysNothing) return null;
  trouble.tailSubject = about;
  if (!backlog.isTail) return null;
  trouble.tailSinceMs ??= nowMs;
  trouble.tailTries += 1;
  trouble.allTailSinceMs ??= nowMs;
  trouble.allTailTries += 1;
  return {
    lines: backlog.unrecorded,
    tries: trouble.tailTries,
    minutes: (nowMs - trouble.tailSinceMs) / MINUTE_MS,
    allTries: trouble.allTailTries,
    allMinutes: (nowMs - trouble.allTailSinceMs) / MINUTE_MS,
    serverLives,
  };
}

function subjectOf({ kind, names }: ClassifiedFailure): LineTrouble['tailSubject'] {
  if (names === 'account') return 'account';
  if (kind === 'throttled') return 'pace';
  return kind === 'refused' ? 'set-up' : 'trouble';
}
