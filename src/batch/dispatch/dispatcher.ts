import type { Batch } from '../../contract/batch.ts';
import { assert } from '../../core/assert.ts';
import type { Clock } from '../../core/clock.ts';
import type { Log } from '../../core/log.ts';
import type { RetryStorms } from '../../core/retry-storm.ts';
import { isAccepted, classifyFailure } from '../../serving/classify.ts';
import type { Server } from '../../serving/server.ts';
import type { Servers } from '../../serving/servers.ts';
import type { BlobStore } from '../../stores/blobs/port.ts';
import type { ClaimedSegment, LineResult, WorkStore } from '../../stores/state/ports.ts';
import { NO_USAGE, type Upstream, type UpstreamReply } from '../../upstream/port.ts';
import { retryTransient } from '../transient.ts';
import type { Recorder, Settle } from '../results/recorder.ts';
import { answerLine, idempotencyKey, UNANSWERED, unansweredLine } from '../results/result-line.ts';
import { DeathSuspects } from './poison/server-deaths.ts';
import { chooseClaim } from './claiming.ts';
import { Failures, type Call, type FailureOptions } from './failures.ts';
import { Backlog, refill, requestNameOf, type Line } from './backlog.ts';
import { chooseRoute, BatchRoute } from './batch-route.ts';
import { CrashSuspects, type SuspectTurn } from './poison/process-crashes.ts';
import { activityOf, type Activity } from './activity.ts';

export interface DispatchDeps {
  readonly work: WorkStore;
  readonly blobs: Pick<BlobStore, 'readBytes'>;
  readonly recorder: Recorder;
  /** Told of each result once it is durable. */
  readonly recorded: (segment: ClaimedSegment, result: LineResult) => void;
  /** Shared by all dispatchers: health and pace belong to the model server. */
  readonly servers: Servers;
  readonly retryStorms: RetryStorms;
  readonly clock: Clock;
  readonly random: () => number;
  readonly log: Log;
  /** This process among all that may hold segments. */
  readonly owner: string;
  /** False: no result could be stored now, so none must be paid for (P10). */
  readonly hasDiskSpace: () => boolean;
  /** Shared by all dispatchers: at most one suspect line is tried at a time. */
  readonly suspectTurn: SuspectTurn;
  readonly onFatal: (error: unknown) => void;
}

/** What a deployment offers just now. */
export interface Serving {
  readonly upstreams: readonly Upstream[];
  readonly concurrencyMax: number;
  /** What to tell when there is no upstream. */
  readonly absence: string;
}

const ROOM_CHECK_MS = 1_000;

/**
 * Sends the lines of one deployment's batches, the batches taking turns line by line, so that a large one does not hold up
 * a small one (P18). Each goes to the least loaded upstream that takes it: `Server` knows its health, window and pace,
 * `BatchRoute` how the batch fares there. `decide` says what becomes of a line whose call failed.
 *
 * A line is in one of these states: ready (to be sent; suspects and those set apart go under conditions of their own),
 * in flight, waiting (for its next try), held (rejected, while it is not known whether that is about the line), recording
 * (handed to the recorder), recorded (its result is durable, or another process holds its segment).
 */
export class Dispatcher {
  readonly #deps: DispatchDeps;
  readonly #options: FailureOptions;
  readonly #deathSuspects = new DeathSuspects();
  readonly #crashSuspects: CrashSuspects;
  readonly #failures: Failures;
  #upstreams: readonly Upstream[] = [];
  readonly #watched = new Map<Server, () => void>();
  #concurrencyMax = 1;
  /** In turn order: the next to be served is first. */
  #backlogs: Backlog[] = [];
  #inFlight = 0;
  #refilling: Promise<void> | null = null;
  #alarmAtMs = Number.POSITIVE_INFINITY;
  #alarmTimer = new AbortController();
  #isDiskFull = false;
  /** Why there is nothing to send to, if there is nothing. */
  #absence = '';

  /** Sends nothing before the first `update`. */
  constructor(deps: DispatchDeps, options: FailureOptions) {
    this.#deps = deps;
    this.#options = options;
    this.#crashSuspects = new CrashSuspects(deps);
    this.#failures = new Failures(deps, options, {
      end: (call, failedAtMs) => this.#end(call, failedAtMs),
      leave: (backlog) => this.#leave(backlog),
      record: (line, backlog, outcome) => this.#record(line, backlog, outcome),
      acquit: async (line) => {
        await this.#crashSuspects.acquit(line);
        this.#sendReady();
      },
      ready: (line, backlog) => {
        (this.#crashSuspects.is(line) ? backlog.crashSuspects : backlog.ready).unshift(line);
        this.#sendReady();
      },
      forget: (line, backlog) => this.#forget(line, backlog),
      sendReady: () => this.#sendReady(),
      own: (work) => this.#own(work),
    });
  }

  /**
   * What serves the batches from now on. Requests in flight finish where they are and count; no new one goes to an
   * upstream that is left out, nor beyond the new limit.
   */
  update(serving: Serving): void {
    this.#upstreams = serving.upstreams;
    this.#concurrencyMax = serving.concurrencyMax;
    this.#absence = serving.absence;
    const servers = new Set(serving.upstreams.map((upstream) => this.#deps.servers.of(upstream)));
    for (const server of servers)
      if (!this.#watched.has(server)) this.#watched.set(server, server.watch(this.wake));
    for (const [server, unwatch] of this.#watched) {
      if (servers.has(server)) continue;
      unwatch();
      this.#watched.delete(server);
    }
    for (const backlog of this.#backlogs) this.#place(backlog);
    this.#sendReady();
  }

  get isIdle(): boolean {
    return this.#backlogs.length === 0;
  }

  /** Leaves nothing behind at the servers. Call when it is idle. */
  detach(): void {
    for (const unwatch of this.#watched.values()) unwatch();
    this.#watched.clear();
  }

  /**
   * Sends the batch's lines until nothing is left to claim and every claimed line is durable, or `stopBatch` ended it.
   * Rejects when its lines cannot be claimed or read; then it holds none of them any more.
   */
  async run(batch: Batch): Promise<void> {
    const backlog = new Backlog(batch, this.#options);
    this.#place(backlog);
    this.#backlogs.unshift(backlog);
    this.#sendReady();
    await backlog.drained.promise;
    this.#backlogs = this.#backlogs.filter((other) => other !== backlog);
    await this.#giveBack(backlog);
    if (backlog.error !== null) throw backlog.error;
  }

  /** No new requests for the batch; those in flight may finish until `graceMs` have passed. */
  stopBatch(batchSeq: number, graceMs: number): void {
    const backlog = this.#backlogs.find(({ batch }) => batch.seq === batchSeq);
    if (backlog === undefined || backlog.isStopped) return;
    backlog.isStopped = true;
    backlog.isHalted = true;
    this.#settleIfDrained(backlog);
    this.#own(
      this.#deps.clock.sleep(graceMs, backlog.abort.signal).then(
        () => backlog.abort.abort(),
        () => {
          // Drained before the grace was over.
        },
      ),
    );
  }

  stopAll(graceMs: number): void {
    for (const { batch } of this.#backlogs) this.stopBatch(batch.seq, graceMs);
  }

  /** Looks again for something to send: another dispatcher may have ended its turn with a suspect line. */
  readonly wake = (): void => this.#sendReady();

  /** What a batch is doing; undefined: it is not sent from here. `waiting`: why it does not move, for its owner. */
  activity(batchSeq: number): Activity | undefined {
    const backlog = this.#backlogs.find(({ batch }) => batch.seq === batchSeq);
    if (backlog === undefined) return undefined;
    return activityOf(backlog, {
      isDiskFull: this.#isDiskFull,
      absence: this.#upstreams.length === 0 ? this.#absence : null,
      concurrencyMax: this.#concurrencyMax,
    });
  }

  /** What is known of how a batch fares somewhere is kept as long as that upstream serves it. */
  #place(backlog: Backlog): void {
    backlog.routes = this.#upstreams.map(
      (upstream) =>
        backlog.routes.find((known) => known.upstream === upstream) ??
        new BatchRoute(upstream, this.#deps.servers.of(upstream), backlog.batch.endpoint),
    );
  }

  #sendReady(): void {
    this.#isDiskFull = false;
    while (
      this.#inFlight < this.#concurrencyMax &&
      !this.#deps.recorder.isFull(this.#inFlight, this.#concurrencyMax)
    ) {
      const call = this.#nextCall();
      if (call === null) break;
      this.#start(call);
      if (this.#crashSuspects.is(call.line)) this.#own(this.#sendSuspect(call));
      else this.#send(call);
    }
    this.#refillIfLow();
  }

  /** The next line of the first batch in turn that has one and somewhere to send it; the batch goes to the end of the turn. */
  #nextCall(): Call | null {
    let atMs = Number.POSITIVE_INFINITY;
    for (const [index, backlog] of this.#backlogs.entries()) {
      if (backlog.isHalted) continue;
      const queue = this.#queueOf(backlog);
      if (queue === null) continue;
      if (!this.#deps.hasDiskSpace()) {
        this.#isDiskFull = true;
        atMs = this.#deps.clock.mono() + ROOM_CHECK_MS;
        break;
      }
      const choice = chooseRoute(backlog, { nowMs: this.#deps.clock.mono(), onPlace: this.wake });
      if (choice.batchRoute === null) {
        atMs = Math.min(atMs, choice.atMs);
        continue;
      }
      if (index < this.#backlogs.length - 1) this.#backlogs.push(...this.#backlogs.splice(index, 1));
      const isProbe = choice.kind === 'route-probe' && queue.lines === backlog.ready;
      const line = isProbe ? queue.lines.splice(this.#probeAt(queue), 1)[0] : takeAt(queue);
      assert(line, 'a queue that was chosen has a line');
      return { line, backlog, batchRoute: choice.batchRoute, kind: choice.kind };
    }
    if (atMs < Number.POSITIVE_INFINITY) this.#alarm(atMs);
    return null;
  }

  /** Bad lines often stand together: of those that were not sent yet, any tells more than the next one. */
  #probeAt({ lines, at }: { readonly lines: readonly Line[]; readonly at: number }): number {
    const first = lines.findIndex(({ calls }) => calls === 0);
    return first === -1 ? at : first + Math.floor(this.#deps.random() * (lines.length - first));
  }

  /** Where the batch's next line is: among the ready ones, then those that are sent under conditions. Null: none can go. */
  #queueOf(backlog: Backlog): { readonly lines: Line[]; readonly at: number } | null {
    for (let line = backlog.ready.at(-1); line !== undefined; line = backlog.ready.at(-1)) {
      const admitted = this.#deathSuspects.admit(line, backlog);
      if (admitted === false) return { lines: backlog.ready, at: backlog.ready.length - 1 };
      backlog.ready.pop();
      if (admitted === 'guilty') this.#failures.recordFailure(line, backlog);
    }
    if (backlog.crashSuspects.length > 0 && this.#crashSuspects.isFree)
      return { lines: backlog.crashSuspects, at: backlog.crashSuspects.length - 1 };
    const at = backlog.deathSuspects.length === 0 ? -1 : this.#deathSuspects.next(backlog);
    return at === -1 ? null : { lines: backlog.deathSuspects, at };
  }

  #start({ line, backlog, batchRoute, kind }: Call): void {
    this.#inFlight += 1;
    backlog.inFlight += 1;
    batchRoute.inFlight += 1;
    batchRoute.server.start(kind === 'probe' ? 'probe' : 'request');
    if (kind === 'route-probe') batchRoute.route.startProbe();
    this.#deathSuspects.start(line);
    if (this.#crashSuspects.is(line)) this.#crashSuspects.startTurn(line);
  }

  /** The call is over, and what it says of its server and route is noted. `failedAtMs`: null unless it failed. */
  #end({ line, batchRoute, kind }: Call, failedAtMs: number | null): void {
    const { server, route } = batchRoute;
    batchRoute.inFlight -= 1;
    this.#deathSuspects.end(line);
    if (kind === 'route-probe') route.endProbe(failedAtMs);
    server.end(kind === 'probe' ? 'probe' : 'request');
  }

  async #sendSuspect(call: Call): Promise<void> {
    const { line, backlog, batchRoute } = call;
    const verdict = await this.#crashSuspects.prepare(line);
    const readiness = batchRoute.server.readiness(this.#deps.clock.mono());
    // While its try was written down, the batch may have been cancelled, the upstream removed or asked to wait, the disk
    // filled.
    const isLate =
      backlog.isHalted ||
      !backlog.routes.includes(batchRoute) ||
      typeof readiness === 'number' ||
      !this.#deps.hasDiskSpace();
    if (verdict === 'try' && !isLate) return this.#send(call);
    this.#end(call, null);
    this.#leave(backlog);
    if (verdict === 'guilty') {
      const error = { code: 'internal_error', message: UNANSWERED.internal_error } as const;
      this.#record(line, backlog, {
        ok: false,
        payload: unansweredLine(requestNameOf(line, backlog), error),
      });
    } else if (verdict === 'lost') {
      line.segment.isLost = true;
      this.#settle(line, backlog);
    } else {
      // It was not sent after all.
      await this.#crashSuspects.acquit(line);
      backlog.crashSuspects.unshift(line);
    }
    this.#sendReady();
  }

  /** The way of every request: no `async`, which would cost another promise and two turns of the queue. */
  #send(call: Call): void {
    const { line, backlog, batchRoute } = call;
    line.segment.inDoubt += 1;
    if (line.calls > 0) backlog.retries += 1;
    line.calls += 1;
    const startedAtMs = this.#deps.clock.mono();
    const { endpoint, body, model, customIdJson } = line;
    const key = idempotencyKey(backlog.batch.id, line.number);
    const request = { endpoint, body, model, customIdJson, idempotencyKey: key };
    const receive = (reply: UpstreamReply): void => {
      this.#receive(reply, call, startedAtMs);
      this.#sendReady();
    };
    this.#own(batchRoute.upstream.call(request, backlog.abort.signal).then(receive));
  }

  #receive(reply: UpstreamReply, call: Call, startedAtMs: number): void {
    const { line, backlog, batchRoute } = call;
    const { server, route } = batchRoute;
    if (reply.kind === 'failure' && reply.reason === 'aborted') {
      this.#end(call, null);
      this.#crashSuspects.endTurn(line);
      return this.#leave(backlog);
    }
    line.segment.inDoubt -= 1;
    const nowMs = this.#deps.clock.mono();
    if (!isAccepted(reply))
      return this.#failures.receive({ ...call, reply, failure: classifyFailure(reply), startedAtMs, nowMs });
    route.accepted({ startedAtMs, nowMs });
    server.accepted(nowMs);
    this.#end(call, null);
    backlog.accepted += 1;
    backlog.latestFailure = null;
    const payload = answerLine(requestNameOf(line, backlog), reply);
    this.#record(line, backlog, { ok: true, payload, usage: reply.usage });
    this.#leave(backlog);
    if (backlog.held.length > 0) this.#failures.judgeRejections(backlog);
  }

  #record(
    line: Line,
    backlog: Backlog,
    outcome: { ok: boolean; payload: Uint8Array; usage?: typeof NO_USAGE },
  ): void {
    const { claim } = line.segment;
    const retries = Math.max(0, line.calls - 1);
    const result: LineResult = {
      batchSeq: backlog.batch.seq,
      segmentIndex: claim.index,
      epoch: claim.epoch,
      line: line.number,
      ok: outcome.ok,
      payload: outcome.payload,
      usage: outcome.usage ?? NO_USAGE,
      retries,
    };
    const settle: Settle = (kind) => {
      backlog.retries -= retries;
      if (kind === 'lost') line.segment.isLost = true;
      else {
        backlog.recorded += 1;
        this.#deps.recorded(claim, result);
      }
      this.#settle(line, backlog);
      if (backlog.held.length > 0) this.#failures.judgeRejections(backlog);
      this.#sendReady();
    };
    this.#deps.recorder.record(result, settle);
  }

  /** The line is no longer in flight. */
  #leave(backlog: Backlog): void {
    this.#inFlight -= 1;
    backlog.inFlight -= 1;
    this.#settleIfDrained(backlog);
  }

  /** The line has a durable result, or belongs to someone else. */
  #settle(line: Line, backlog: Backlog): void {
    const { segment } = line;
    this.#crashSuspects.endTurn(line);
    segment.unrecorded -= 1;
    this.#forget(line, backlog);
    if (segment.isLost) {
      for (const queue of [backlog.ready, backlog.crashSuspects, backlog.deathSuspects]) {
        const kept = queue.filter((other) => other.segment !== segment);
        for (const other of queue) if (other.segment === segment) this.#forget(other, backlog);
        queue.splice(0, queue.length, ...kept);
      }
    }
    if (segment.unrecorded <= 0 || segment.isLost) backlog.segments.delete(segment);
    this.#settleIfDrained(backlog);
  }

  #forget(line: Line, backlog: Backlog): void {
    if (line.trouble !== null) backlog.troubled -= 1;
    line.trouble = null;
  }

  #settleIfDrained(backlog: Backlog): void {
    if (backlog.isDrained) backlog.drained.resolve();
  }

  /** Keeps a window's worth of lines at hand, and asks first for batches that have none. */
  #refillIfLow(): void {
    if (this.#refilling !== null) return;
    const claim = chooseClaim(this.#backlogs, {
      windowSize: this.#width(),
      hasUpstream: this.#upstreams.length > 0,
    });
    if (claim === undefined) return;
    const { backlog, segmentsMax } = claim;
    this.#refilling = refill(backlog, { owner: this.#deps.owner, segmentsMax }, this.#deps)
      .catch((error: unknown) => {
        backlog.error = error instanceof Error ? error : new Error(String(error));
        backlog.isHalted = true;
      })
      .then(() => {
        this.#refilling = null;
        this.#settleIfDrained(backlog);
        if (backlog.held.length > 0) this.#failures.judgeRejections(backlog);
        this.#sendReady();
      });
    this.#own(this.#refilling);
  }

  /** Requests that may be in flight just now. */
  #width(): number {
    let width = 0;
    for (const server of this.#watched.keys()) width += server.window.size;
    return Math.max(1, Math.min(this.#concurrencyMax, width));
  }

  /** No blame for a stop: a line that takes long must not be suspected for having been cut by several of them. */
  async #giveBack(backlog: Backlog): Promise<void> {
    backlog.abort.abort();
    // What a claim under way may still bring must go back too.
    await this.#refilling;
    await this.#deps.recorder.flush();
    const held = [...backlog.segments].filter((segment) => !segment.isLost);
    if (held.length === 0) return;
    const back = held.map(({ claim: { batchSeq, index, epoch }, inDoubt }) => ({
      batchSeq,
      index,
      epoch,
      inDoubt,
    }));
    await retryTransient(() => this.#deps.work.release(back), this.#deps);
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
          this.#sendReady();
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

/** The last one, as nearly always, without a list of those that are taken. */
const takeAt = ({ lines, at }: { readonly lines: Line[]; readonly at: number }): Line | undefined =>
  at === lines.length - 1 ? lines.pop() : lines.splice(at, 1)[0];
