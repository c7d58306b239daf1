import { setMaxListeners } from 'node:events';
import type { Batch, BatchEndpoint } from '../../contract/batch.ts';
import type { ClassifiedFailure } from '../../serving/failure.ts';
import type { Outage } from '../../serving/server.ts';
import type { ClaimedSegment } from '../../stores/state/ports.ts';
import type { UpstreamReply } from '../../upstream/port.ts';
import { requestIdStart, type RequestName } from '../results/result-line.ts';
import type { BatchRoute } from './batch-route.ts';

/** A request of a claimed segment, until its result is durable. Its states are written at the head of `Dispatcher`. */
export interface Line {
  readonly segment: Segment;
  readonly number: number;
  readonly customIdJson: Uint8Array;
  readonly endpoint: BatchEndpoint;
  readonly body: Uint8Array;
  /** Where the model name lies in `body`. */
  readonly model: { readonly start: number; readonly end: number };
  /** Upstream calls so far. */
  calls: number;
  /** Null until a call fails. */
  trouble: LineTrouble | null;
}

/** What is known of a line whose calls failed. */
export interface LineTrouble {
  /** The latest reply, and what it says. */
  reply: UpstreamReply;
  failure: ClassifiedFailure;
  /** The name of the upstream that gave the latest reply. */
  upstream: string;
  /** When the latest reply came (monotonic ms). */
  failedAtMs: number;
  /** Calls that are held against the line. */
  attempts: number;
  /** How often the line was asked to slow down. */
  throttles: number;
  /** The outage in which the line was in flight; null: there was none, or it is counted in `deaths`. */
  outage: Outage | null;
  /** Deaths of servers at which the line was in flight. */
  deaths: number;
  /** How often the line failed as one of the last lines of its batch, with replies on one subject, and when first (monotonic ms). */
  tailTries: number;
  tailSinceMs: number | null;
  /** The same count and time, whatever the replies were about. */
  allTailTries: number;
  allTailSinceMs: number | null;
  /** The subject of the replies that `tailTries` counts. */
  tailSubject: 'account' | 'pace' | 'set-up' | 'trouble' | null;
}

/** The latest failure, and since when there were only failures (wall clock). */
export interface LatestFailure {
  readonly server: string;
  readonly failure: ClassifiedFailure;
  readonly sinceMs: number;
}

/** A rejection that is not held against its line yet, since it may be about the set-up. */
export interface HeldRejection {
  readonly line: Line;
  readonly failure: ClassifiedFailure;
  readonly batchRoute: BatchRoute;
}

/** A segment that this process has claimed. */
export interface Segment {
  readonly claim: ClaimedSegment;
  /** Any of its lines may have ended this process. */
  readonly isSuspect: boolean;
  /** Lines without a durable result. */
  unrecorded: number;
  /** Requests that were sent, and whose replies are not known. */
  inDoubt: number;
  /** Another worker has claimed the segment since, or the batch takes no more results. */
  isLost: boolean;
}

/**
 * The lines of one batch that this process has claimed, and what it knows of the batch. A backlog goes through these modes:
 * - Claiming: the store may have more segments.
 * - Exhausted: all segments are claimed. When all lines that are left have failed, and others were accepted, they are the
 *   last lines (`isTail`). They are tried a few more times, and then recorded.
 * - Drained: no line is left, or the backlog is halted and nothing is in flight. `drained` resolves.
 *
 * From any mode it may be halted: by a stop (`isStopped`), or because its lines could not be claimed or read (`error`).
 */
export class Backlog {
  readonly batch: Batch;
  /** What the ids of the batch's result lines begin with. */
  readonly idStart: string;
  /** Lines that may be sent. The next one is the last of the list. */
  readonly ready: Line[] = [];
  /** Lines that may have ended this process. The next one is the last of the list. */
  readonly crashSuspects: Line[] = [];
  /** Lines that were in flight when their server died. The next one is the last of the list. */
  readonly deathSuspects: Line[] = [];
  held: HeldRejection[] = [];
  /** One for each upstream that serves the batch. */
  routes: readonly BatchRoute[] = [];
  /** Rejections are about single lines: a line was accepted after a rejection, or a rejection differed from the others. */
  rejectsSingly = false;
  /** Lines that servers accepted from this process. */
  accepted = 0;
  /** Requests for a list of models that are in flight. Rejections are judged after them. */
  modelProbes = 0;
  /** Lines without a durable result whose calls failed. */
  troubled = 0;
  /** Retries so far of lines that have no durable result yet. */
  retries = 0;
  /** Null: the latest call was accepted. */
  latestFailure: LatestFailure | null = null;
  readonly segments = new Set<Segment>();
  /** Aborted when no line of the batch shall go on. */
  readonly abort = new AbortController();
  inFlight = 0;
  /** Lines that wait for their next try. */
  waiting = 0;
  /** The store had no segment left to claim when it was asked last. */
  isExhausted = false;
  /** Nothing more is sent or claimed: the backlog is stopped, or its lines could not be claimed or read. */
  isHalted = false;
  /** The batch is cancelled or expired, or the process stops. */
  isStopped = false;
  /** Why the lines could not be claimed or read. */
  error: Error | null = null;
  readonly drained = Promise.withResolvers<void>();

  readonly #acceptedBefore: boolean;

  constructor(batch: Batch, { acceptedBefore }: { readonly acceptedBefore: boolean }) {
    this.batch = batch;
    this.#acceptedBefore = acceptedBefore;
    this.idStart = requestIdStart(batch.id);
    // Each line that waits listens to it, and each call of an upstream that is not reached over a network.
    setMaxListeners(0, this.abort.signal);
  }

  /** Lines without a durable result. */
  get unrecorded(): number {
    let unrecorded = 0;
    for (const segment of this.segments) unrecorded += segment.unrecorded;
    return unrecorded;
  }

  /** Some line of the batch was accepted: now, before a restart, or in the run that this one repeats. */
  get isProven(): boolean {
    return this.#acceptedBefore || this.accepted > 0 || this.batch.counts.completed > 0;
  }

  /** Only the last lines are left: all of them have failed, and other lines of the batch were accepted. */
  get isTail(): boolean {
    return this.isProven && this.failingLines !== null;
  }

  /** The last lines are tried a few more times. Then the batch ends, whatever they get. */
  get endsByItself(): boolean {
    return this.isTail && this.latestFailure?.failure.kind !== 'unreachable';
  }

  /** How many lines are left, when all of them have failed; else null. */
  get failingLines(): number | null {
    if (this.troubled === 0 || !this.isExhausted) return null;
    const { unrecorded } = this;
    return this.troubled >= unrecorded ? unrecorded : null;
  }

  halt(): void {
    this.isHalted = true;
    this.settleIfDrained();
  }

  /** Puts a line behind the others. If it were in front, one poison line could take every probe for itself. */
  requeue(line: Line): void {
    (line.segment.isSuspect ? this.crashSuspects : this.ready).unshift(line);
  }

  /** The line has a durable result, or its segment is lost. */
  settle(line: Line): void {
    const { segment } = line;
    segment.unrecorded -= 1;
    this.forget(line);
    if (segment.isLost) this.#drop(segment);
    if (segment.unrecorded <= 0 || segment.isLost) this.segments.delete(segment);
    this.settleIfDrained();
  }

  /** The line's failures are no longer failures of the batch. */
  forget(line: Line): void {
    if (line.trouble !== null) this.troubled -= 1;
    line.trouble = null;
  }

  settleIfDrained(): void {
    if (this.#isDrained) this.drained.resolve();
  }

  get #isDrained(): boolean {
    if (this.inFlight > 0) return false;
    if (this.isHalted) return true;
    return this.isExhausted && this.segments.size === 0;
  }

  /** The lines of a lost segment are not sent: another worker sends them. */
  #drop(segment: Segment): void {
    for (const queue of [this.ready, this.crashSuspects, this.deathSuspects]) {
      const kept = queue.filter((other) => other.segment !== segment);
      for (const other of queue) if (other.segment === segment) this.forget(other);
      queue.splice(0, queue.length, ...kept);
    }
  }
}

/** What identifies the line's request in its result line. */
export const requestNameOf = (line: Line, backlog: Backlog): RequestName => ({
  customIdJson: line.customIdJson,
  batchId: backlog.batch.id,
  idStart: backlog.idStart,
  line: line.number,
});
