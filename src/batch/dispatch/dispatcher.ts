import type { Batch } from '../../contract/batch.ts';
import { assert } from '../../core/assert.ts';
import type { RetryStorms } from '../../serving/retry-storm.ts';
import { classifyFailure, isAccepted } from '../../serving/classify.ts';
import type { ServingDeps } from '../../serving/deps.ts';
import type { Server } from '../../serving/server.ts';
import type { Servers } from '../../serving/servers.ts';
import type { LineResult, WorkStore } from '../../stores/state/ports.ts';
import type { Upstream, UpstreamReply } from '../../upstream/port.ts';
import type { Inputs } from '../inputs.ts';
import type { Activity } from '../progress.ts';
import { retryTransient } from '../transient.ts';
import type { Recorder, Settle } from '../results/recorder.ts';
import { answerLine, idempotencyKey } from '../results/result-line.ts';
import { activityOf } from './activity.ts';
import { Alarm } from './alarm.ts';
import { Backlog, requestNameOf, type Line } from './backlog.ts';
import { BatchRoute, chooseRoute } from './batch-route.ts';
import type { Call, LineTransitions, LineOutcome } from './call.ts';
import { Failures, type FailureOptions } from './failures.ts';
import { CrashSuspects, type SuspectTurn } from './poison/process-crashes.ts';
import { DeathSuspects } from './poison/server-deaths.ts';
import { chooseClaim, refill } from './refill.ts';

export interface DispatchDeps extends ServingDeps {
  readonly work: WorkStore;
  readonly inputs: Pick<Inputs, 'readBytes'>;
  readonly recorder: Recorder;
  readonly servers: Servers;
  readonly retryStorms: RetryStorms;
  readonly workerId: string;
  readonly hasDiskSpace: () => boolean;
  readonly suspectTurn: SuspectTurn;
  readonly onFatal: (error: unknown) => void;
}

/** What serves the batches of a deployment just now. */
export interface DispatchTarget {
  readonly upstreams: readonly Upstream[];
  readonly concurrencyMax: number;
  /** Tells the caller who created a batch why no upstream serves it. It is read only when `upstreams` is empty. */
  readonly absence: string;
}

const DISK_CHECK_MS = 1_000;

/**
 * Sends the lines of one deployment's batches. The batches take turns line by line, so that a large batch does not hold up
 * a small one (P18). A line goes to the least loaded upstream that takes it: `Server` knows the health, window and pace of a
 * server, `BatchRoute` knows whether the batch is held back there. `decide` says what becomes of a line whose call failed.
 *
 * A line that this process has claimed is always in one of these states:
 *
 * | state         | meaning                                                     | kept in                                   |
 * | ------------- | ----------------------------------------------------------- | ----------------------------------------- |
 * | ready         | it may be sent                                              | `Backlog.ready`                           |
 * | crash suspect | it may be what ended the process; it is sent alone          | `Backlog.crashSuspects`                   |
 * | death suspect | it was in flight when a server died; few are sent at a time | `Backlog.deathSuspects`                   |
 * | in flight     | its request is out, or its try as a suspect is being noted  | its `Call`; counted in `Backlog.inFlight` |
 * | waiting       | its call failed, and its next try comes later               | a timer; counted in `Backlog.waiting`     |
 * | held          | it was rejected, and that may be about the set-up           | `Backlog.held`                            |
 * | recording     | its outcome is known and not durable                        | `Recorder`                                |
 * | recorded      | its result is durable                                       | the store                                 |
 * | lost          | another worker has its segment, or its batch is over        | –                                         |
 * | given back    | its segment may be claimed again                            | the store                                 |
 *
 * | from                    | to                   | when                                                  | in                         |
 * | ----------------------- | -------------------- | ----------------------------------------------------- | -------------------------- |
 * | –                       | ready, crash suspect | its segment is claimed                                | `refill`                   |
 * | ready                   | death suspect        | its server has died while it was in flight            | `DeathSuspects.admit`      |
 * | ready                   | recording            | the server has died with it for the fourth time       | `DeathSuspects.admit`      |
 * | ready, death suspect    | in flight            | it is its batch's turn, and a route takes it          | `#nextCall`, `#send`       |
 * | crash suspect           | in flight            | the same, and no other suspect is being tried         | `#nextCall`, `#start`      |
 * | in flight (being noted) | recording            | the process ended twice while it was tried            | `CrashSuspects.try`        |
 * | in flight (being noted) | crash suspect        | nothing may be sent there any more                    | `CrashSuspects.try`        |
 * | in flight               | recording            | it was accepted                                       | `#receive`                 |
 * | in flight               | recording            | it failed, and pays for it                            | `Failures.receive`         |
 * | in flight               | waiting              | it failed, and is tried again                         | `Failures.receive`         |
 * | in flight               | held                 | it is rejected, and no line of its batch was accepted | `Failures.receive`         |
 * | waiting                 | ready, crash suspect | its pause is over                                     | `Backlog.requeue`          |
 * | held                    | recording            | the rejection is about the line                       | `Failures.judgeRejections` |
 * | held                    | ready, crash suspect | the rejection is about the set-up                     | `Failures.judgeRejections` |
 * | recording               | recorded             | its commit has returned                               | `#record`                  |
 * | any                     | lost                 | a commit, or the note of a suspect, says so           | `#record`, `CrashSuspects` |
 * | all but recording       | given back           | its batch is stopped, or cannot be read               | `#giveBack`                |
 *
 * A call that is in flight when its batch's grace is over is aborted; its line is given back with the others.
 */
export class Dispatcher {
  readonly #deps: DispatchDeps;
  readonly #options: FailureOptions;
  readonly #crashSuspects: CrashSuspects;
  readonly #deathSuspects = new DeathSuspects();
  readonly #failures: Failures;
  readonly #alarm: Alarm;
  #upstreams: readonly Upstream[] = [];
  readonly #watched = new Map<Server, () => void>();
  #concurrencyMax = 1;
  /** In turn order: the next to be served is first. */
  #backlogs: Backlog[] = [];
  #inFlight = 0;
  #refilling: Promise<void> | null = null;
  #isDiskFull = false;
  #absence = '';

  /** Sends nothing before the first `update`. */
  constructor(deps: DispatchDeps, options: FailureOptions) {
    this.#deps = deps;
    this.#options = options;
    const transitions: LineTransitions = {
      send: (call) => this.#send(call),
      end: (call, failedAtMs) => this.#end(call, failedAtMs),
      leave: (backlog) => this.#leave(backlog),
      record: (line, backlog, outcome) => this.#record(line, backlog, outcome),
      acquit: (line) => this.#crashSuspects.acquit(line),
      sendReady: () => this.#sendReady(),
      own: (work) => this.#own(work),
    };
    this.#crashSuspects = new CrashSuspects(deps, transitions);
    this.#failures = new Failures(deps, options, transitions);
    this.#alarm = new Alarm(deps.clock, this.wake);
  }

  /**
   * What serves the batches from now on. Requests in flight finish where they are, and count. No new one goes to an
   * upstream that is left out, nor beyond the new limit.
   */
  update(target: DispatchTarget): void {
    this.#upstreams = target.upstreams;
    this.#concurrencyMax = target.concurrencyMax;
    this.#absence = target.absence;
    const servers = new Set(target.upstreams.map((upstream) => this.#deps.servers.of(upstream)));
    for (const server of servers)
      if (!this.#watched.has(server)) this.#watched.set(server, server.watch(this.wake));
    for (const [server, unwatch] of this.#watched) {
      if (servers.has(server)) continue;
      unwatch();
      this.#watched.delete(server);
    }
    for (const backlog of this.#backlogs) this.#updateRoutes(backlog);
    this.#sendReady();
  }

  get isIdle(): boolean {
    return this.#backlogs.length === 0;
  }

  /** Stops watching servers. Call when the dispatcher is idle. */
  detach(): void {
    for (const unwatch of this.#watched.values()) unwatch();
    this.#watched.clear();
  }

  /**
   * Sends the batch's lines until nothing is left to claim and every claimed line is durable, or until `stopBatch`. Rejects
   * when its lines cannot be claimed or read; then this process holds none of them any more.
   */
  async run(batch: Batch): Promise<void> {
    const backlog = new Backlog(batch, this.#options);
    this.#updateRoutes(backlog);
    this.#backlogs.unshift(backlog);
    this.#sendReady();
    await backlog.drained.promise;
    this.#backlogs = this.#backlogs.filter((other) => other !== backlog);
    await this.#giveBack(backlog);
    if (backlog.error !== null) throw backlog.error;
  }

  /** Sends nothing more for the batch. Its requests in flight may finish until `graceMs` have passed. */
  stopBatch(batchSeq: number, graceMs: number): void {
    const backlog = this.#find(batchSeq);
    if (backlog === undefined || backlog.isStopped) return;
    backlog.isStopped = true;
    backlog.halt();
    this.#own(
      this.#deps.clock.sleep(graceMs, backlog.abort.signal).then(
        () => backlog.abort.abort(),
        () => {
          // The backlog was drained before.
        },
      ),
    );
  }

  stopAll(graceMs: number): void {
    for (const { batch } of this.#backlogs) this.stopBatch(batch.seq, graceMs);
  }

  /** There may be something to send again: a server is back, or another dispatcher's suspect has ended its turn. */
  readonly wake = (): void => this.#sendReady();

  /** What a batch is doing; undefined: it is not sent from here. */
  activity(batchSeq: number): Activity | undefined {
    const backlog = this.#find(batchSeq);
    if (backlog === undefined) return undefined;
    return activityOf(backlog, {
      isDiskFull: this.#isDiskFull,
      absence: this.#upstreams.length === 0 ? this.#absence : null,
      concurrencyMax: this.#concurrencyMax,
    });
  }

  #find(batchSeq: number): Backlog | undefined {
    return this.#backlogs.find(({ batch }) => batch.seq === batchSeq);
  }

  /** What is known of a batch at an upstream is kept as long as the upstream serves the batch. */
  #updateRoutes(backlog: Backlog): void {
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
      if (call.line.segment.isSuspect) this.#own(this.#crashSuspects.try(call));
      else this.#send(call);
    }
    this.#refillIfLow();
  }

  /** Takes the next call: of the first batch in turn that has a line and a route for it. Then that batch is last in turn. */
  #nextCall(): Call | null {
    let atMs = Number.POSITIVE_INFINITY;
    for (const [index, backlog] of this.#backlogs.entries()) {
      if (backlog.isHalted) continue;
      const queue = this.#queueOf(backlog);
      if (queue === null) continue;
      if (!this.#deps.hasDiskSpace()) {
        this.#isDiskFull = true;
        atMs = this.#deps.clock.mono() + DISK_CHECK_MS;
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
    if (atMs < Number.POSITIVE_INFINITY) this.#own(this.#alarm.set(atMs));
    return null;
  }

  /** Where the batch's next line is: among the ready lines first, then among the suspects. Null: none can be sent. */
  #queueOf(backlog: Backlog): { readonly lines: Line[]; readonly at: number } | null {
    for (let line = backlog.ready.at(-1); line !== undefined; line = backlog.ready.at(-1)) {
      const state = this.#deathSuspects.admit(line, backlog);
      if (state === 'ready') return { lines: backlog.ready, at: backlog.ready.length - 1 };
      backlog.ready.pop();
      if (state === 'guilty') this.#failures.recordFailure(line, backlog);
    }
    if (backlog.crashSuspects.length > 0 && !this.#crashSuspects.isAnyTried)
      return { lines: backlog.crashSuspects, at: backlog.crashSuspects.length - 1 };
    const at = backlog.deathSuspects.length === 0 ? -1 : this.#deathSuspects.next(backlog);
    return at === -1 ? null : { lines: backlog.deathSuspects, at };
  }

  /** Bad lines often stand together. So any line that was not sent yet makes a better probe than the next one. */
  #probeAt({ lines, at }: { readonly lines: readonly Line[]; readonly at: number }): number {
    const first = lines.findIndex(({ calls }) => calls === 0);
    return first === -1 ? at : first + Math.floor(this.#deps.random() * (lines.length - first));
  }

  #start({ line, backlog, batchRoute, kind }: Call): void {
    this.#inFlight += 1;
    backlog.inFlight += 1;
    batchRoute.inFlight += 1;
    batchRoute.server.start(kind === 'probe' ? 'probe' : 'request');
    if (kind === 'route-probe') batchRoute.route.startProbe();
    this.#deathSuspects.start(line);
    if (line.segment.isSuspect) this.#crashSuspects.startTurn(line);
  }

  /** Every request goes this way. It is not `async`: that would cost another promise and two turns of the microtask queue. */
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

  #end({ line, batchRoute, kind }: Call, failedAtMs: number | null): void {
    const { server, route } = batchRoute;
    batchRoute.inFlight -= 1;
    this.#deathSuspects.end(line);
    if (kind === 'route-probe') route.endProbe(failedAtMs);
    server.end(kind === 'probe' ? 'probe' : 'request');
  }

  #record(line: Line, backlog: Backlog, outcome: LineOutcome): void {
    const { claim } = line.segment;
    const retries = Math.max(0, line.calls - 1);
    const result: LineResult = {
      batchSeq: backlog.batch.seq,
      segmentIndex: claim.index,
      epoch: claim.epoch,
      line: line.number,
      ok: outcome.ok,
      payload: outcome.payload,
      usage: outcome.usage,
      retries,
    };
    const settle: Settle = (kind) => {
      backlog.retries -= retries;
      if (kind === 'lost') line.segment.isLost = true;
      this.#crashSuspects.endTurn(line);
      backlog.settle(line);
      if (backlog.held.length > 0) this.#failures.judgeRejections(backlog);
      this.#sendReady();
    };
    this.#deps.recorder.record(result, settle);
  }

  #leave(backlog: Backlog): void {
    this.#inFlight -= 1;
    backlog.inFlight -= 1;
    backlog.settleIfDrained();
  }

  /** Keeps a window's worth of lines ready. Batches that have none claim first. */
  #refillIfLow(): void {
    if (this.#refilling !== null) return;
    const claim = chooseClaim(this.#backlogs, {
      windowSize: this.#windowSize(),
      hasUpstream: this.#upstreams.length > 0,
    });
    if (claim === undefined) return;
    const { backlog, segmentsMax } = claim;
    this.#refilling = refill(backlog, { workerId: this.#deps.workerId, segmentsMax }, this.#deps)
      .catch((error: unknown) => {
        backlog.error = error instanceof Error ? error : new Error(String(error));
        backlog.isHalted = true;
      })
      .then(() => {
        this.#refilling = null;
        backlog.settleIfDrained();
        if (backlog.held.length > 0) this.#failures.judgeRejections(backlog);
        this.#sendReady();
      });
    this.#own(this.#refilling);
  }

  /** Requests that may be in flight just now. */
  #windowSize(): number {
    let size = 0;
    for (const server of this.#watched.keys()) size += server.window.size;
    return Math.max(1, Math.min(this.#concurrencyMax, size));
  }

  /**
   * Releases the backlog's segments, and says of each how many requests are in doubt. A stop is no reason for suspicion: a
   * line that takes long must not become a suspect because several stops cut it off.
   */
  async #giveBack(backlog: Backlog): Promise<void> {
    backlog.abort.abort();
    // A claim that is being made may still bring segments.
    await this.#refilling;
    await this.#deps.recorder.flush();
    const segments = [...backlog.segments].filter((segment) => !segment.isLost);
    if (segments.length === 0) return;
    const back = segments.map(({ claim, inDoubt }) => ({ ...claim, inDoubt }));
    await retryTransient(() => this.#deps.work.release(back), this.#deps);
  }

  #own(work: Promise<void>): void {
    work.catch(this.#deps.onFatal);
  }
}

/** Takes one line out of a queue. Nearly always that is the last line, and `pop` makes no list of what is taken. */
const takeAt = ({ lines, at }: { readonly lines: Line[]; readonly at: number }): Line | undefined =>
  at === lines.length - 1 ? lines.pop() : lines.splice(at, 1)[0];
