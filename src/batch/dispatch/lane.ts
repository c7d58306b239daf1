import { backoffMs } from '../../core/backoff.ts';
import type { Upstream } from '../../upstream/port.ts';
import type { ReplySort } from './decide.ts';

/** Failures in a row, without a success between, that mean the upstream and not the lines. */
const DOWN_CALLS = 3;
const REFUSED_LINES = 3;
const SUSPECT_LINES = 10;
const REOPEN_BASE_MS = 1_000;
/** P13: an upstream that is down is asked at most this rarely. */
const REOPEN_CAP_MS = 60_000;

export interface Outcome {
  readonly sort: Exclude<ReplySort, 'aborted'>;
  /** Tells lines apart over attempts. */
  readonly lineKey: string;
  readonly startedAtMs: number;
  readonly nowMs: number;
  readonly retryAfterMs: number | null;
  readonly wasProbe: boolean;
  /** An HTTP answer, whatever its status; false: none came. */
  readonly isAnswer: boolean;
  /** For people: what the upstream said. */
  readonly message: string;
}

/**
 * One upstream of a deployment and what we know of its health. Closed: takes requests. Open: takes none until a probe,
 * one request at a time, succeeds. Throttled: takes none until the time that it asked for.
 */
export class Lane {
  readonly upstream: Upstream;
  inFlight = 0;
  /** Start of the latest call that succeeded (monotonic ms). */
  lastSuccessStartedAtMs = Number.NEGATIVE_INFINITY;
  everSucceeded = false;
  /** Why no request is sent just now, for the batch's owner. */
  trouble: string | null = null;
  #openUntilMs: number | null = null;
  #openings = 0;
  #throttledUntilMs = 0;
  #throttles = 0;
  #probing = false;
  #downCalls = 0;
  readonly #refusedLines = new Set<string>();
  #refusedCalls = 0;
  readonly #suspectLines = new Set<string>();
  readonly #random: () => number;

  constructor(upstream: Upstream, random: () => number) {
    this.upstream = upstream;
    this.#random = random;
  }

  get isOpen(): boolean {
    return this.#openUntilMs !== null;
  }

  /** `request`: send freely; `probe`: send one and wait; a number: nothing before that time; null: a probe is out. */
  readiness(nowMs: number): 'request' | 'probe' | number | null {
    if (nowMs < this.#throttledUntilMs) return this.#throttledUntilMs;
    if (this.#openUntilMs === null) return 'request';
    if (this.#probing) return null;
    return nowMs >= this.#openUntilMs ? 'probe' : this.#openUntilMs;
  }

  start(kind: 'request' | 'probe'): void {
    this.inFlight += 1;
    if (kind === 'probe') this.#probing = true;
  }

  abandon(wasProbe: boolean): void {
    this.inFlight -= 1;
    if (wasProbe) this.#probing = false;
  }

  note(outcome: Outcome): void {
    this.abandon(outcome.wasProbe);
    switch (outcome.sort) {
      case 'answered':
        this.lastSuccessStartedAtMs = Math.max(this.lastSuccessStartedAtMs, outcome.startedAtMs);
        this.everSucceeded = true;
        this.#throttles = 0;
        return this.#close();
      case 'rejected':
        // It reads requests and judges them: it is up, but says nothing of keys or of load.
        return this.#close();
      case 'throttled':
        return this.#throttle(outcome);
      case 'refused':
        this.#refusedCalls += 1;
        this.#refusedLines.add(outcome.lineKey);
        break;
      case 'down':
        this.#downCalls += 1;
        break;
      case 'suspect':
        // It was unreachable or let nobody in, and now it answers: what is wrong is the line, until many say otherwise.
        if (outcome.wasProbe && outcome.isAnswer && this.#suspectLines.size < SUSPECT_LINES) this.#close();
        this.#suspectLines.add(outcome.lineKey);
        break;
    }
    if (outcome.retryAfterMs !== null) this.#throttle(outcome);
    this.#openIfHopeless(outcome);
  }

  #close(): void {
    this.#openUntilMs = null;
    this.#openings = 0;
    this.trouble = null;
    this.#downCalls = 0;
    this.#refusedCalls = 0;
    // Clearing an empty set makes a new table, and this is done after every success.
    if (this.#refusedLines.size > 0) this.#refusedLines.clear();
    if (this.#suspectLines.size > 0) this.#suspectLines.clear();
  }

  #throttle(outcome: Outcome): void {
    const waitMs =
      outcome.retryAfterMs ??
      backoffMs(this.#throttles++, { baseMs: REOPEN_BASE_MS, capMs: REOPEN_CAP_MS, random: this.#random });
    this.#throttledUntilMs = Math.max(this.#throttledUntilMs, outcome.nowMs + waitMs);
    if (!this.isOpen) this.trouble = `${this.upstream.name} asks to slow down: ${outcome.message}`;
  }

  #openIfHopeless(outcome: Outcome): void {
    const hopeless =
      this.#downCalls >= DOWN_CALLS ||
      this.#suspectLines.size >= SUSPECT_LINES ||
      // A few lines that are refused after others got through are those lines' fault; before any success, or many, ours.
      (this.#refusedCalls >= DOWN_CALLS && (!this.everSucceeded || this.#refusedLines.size >= REFUSED_LINES));
    if (!hopeless) return;
    this.trouble = `${this.upstream.name}: ${outcome.message}`;
    // Replies of calls that were under way when it opened must not push the next probe further away.
    if (this.isOpen && !outcome.wasProbe) return;
    const waitMs = backoffMs(this.#openings++, {
      baseMs: REOPEN_BASE_MS,
      capMs: REOPEN_CAP_MS,
      random: this.#random,
    });
    this.#openUntilMs = outcome.nowMs + waitMs;
  }
}
