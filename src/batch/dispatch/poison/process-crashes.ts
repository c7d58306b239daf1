import type { Clock } from '../../../core/clock.ts';
import type { Log } from '../../../core/log.ts';
import type { WorkStore } from '../../../stores/state/ports.ts';
import { retryTransient } from '../../transient.ts';
import { CRASHES_MAX, type Line } from '../backlog.ts';

/**
 * The suspect that is being tried, until its result is durable or it is acquitted: were another one sent before, and
 * ended the process, the first would be blamed too, and tried again for ever.
 */
export interface SuspectTurn {
  line: Line | null;
}

export interface CrashSuspectDeps {
  readonly work: WorkStore;
  /** Shared by all dispatchers: at most one suspect line is tried at a time. */
  readonly suspectTurn: SuspectTurn;
  readonly clock: Clock;
  readonly random: () => number;
  readonly log: Log;
}

/** A suspect line that was being tried alone at this many ends of the process is the cause. */
const SUSPECT_CRASHES_MAX = 2;
/** Lines are numbered from 1. */
const NO_LINE = 0;

/** Lines that may have ended the process (P15): one at a time is tried, and each try is written down before it is made. */
export class CrashSuspects {
  readonly #deps: CrashSuspectDeps;

  constructor(deps: CrashSuspectDeps) {
    this.#deps = deps;
  }

  is({ segment }: Line): boolean {
    return segment.claim.crashes >= CRASHES_MAX;
  }

  /** No suspect is being tried. */
  get isFree(): boolean {
    return this.#deps.suspectTurn.line === null;
  }

  startTurn(line: Line): void {
    this.#deps.suspectTurn.line = line;
  }

  endTurn(line: Line): void {
    const { suspectTurn } = this.#deps;
    if (suspectTurn.line === line) suspectTurn.line = null;
  }

  /** `try`: its try is noted, it may be sent; `guilty`: it keeps ending the process; `lost`: another worker has it. */
  async prepare(line: Line): Promise<'try' | 'guilty' | 'lost'> {
    const { claim } = line.segment;
    if (claim.suspectLine === line.number && claim.suspectCrashes >= SUSPECT_CRASHES_MAX) return 'guilty';
    const isNoted = await retryTransient(() => this.#deps.work.markSuspect(claim, line.number), this.#deps);
    return isNoted ? 'try' : 'lost';
  }

  /** The process lives on, so the line is not to blame for what the next suspect may do. */
  async acquit(line: Line): Promise<void> {
    if (!this.is(line)) return;
    await retryTransient(() => this.#deps.work.markSuspect(line.segment.claim, NO_LINE), this.#deps);
    this.endTurn(line);
  }
}
