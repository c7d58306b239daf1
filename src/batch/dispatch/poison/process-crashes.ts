import type { ServingDeps } from '../../../serving/deps.ts';
import type { ClaimedSegment, WorkStore } from '../../../stores/state/ports.ts';
import { NO_USAGE } from '../../../upstream/port.ts';
import { UNANSWERED, unansweredLine } from '../../results/result-line.ts';
import { retryTransient } from '../../transient.ts';
import { requestNameOf, type Line } from '../backlog.ts';
import type { Call, LineTransitions } from '../call.ts';

/**
 * The suspect that is being tried, until its result is durable or it is acquitted. All dispatchers of this process share it;
 * other processes have turns of their own (`app/single-process.ts`).
 *
 * Invariant: at most one suspect is being tried. If another one were sent meanwhile and ended the process, the first would be
 * blamed too, and both would be tried again for ever.
 */
export interface SuspectTurn {
  line: Line | null;
}

interface CrashSuspectDeps extends ServingDeps {
  readonly work: WorkStore;
  readonly suspectTurn: SuspectTurn;
  readonly hasDiskSpace: () => boolean;
}

/** All lines of a segment are suspects when a process ended this many times while it had claimed the segment. */
const CRASHES_MAX = 3;
/** A suspect is the poison line when a process ended this many times while the suspect was tried alone. */
const SUSPECT_CRASHES_MAX = 2;
/** Lines are numbered from 1. */
const NO_LINE = 0;

export const isSuspectSegment = ({ crashes }: ClaimedSegment): boolean => crashes >= CRASHES_MAX;

/**
 * Finds the line that ends this process whenever it is sent (P15). Suspects are tried one at a time. Each try is written
 * down in the store before the line is sent, so that the next process knows which line was being tried when this one ended.
 * A suspect whose try did not end the process is acquitted: the note is erased.
 */
export class CrashSuspects {
  readonly #deps: CrashSuspectDeps;
  readonly #transitions: LineTransitions;

  constructor(deps: CrashSuspectDeps, transitions: LineTransitions) {
    this.#deps = deps;
    this.#transitions = transitions;
  }

  get isAnyTried(): boolean {
    return this.#deps.suspectTurn.line !== null;
  }

  startTurn(line: Line): void {
    this.#deps.suspectTurn.line = line;
  }

  endTurn(line: Line): void {
    const { suspectTurn } = this.#deps;
    if (suspectTurn.line === line) suspectTurn.line = null;
  }

  /** Notes the try of a suspect, whose turn has started, and sends it. */
  async try(call: Call): Promise<void> {
    const { line, backlog } = call;
    const verdict = await this.#note(line);
    if (verdict === 'noted' && this.#mayStillGo(call)) return this.#transitions.send(call);
    this.#transitions.end(call, null);
    this.#transitions.leave(backlog);
    if (verdict === 'guilty') {
      const error = { code: 'internal_error', message: UNANSWERED.internal_error } as const;
      const payload = unansweredLine(requestNameOf(line, backlog), error);
      this.#transitions.record(line, backlog, { ok: false, payload, usage: NO_USAGE });
    } else if (verdict === 'lost') {
      line.segment.isLost = true;
      this.endTurn(line);
      backlog.settle(line);
    } else {
      backlog.requeue(line);
      await this.acquit(line);
    }
    this.#transitions.sendReady();
  }

  /** Ends the turn of a suspect that did not end the process, so that the next one is not blamed together with it. */
  async acquit(line: Line): Promise<void> {
    const { segment } = line;
    if (!segment.isSuspect) return;
    await retryTransient(() => this.#deps.work.markSuspect(segment.claim, NO_LINE), this.#deps);
    this.endTurn(line);
    this.#transitions.sendReady();
  }

  async #note({ segment: { claim }, number }: Line): Promise<'noted' | 'guilty' | 'lost'> {
    if (claim.suspectLine === number && claim.suspectCrashes >= SUSPECT_CRASHES_MAX) return 'guilty';
    const isNoted = await retryTransient(() => this.#deps.work.markSuspect(claim, number), this.#deps);
    return isNoted ? 'noted' : 'lost';
  }

  /** Meanwhile the batch may have been cancelled, the upstream removed or asked to wait, or the disk filled. */
  #mayStillGo({ backlog, batchRoute }: Call): boolean {
    const readiness = batchRoute.server.readiness(this.#deps.clock.mono());
    return (
      !backlog.isHalted &&
      backlog.routes.includes(batchRoute) &&
      typeof readiness !== 'number' &&
      this.#deps.hasDiskSpace()
    );
  }
}
