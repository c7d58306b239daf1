import { assert } from '../../core/assert.ts';
import { backoffMs } from '../../core/backoff.ts';
import type { RetryStorms } from '../../serving/retry-storm.ts';
import type { ServingDeps } from '../../serving/deps.ts';
import { mayBeDown, type ClassifiedFailure } from '../../serving/failure.ts';
import { NO_USAGE } from '../../upstream/port.ts';
import { answerLine, toUpstreamError, unansweredLine } from '../results/result-line.ts';
import { decide, endsInTail, type Decision } from './who-pays.ts';
import { gatherEvidence, type FailedCall } from './evidence.ts';
import { requestNameOf, type Backlog, type Line } from './backlog.ts';
import { isSameRejection, judgeRejections } from './rejections.ts';
import type { BatchRoute } from './batch-route.ts';
import type { LineTransitions } from './call.ts';

export interface FailureOptions {
  /** Attempts beyond the first that may be held against a line. */
  readonly retriesMax: number;
  readonly retryBaseMs: number;
  readonly retryCapMs: number;
  /** Whether lines of the same input were accepted before this run. Then rejections are about single lines. */
  readonly acceptedBefore: boolean;
}

interface FailureDeps extends ServingDeps {
  readonly retryStorms: RetryStorms;
}

/**
 * Judges lines whose calls failed. Each failure is noted at its server and its batch route; then its line is recorded, held
 * or sent again.
 */
export class Failures {
  readonly #deps: FailureDeps;
  readonly #options: FailureOptions;
  readonly #transitions: LineTransitions;

  constructor(deps: FailureDeps, options: FailureOptions, transitions: LineTransitions) {
    this.#deps = deps;
    this.#options = options;
    this.#transitions = transitions;
  }

  receive(call: FailedCall): void {
    const { line, backlog, batchRoute, failure, startedAtMs, nowMs } = call;
    const { server } = batchRoute;
    const wasThrottled = (line.trouble?.throttles ?? 0) > 0;
    const failedBefore = line.trouble !== null;
    const evidence = gatherEvidence(call, this.#options);
    const decision = isSameRejection(call, backlog) ? 'retry' : decide(failure, evidence);
    const isTail =
      backlog.isTail && (evidence.tail === null ? decision === 'record' : endsInTail(failure, evidence.tail));
    // Some lines have a pace of their own: the last lines, unless the server names a time, and a line that is throttled while
    // others are accepted.
    const isSpaced = isTail && backlog.unrecorded <= SPACED_LINES;
    const isOwn = wasThrottled && evidence.othersAccepted && !evidence.othersThrottled;
    const isOwnPace = failure.kind === 'throttled' && (isOwn || (isSpaced && failure.retryAfterMs === null));
    const isAboutServer = failure.names !== 'request' && !isOwnPace;
    // If the failures of one line counted as load, they would shrink the window of its neighbours.
    const isLoad = !isSpaced && !(failedBefore && failure.kind === 'failed');
    server.failed({ failure, startedAtMs, nowMs, isAboutServer, isLoad });
    if (line.trouble !== null && mayBeDown(failure.kind))
      line.trouble.outage = server.outageOf(startedAtMs) ?? line.trouble.outage;
    const wallMs = this.#deps.clock.now();
    backlog.latestFailure = {
      server: server.name,
      failure,
      sinceMs: backlog.latestFailure?.sinceMs ?? wallMs,
    };
    if (isTail) batchRoute.free();
    else if (decision === 'retry' && isAboutServer) {
      const { isProven, failingLines } = backlog;
      const isNew =
        failure.kind === 'rejected'
          ? batchRoute.holdBack(failure, { nowMs, wallMs })
          : batchRoute.noteFailure(failure, { line: line.number, nowMs, wallMs, isProven, failingLines });
      if (isNew && mayBeDown(failure.kind)) server.noteDeath();
    }
    this.#transitions.end(call, decision === 'record' ? null : nowMs);
    this.#carryOut(decision, call);
  }

  #carryOut(decision: Decision, call: FailedCall): void {
    const { line, backlog, batchRoute, failure } = call;
    switch (decision) {
      case 'record':
        this.recordFailure(line, backlog);
        if (failure.kind === 'rejected' && backlog.held.length > 0) this.judgeRejections(backlog);
        return this.#transitions.leave(backlog);
      case 'hold':
        backlog.held.push(call);
        this.#probeServer(backlog, batchRoute);
        this.#transitions.own(this.#transitions.acquit(line));
        return this.#transitions.leave(backlog);
      case 'count':
        if (line.trouble !== null) line.trouble.attempts += 1;
        return this.#retryLater(call);
      case 'retry':
        return this.#retryLater(call);
    }
  }

  /** Held rejections are judged with the server's list of models, too. */
  #probeServer(backlog: Backlog, { server, upstream }: BatchRoute): void {
    backlog.modelProbes += 1;
    this.#transitions.own(
      server.probeModels(upstream).then(() => {
        backlog.modelProbes -= 1;
        this.judgeRejections(backlog);
        this.#transitions.sendReady();
      }),
    );
  }

  /** Records held lines whose rejections are about themselves. The others are sent again once the set-up is mended. */
  judgeRejections(backlog: Backlog): void {
    if (backlog.isHalted) return;
    const { lines, setUp } = judgeRejections(backlog);
    const judged = new Set([...lines, ...setUp]);
    backlog.held = backlog.held.filter((rejection) => !judged.has(rejection));
    if (lines.length > 0) backlog.rejectsSingly = true;
    for (const { line } of lines) this.recordFailure(line, backlog);
    const now = { nowMs: this.#deps.clock.mono(), wallMs: this.#deps.clock.now() };
    for (const { line, failure, batchRoute } of setUp) {
      batchRoute.holdBack(failure, now);
      backlog.requeue(line);
    }
  }

  /** The reply to the line's latest call becomes its result. */
  recordFailure(line: Line, backlog: Backlog): void {
    assert(line.trouble !== null, 'a line that never failed is recorded as failed');
    const { reply, failure, attempts, upstream } = line.trouble;
    const name = requestNameOf(line, backlog);
    const payload =
      reply.kind === 'answer' ? answerLine(name, reply) : unansweredLine(name, toUpstreamError(reply));
    this.#transitions.record(line, backlog, {
      ok: false,
      payload,
      usage: reply.kind === 'answer' ? reply.usage : NO_USAGE,
    });
    this.#deps.log.event('line.failed', {
      batch: backlog.batch.id,
      line: line.number,
      upstream,
      status: reply.status,
      attempts,
      reason: failure.text,
    });
  }

  #retryLater({ line, backlog, batchRoute, reply, failure }: FailedCall): void {
    const waitMs = Math.max(failure.retryAfterMs ?? 0, this.#backoffMs(line, backlog));
    this.#deps.retryStorms.note({
      upstream: batchRoute.server.name,
      reason: reasonOf(failure, reply.status),
    });
    backlog.waiting += 1;
    this.#transitions.leave(backlog);
    const back = (): void => {
      backlog.waiting -= 1;
      if (line.segment.isLost) return backlog.forget(line);
      if (backlog.isHalted) return;
      backlog.requeue(line);
      this.#transitions.sendReady();
    };
    this.#transitions.own(
      Promise.all([this.#untilNextTry(backlog, waitMs), this.#transitions.acquit(line)]).then(back, () => {
        backlog.waiting -= 1;
      }),
    );
  }

  /** One of the last lines may fell its server at each try. So all of them are sent only when the server answers again. */
  async #untilNextTry(backlog: Backlog, waitMs: number): Promise<void> {
    const { clock, random } = this.#deps;
    await clock.sleep(waitMs, backlog.abort.signal);
    for (let probes = 0; backlog.isTail && probes < MODEL_PROBES_MAX; probes += 1) {
      const asked = backlog.routes.filter(({ server }) => !server.isDown);
      const answers = asked.map(({ server, upstream }) => server.probeModels(upstream));
      if (answers.length === 0 || (await Promise.all(answers)).includes(true)) return;
      const againMs = backoffMs(probes, { baseMs: TAIL_BASE_MS, capMs: TAIL_CAP_MS, random });
      await clock.sleep(againMs, backlog.abort.signal);
    }
  }

  #backoffMs({ calls, trouble }: Line, backlog: Backlog): number {
    const { random } = this.#deps;
    const { retryBaseMs, retryCapMs } = this.#options;
    const tries = trouble?.tailTries ?? 0;
    if (tries === 0 || backlog.unrecorded <= QUICK_LINES)
      return backoffMs(calls - 1, { baseMs: retryBaseMs, capMs: retryCapMs, random });
    return backoffMs(tries - 1, { baseMs: TAIL_BASE_MS, capMs: TAIL_CAP_MS, random });
  }
}

/** Returns the status. When no answer came, or a 2xx carried a failure, it returns the kind. */
const reasonOf = ({ kind }: ClassifiedFailure, status: number | null): string =>
  status === null || status < 300 ? kind : String(status);

/** After this many requests for the list of models that got no answer, the lines are sent all the same. */
const MODEL_PROBES_MAX = 5;
/** The last lines are no load when there are at most this many, since each is tried once a minute. */
const SPACED_LINES = 32;
/** The last lines are tried again as quickly as any line when there are at most this many. */
const QUICK_LINES = 3;
const TAIL_BASE_MS = 5_000;
const TAIL_CAP_MS = 60_000;
