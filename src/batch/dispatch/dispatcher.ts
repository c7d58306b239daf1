import type { Batch } from '../../contract/batch.ts';
import { assert } from '../../core/assert.ts';
import { backoffMs } from '../../core/backoff.ts';
import type { Clock } from '../../core/clock.ts';
import type { Log } from '../../core/log.ts';
import type { BlobStore } from '../../stores/blobs/port.ts';
import type { ClaimedSegment, LineResult, WorkStore } from '../../stores/state/ports.ts';
import { NO_USAGE, type Upstream, type UpstreamReply } from '../../upstream/port.ts';
import { untilTaken } from '../passing.ts';
import type { Recorder, Settle } from '../results/recorder.ts';
import {
  answerLine,
  idempotencyKey,
  toUpstreamError,
  UNANSWERED,
  unansweredLine,
} from '../results/result-line.ts';
import { chooseClaim } from './claiming.ts';
import { decide, describe, sortReply } from './decide.ts';
import { CRASHES_MAX, Feed, refill, type Line } from './feed.ts';
import type { Lane } from './lane.ts';
import { Lanes } from './lanes.ts';
import { Window } from './window.ts';

export interface DispatchOptions {
  readonly maxRetries: number;
  readonly retryBaseMs: number;
  readonly retryCapMs: number;
}

export interface DispatchDeps {
  readonly work: WorkStore;
  readonly blobs: Pick<BlobStore, 'readBytes'>;
  readonly recorder: Recorder;
  /** Told of each result once it is durable. */
  readonly recorded: (segment: ClaimedSegment, result: LineResult) => void;
  readonly clock: Clock;
  readonly random: () => number;
  readonly log: Log;
  /** This process among all that may hold segments. */
  readonly owner: string;
  /** False: no result could be stored now, so none must be paid for (P10). */
  readonly hasRoom: () => boolean;
  /** Shared by all dispatchers: at most one suspect line is tried at a time. */
  readonly suspectTurn: SuspectTurn;
  readonly onFatal: (error: unknown) => void;
}

/**
 * The suspect that is being tried, until its result is durable or it is acquitted: were another one sent before, and
 * ended the process, the first would be blamed too, and tried again for ever.
 */
export interface SuspectTurn {
  line: Line | null;
}

/** What a deployment offers just now. */
export interface Serving {
  readonly upstreams: readonly Upstream[];
  readonly concurrencyMax: number;
  /** What to tell when there is no upstream. */
  readonly absence: string;
}

/** A suspect line that was being tried alone at this many ends of the process is the cause. */
const SUSPECT_CRASHES_MAX = 2;
/** Lines are numbered from 1. */
const NO_LINE = 0;
const ROOM_CHECK_MS = 1_000;

/**
 * Sends the lines of one deployment's batches: within the window, to the least loaded healthy upstream, the batches
 * taking turns line by line, so that a large one does not hold up a small one (P18).
 */
export class Dispatcher {
  readonly #deps: DispatchDeps;
  readonly #options: DispatchOptions;
  readonly #lanes: Lanes;
  readonly #window: Window;
  /** In turn order: the next to be served is first. */
  #feeds: Feed[] = [];
  #inFlight = 0;
  #refilling: Promise<void> | null = null;
  #alarmAtMs = Number.POSITIVE_INFINITY;
  #alarmTimer = new AbortController();
  #noRoom = false;
  /** Why there is nothing to send to, if there is nothing. */
  #absence = '';

  /** Sends nothing before the first `update`. */
  constructor(deps: DispatchDeps, options: DispatchOptions) {
    this.#deps = deps;
    this.#options = options;
    this.#lanes = new Lanes(deps.random);
    this.#window = new Window({ sizeMax: 1 });
  }

  /**
   * What serves the batches from now on. Requests in flight finish where they are and count; no new one goes to an
   * upstream that is left out, nor beyond the new limit.
   */
  update(serving: Serving): void {
    this.#lanes.update(serving.upstreams);
    this.#window.resize(serving.concurrencyMax);
    this.#absence = serving.absence;
    this.#pump();
  }

  get isIdle(): boolean {
    return this.#feeds.length === 0;
  }

  /**
   * Sends the batch's lines until nothing is left to claim and every claimed line is durable, or `stopFeed` ended it.
   * Rejects when its lines cannot be claimed or read; then it holds none of them any more.
   */
  async run(batch: Batch): Promise<void> {
    const feed = new Feed(batch);
    this.#feeds.unshift(feed);
    this.#pump();
    await feed.drained.promise;
    this.#feeds = this.#feeds.filter((other) => other !== feed);
    await this.#giveBack(feed);
    if (feed.error !== null) throw feed.error;
  }

  /** No new requests for the batch; those in flight may finish until `graceMs` have passed. */
  stopFeed(batchSeq: number, graceMs: number): void {
    const feed = this.#feeds.find(({ batch }) => batch.seq === batchSeq);
    if (feed === undefined || feed.stopped) return;
    feed.stopped = true;
    feed.closed = true;
    this.#settleIfDrained(feed);
    this.#own(
      this.#deps.clock.sleep(graceMs, feed.abort.signal).then(
        () => feed.abort.abort(),
        () => {
          // Drained before the grace was over.
        },
      ),
    );
  }

  stopAll(graceMs: number): void {
    for (const { batch } of this.#feeds) this.stopFeed(batch.seq, graceMs);
  }

  /** Looks again for something to send: another dispatcher may have ended its turn with a suspect line. */
  poke(): void {
    this.#pump();
  }

  /** Why the batch does not move just now, for its owner. */
  get trouble(): string | null {
    if (this.#noRoom)
      return 'The disk is nearly full. Requests are sent again when there is room for their answers.';
    return this.#lanes.isEmpty ? this.#absence : this.#lanes.trouble;
  }

  activity(batchSeq: number): { readonly inFlight: number; readonly recorded: number } | undefined {
    const feed = this.#feeds.find(({ batch }) => batch.seq === batchSeq);
    return feed && { inFlight: feed.inFlight, recorded: feed.recorded };
  }

  #pump(): void {
    this.#noRoom = false;
    const { size } = this.#window;
    while (this.#inFlight < size && !this.#deps.recorder.isFull(this.#inFlight, size)) {
      const feed = this.#nextFeed();
      if (feed === undefined) break;
      if (!this.#deps.hasRoom()) {
        this.#noRoom = true;
        this.#alarm(this.#deps.clock.mono() + ROOM_CHECK_MS);
        break;
      }
      const choice = this.#lanes.choose(this.#deps.clock.mono());
      if (choice.lane === null) {
        if (choice.atMs !== null) this.#alarm(choice.atMs);
        break;
      }
      const line = this.#takeLine(feed);
      choice.lane.start(choice.kind);
      this.#send(line, feed, choice.lane, choice.kind === 'probe');
    }
    this.#refillIfLow();
  }

  /** The first in turn that has a line to send; it goes to the end of the turn. */
  #nextFeed(): Feed | undefined {
    const index = this.#feeds.findIndex(
      (feed) =>
        !feed.closed &&
        (feed.ready.length > 0 || (feed.suspects.length > 0 && this.#deps.suspectTurn.line === null)),
    );
    if (index === -1) return undefined;
    const [feed] = this.#feeds.splice(index, 1);
    assert(feed, 'the feed was just found');
    this.#feeds.push(feed);
    return feed;
  }

  #endTurn(line: Line): void {
    const { suspectTurn } = this.#deps;
    if (suspectTurn.line === line) suspectTurn.line = null;
  }

  #takeLine(feed: Feed): Line {
    const line = feed.ready.pop() ?? feed.suspects.pop();
    assert(line, 'a feed in turn has a line');
    this.#inFlight += 1;
    feed.inFlight += 1;
    if (isSuspect(line)) this.#deps.suspectTurn.line = line;
    return line;
  }

  #send(line: Line, feed: Feed, lane: Lane, wasProbe: boolean): void {
    if (isSuspect(line)) this.#own(this.#sendSuspect(line, feed, lane, wasProbe));
    else this.#call(line, feed, lane, wasProbe);
  }

  async #sendSuspect(line: Line, feed: Feed, lane: Lane, wasProbe: boolean): Promise<void> {
    const mayTry = await this.#mayTry(line, feed);
    // While its try was written down, the batch may have been cancelled, the lane removed or asked to wait, the disk filled.
    const isLate =
      feed.closed ||
      !this.#lanes.has(lane) ||
      typeof lane.readiness(this.#deps.clock.mono()) === 'number' ||
      !this.#deps.hasRoom();
    if (mayTry && !isLate) return this.#call(line, feed, lane, wasProbe);
    if (mayTry) this.#putBack(line, feed);
    lane.abandon(wasProbe);
    this.#pump();
  }

  /** The way of every request: no `async`, which would cost another promise and two turns of the queue. */
  #call(line: Line, feed: Feed, lane: Lane, wasProbe: boolean): void {
    line.segment.inDoubt += 1;
    line.calls += 1;
    const startedAtMs = this.#deps.clock.mono();
    const { endpoint, body, model, customIdJson } = line;
    const key = idempotencyKey(feed.batch.id, line.number);
    const request = { endpoint, body, model, customIdJson, idempotencyKey: key };
    const receive = (reply: UpstreamReply): void => {
      this.#receive(reply, { line, feed, lane, wasProbe, startedAtMs });
      this.#pump();
    };
    this.#own(lane.upstream.call(request, feed.abort.signal).then(receive));
  }

  /** A suspect's try is noted before it is sent; one that keeps ending the process is not sent again. */
  async #mayTry(line: Line, feed: Feed): Promise<boolean> {
    const { claim } = line.segment;
    if (claim.suspectLine === line.number && claim.suspectCrashes >= SUSPECT_CRASHES_MAX) {
      const error = { code: 'internal_error', message: UNANSWERED.internal_error } as const;
      this.#record(line, feed, { ok: false, payload: unansweredLine(requestName(line, feed), error) });
      return false;
    }
    if (await untilTaken(() => this.#deps.work.markSuspect(claim, line.number), this.#deps)) return true;
    line.segment.lost = true;
    this.#leave(feed);
    this.#close(line, feed);
    return false;
  }

  #receive(
    reply: UpstreamReply,
    call: { line: Line; feed: Feed; lane: Lane; wasProbe: boolean; startedAtMs: number },
  ): void {
    const { line, feed, lane } = call;
    const sort = sortReply(reply);
    if (sort === 'aborted') {
      lane.abandon(call.wasProbe);
      this.#endTurn(line);
      return this.#leave(feed);
    }
    line.segment.inDoubt -= 1;
    const nowMs = this.#deps.clock.mono();
    const retryAfterMs = reply.kind === 'answer' ? reply.retryAfterMs : null;
    lane.note({
      sort,
      lineKey: sort === 'answered' ? '' : `${feed.batch.seq}:${line.number}`,
      startedAtMs: call.startedAtMs,
      nowMs,
      retryAfterMs,
      wasProbe: call.wasProbe,
      isAnswer: reply.kind === 'answer',
      message: sort === 'answered' ? '' : describe(reply),
    });
    // What an upstream says that no longer serves the deployment is held against nobody.
    const isServing = this.#lanes.has(lane);
    if (sort === 'answered') this.#window.grow();
    else if (isServing && sort !== 'rejected' && sort !== 'refused')
      this.#window.shrink({ startedAtMs: call.startedAtMs, nowMs });

    const failedAtMs = (line.failedAtMs ??= sort === 'answered' ? null : nowMs);
    const decision = decide(sort, {
      attempts: line.attempts,
      othersSucceed: isServing && failedAtMs !== null && this.#lanes.succeededSince(failedAtMs),
      everSucceeded: lane.everSucceeded,
      upstreamDown: lane.isOpen || !isServing,
      maxRetries: this.#options.maxRetries,
    });
    if (decision.kind === 'retry') {
      if (decision.counts) line.attempts += 1;
      return this.#retryLater(line, feed, retryAfterMs);
    }
    const name = requestName(line, feed);
    const payload =
      reply.kind === 'answer' ? answerLine(name, reply) : unansweredLine(name, toUpstreamError(reply));
    const usage = reply.kind === 'answer' ? reply.usage : NO_USAGE;
    this.#record(line, feed, { ok: decision.ok, payload, usage });
  }

  #record(
    line: Line,
    feed: Feed,
    outcome: { ok: boolean; payload: Uint8Array; usage?: typeof NO_USAGE },
  ): void {
    const { claim } = line.segment;
    const result: LineResult = {
      batchSeq: feed.batch.seq,
      segmentIndex: claim.index,
      epoch: claim.epoch,
      line: line.number,
      ok: outcome.ok,
      payload: outcome.payload,
      usage: outcome.usage ?? NO_USAGE,
      retries: Math.max(0, line.calls - 1),
    };
    const settle: Settle = (kind) => {
      if (kind === 'lost') line.segment.lost = true;
      else {
        feed.recorded += 1;
        this.#deps.recorded(claim, result);
      }
      this.#close(line, feed);
      this.#pump();
    };
    this.#deps.recorder.record(result, settle);
    this.#leave(feed);
  }

  #retryLater(line: Line, feed: Feed, retryAfterMs: number | null): void {
    const { clock, random } = this.#deps;
    const { retryBaseMs, retryCapMs } = this.#options;
    const waitMs = Math.max(
      retryAfterMs ?? 0,
      backoffMs(line.calls - 1, { baseMs: retryBaseMs, capMs: retryCapMs, random }),
    );
    feed.waiting += 1;
    this.#leave(feed);
    const back = (): void => {
      feed.waiting -= 1;
      if (feed.closed || line.segment.lost) return;
      // Behind the others: were it in front, one poison line could take every probe of a lane for itself.
      (isSuspect(line) ? feed.suspects : feed.ready).unshift(line);
      this.#pump();
    };
    this.#own(
      Promise.all([clock.sleep(waitMs, feed.abort.signal), this.#acquit(line)]).then(back, () => {
        feed.waiting -= 1;
      }),
    );
  }

  /** A suspect that was not sent after all. */
  #putBack(line: Line, feed: Feed): void {
    this.#leave(feed);
    this.#own(
      this.#acquit(line).then(() => {
        feed.suspects.unshift(line);
        this.#pump();
      }),
    );
  }

  /** The process lives on, so the line is not to blame for what the next suspect may do. */
  async #acquit(line: Line): Promise<void> {
    if (!isSuspect(line)) return;
    await untilTaken(() => this.#deps.work.markSuspect(line.segment.claim, NO_LINE), this.#deps);
    this.#endTurn(line);
    this.#pump();
  }

  /** The line is no longer in flight. */
  #leave(feed: Feed): void {
    this.#inFlight -= 1;
    feed.inFlight -= 1;
    this.#settleIfDrained(feed);
  }

  /** The line has a durable result, or belongs to someone else. */
  #close(line: Line, feed: Feed): void {
    const { segment } = line;
    this.#endTurn(line);
    segment.open -= 1;
    if (segment.lost) {
      feed.ready.splice(0, feed.ready.length, ...feed.ready.filter((other) => other.segment !== segment));
      feed.suspects.splice(
        0,
        feed.suspects.length,
        ...feed.suspects.filter((other) => other.segment !== segment),
      );
    }
    if (segment.open <= 0 || segment.lost) feed.segments.delete(segment);
    this.#settleIfDrained(feed);
  }

  #settleIfDrained(feed: Feed): void {
    if (feed.isDrained) feed.drained.resolve();
  }

  /** Keeps a window's worth of lines at hand, and asks first for batches that have none. */
  #refillIfLow(): void {
    if (this.#refilling !== null) return;
    const claim = chooseClaim(this.#feeds, {
      windowSize: this.#window.size,
      hasUpstream: !this.#lanes.isEmpty,
    });
    if (claim === undefined) return;
    const { feed, segmentsMax } = claim;
    this.#refilling = refill(feed, { owner: this.#deps.owner, segmentsMax }, this.#deps)
      .catch((error: unknown) => {
        feed.error = error instanceof Error ? error : new Error(String(error));
        feed.closed = true;
      })
      .then(() => {
        this.#refilling = null;
        this.#settleIfDrained(feed);
        this.#pump();
      });
    this.#own(this.#refilling);
  }

  /** No blame for a stop: a line that takes long must not be suspected for having been cut by several of them. */
  async #giveBack(feed: Feed): Promise<void> {
    feed.abort.abort();
    // What a claim under way may still bring must go back too.
    await this.#refilling;
    await this.#deps.recorder.flush();
    const held = [...feed.segments].filter((segment) => !segment.lost);
    if (held.length === 0) return;
    const back = held.map(({ claim: { batchSeq, index, epoch }, inDoubt }) => ({
      batchSeq,
      index,
      epoch,
      inDoubt,
    }));
    await untilTaken(() => this.#deps.work.release(back), this.#deps);
  }

  #alarm(atMs: number): void {
    if (atMs >= this.#alarmAtMs) return;
    this.#alarmAtMs = atMs;
    this.#alarmTimer.abort();
    this.#alarmTimer = new AbortController();
    const { clock } = this.#deps;
    this.#own(
      clock.sleep(Math.max(1, atMs - clock.mono()), this.#alarmTimer.signal).then(
        () => {
          this.#alarmAtMs = Number.POSITIVE_INFINITY;
          this.#pump();
        },
        () => {
          // An earlier one took its place. Were both left to ring, each would set the next, and they would add up.
        },
      ),
    );
  }

  #own(work: Promise<void>): void {
    work.catch(this.#deps.onFatal);
  }
}

const isSuspect = (line: Line): boolean => line.segment.claim.crashes >= CRASHES_MAX;

const requestName = (line: Line, feed: Feed) => ({
  customIdJson: line.customIdJson,
  batchId: feed.batch.id,
  idStart: feed.idStart,
  line: line.number,
});
