import type { BatchEndpoint } from '../contract/batch.ts';
import type { Upstream } from '../upstream/port.ts';
import { mayBeDown, type ClassifiedFailure } from './failure.ts';
import type { ServingDeps } from './deps.ts';
import { pauseMs } from './pause.ts';
import { Route } from './route.ts';
import { Window } from './window.ts';

/** The breaker opens after this many calls in a row that reach nobody. Fewer may be the network's fault. */
const UNREACHABLE_CALLS = 3;
/** A server with a limit of its own asks to slow down all the time. The log says so at most this often. */
const SLOW_LOGGED_EVERY_MS = 60_000;
/** The answer to a request for the list of models is used for this long. */
const MODEL_LIST_EVERY_MS = 5_000;
/** The list is asked for at most this often. */
const MODEL_LIST_AGAIN_MS = 1_000;
const MODEL_LIST_TIMEOUT_MS = 10_000;

/** A run of failures that may be the death of a server. It ends when the server answers. */
export interface Outage {
  readonly startMs: number;
  isRunning: boolean;
  /** The breaker opened meanwhile, or many lines failed alike. */
  isDeath: boolean;
}

/** One call that failed, as the server's health sees it. */
export interface FailureReport {
  readonly failure: ClassifiedFailure;
  readonly startedAtMs: number;
  readonly nowMs: number;
  /** Whether the reply says something about the server. A reply that is about its request alone does not. */
  readonly isAboutServer: boolean;
  /** Whether the failure may be a sign of the server's load. One line that fails again and again is none. */
  readonly isLoad: boolean;
}

/**
 * What this process knows of one model server: its circuit breaker, its window and the pace that it asks for. There is one
 * `Server` for each address and key, shared by every deployment, batch and resource of this process.
 *
 * The circuit breaker is in one of three states:
 *
 * - Closed: requests go out as the window allows. Calls in a row that reach nobody open the breaker.
 * - Open: nothing goes out until a pause is over.
 * - Half-open: the pause is over, and one request goes out as a probe. A reply of the server closes the breaker. Otherwise
 *   the breaker is open again, and the next pause is longer.
 *
 * In each state, nothing goes out before the time until which the server has asked to be left alone.
 *
 * Failures that may be the server's death, and follow one another without an answer, are an `Outage`. The lines that were
 * in flight when it began are suspects if it turns out to be a death.
 *
 * Server knows nothing of single batches: `Route` knows what is refused at an endpoint, the dispatcher judges lines.
 */
export class Server {
  readonly name: string;
  readonly window = new Window();
  inFlight = 0;
  /** When any call was accepted last (monotonic ms). */
  #acceptedAtMs = Number.NEGATIVE_INFINITY;
  /** When it last answered with its list of models, or that it has none (monotonic ms). */
  #listedAtMs = Number.NEGATIVE_INFINITY;
  /** The models that it listed last; null: no list is known. */
  models: readonly string[] | null = null;
  readonly #deps: ServingDeps;
  #trouble: { readonly text: string; readonly sinceMs: number } | null = null;
  readonly #routes = new Map<string, Route>();
  readonly #watchers = new Set<() => void>();
  /** Callbacks of those who found the window full, in the order of their turns. */
  readonly #waiting: (() => void)[] = [];
  #unreachableCalls = 0;
  /** When the pause of the open breaker is over; null: the breaker is closed. */
  #probeAtMs: number | null = null;
  #probes = 0;
  #probing = false;
  #throttledUntilMs = 0;
  #throttles = 0;
  /** When it last asked to slow down. Calls that began before say nothing new of its pace. */
  #pausedAtMs = Number.NEGATIVE_INFINITY;
  #slowLoggedAtMs = Number.NEGATIVE_INFINITY;
  /** The latest failure that was a sign of overload. */
  #overload: string | null = null;
  #outage: Outage | null = null;
  #listing: Promise<void> | null = null;
  #listAtMs = Number.NEGATIVE_INFINITY;
  #listAskedAtMs = Number.NEGATIVE_INFINITY;
  #missedLists = 0;

  constructor(name: string, deps: ServingDeps) {
    this.name = name;
    this.#deps = deps;
  }

  route({ model }: Pick<Upstream, 'model'>, endpoint: BatchEndpoint): Route {
    const key = `${endpoint} ${model}`;
    const route = this.#routes.get(key) ?? new Route(this, endpoint, this.#deps);
    this.#routes.set(key, route);
    return route;
  }

  /** Why nothing is sent, and since when (wall clock); null: nothing is in the way. */
  get trouble(): { readonly text: string; readonly sinceMs: number } | null {
    const isOver = !this.isDown && this.#deps.clock.mono() >= this.#throttledUntilMs;
    if (isOver) this.#trouble = null;
    return this.#trouble;
  }

  /** Why it gets fewer than half of the `wanted` requests at a time, for people; null: it gets more. */
  slowness(wanted: number): string | null {
    const { size } = this.window;
    if (this.#overload === null || size > wanted / 2) return null;
    const requests = size === 1 ? 'one request' : `${size} requests`;
    return `${this.name} is overloaded and gets ${requests} at a time until it recovers. It said: ${this.#overload}`;
  }

  /** The breaker is not closed. */
  get isDown(): boolean {
    return this.#probeAtMs !== null;
  }

  /**
   * Says what may be sent now. `request`: any request. `probe`: one request, and no other before its reply. `full`: nothing,
   * because the window is full. A number: nothing before that time (monotonic ms). Null: nothing before a probe has ended.
   */
  readiness(nowMs: number): 'request' | 'probe' | 'full' | number | null {
    if (nowMs < this.#throttledUntilMs) return this.#throttledUntilMs;
    if (this.#probeAtMs === null) return this.inFlight < this.window.size ? 'request' : 'full';
    if (this.#probing) return null;
    return nowMs >= this.#probeAtMs ? 'probe' : this.#probeAtMs;
  }

  start(kind: 'request' | 'probe'): void {
    this.inFlight += 1;
    if (kind === 'probe') this.#probing = true;
  }

  /** The call is over. Invariant: `accepted` or `failed` comes first. Otherwise the next request goes to a server that is down. */
  end(kind: 'request' | 'probe'): void {
    this.inFlight -= 1;
    if (kind === 'probe') {
      this.#probing = false;
      this.changed();
    }
    this.#waiting.shift()?.();
  }

  accepted(nowMs: number): void {
    this.#acceptedAtMs = nowMs;
    this.#throttles = 0;
    this.window.noteSuccess();
    const isBack = this.#answered();
    this.#endOutage();
    if (isBack) this.changed();
  }

  failed(call: FailureReport): void {
    const { kind } = call.failure;
    if (kind === 'unreachable') {
      this.#unreachableCalls += 1;
      if (this.#unreachableCalls >= UNREACHABLE_CALLS) this.#open(call);
    } else if (kind === 'silent' && this.#isProbe(call)) this.#open(call);
    else if (!mayBeDown(kind)) this.#endOutage();
    const isBack = kind !== 'unreachable' && kind !== 'silent' && this.#answered();
    this.#noteLoad(call);
    // Invariant: the pace is noted first. Otherwise watchers, who send at once, ignore that the server asked to slow down.
    if (isBack) this.changed();
  }

  #noteLoad(call: FailureReport): void {
    const { failure, nowMs, startedAtMs } = call;
    const { kind, retryAfterMs } = failure;
    // An earlier list of models does not show that the server lives now.
    if (mayBeDown(kind) && this.#missedLists === 0) this.#listAtMs = nowMs;
    if (!call.isAboutServer) return;
    if (mayBeDown(kind)) this.#noteOutage(nowMs);
    const isOverload = kind === 'throttled' || mayBeDown(kind);
    if (call.isLoad && (isOverload || kind === 'failed')) {
      this.window.noteFailure({ isOverload, startedAtMs, nowMs, inFlight: this.inFlight });
      this.#overload = failure.text;
    }
    if (retryAfterMs !== null) this.#throttle(call, retryAfterMs);
    else if (kind === 'throttled' && Math.max(this.#acceptedAtMs, this.#pausedAtMs) < startedAtMs)
      this.#throttle(call, pauseMs(this.#throttles++, this.#deps));
  }

  /** The outage that a call may have caused: it was in flight when the outage began. Null: there is none. */
  outageOf(startedAtMs: number): Outage | null {
    const outage = this.#outage;
    return outage !== null && outage.isRunning && startedAtMs <= outage.startMs ? outage : null;
  }

  /** Many lines failed as if it were dead. */
  noteDeath(): void {
    if (this.#outage?.isRunning) this.#outage.isDeath = true;
  }

  /** Whether it has accepted a request, or answered for its list of models, since that time (monotonic ms). */
  livesSince(ms: number): boolean {
    return this.#acceptedAtMs > ms || this.#listedAtMs > ms;
  }

  /**
   * Asks for its list of models, unless that was done just now. Resolves when the answer is noted; to false when no answer
   * came.
   */
  async probeModels(upstream: Pick<Upstream, 'probe'>): Promise<boolean> {
    const nowMs = this.#deps.clock.mono();
    if (this.#listing === null && nowMs >= this.#listAtMs) {
      // All who ask before then wait for the same answer. An older answer may be that of a server that has died since.
      const waitMs = Math.max(0, this.#listAskedAtMs + MODEL_LIST_AGAIN_MS - nowMs);
      this.#listing = this.#list(upstream, waitMs).finally(() => (this.#listing = null));
    }
    await this.#listing;
    return this.#missedLists === 0;
  }

  /** Calls `then` whenever there may be something to send again: the breaker has closed, or a probe is over. */
  watch(then: () => void): () => void {
    this.#watchers.add(then);
    return () => this.#watchers.delete(then);
  }

  changed(): void {
    for (const then of this.#watchers) then();
  }

  /** Calls `then` once, in its turn, when the window has a place. */
  waitForPlace(then: () => void): void {
    if (!this.#waiting.includes(then)) this.#waiting.push(then);
  }

  async #list(upstream: Pick<Upstream, 'probe'>, waitMs: number): Promise<void> {
    const { clock } = this.#deps;
    const timer = new AbortController();
    if (waitMs > 0) await clock.sleep(waitMs, timer.signal);
    this.#listAskedAtMs = clock.mono();
    const late = clock.sleep(MODEL_LIST_TIMEOUT_MS, timer.signal).then(
      () => timer.abort(),
      () => {
        // The answer came first.
      },
    );
    const probe = await upstream.probe(timer.signal);
    timer.abort();
    await late;
    if (probe.kind === 'models') this.models = probe.ids;
    this.#missedLists = probe.kind === 'failure' ? this.#missedLists + 1 : 0;
    const restMs = probe.kind === 'failure' ? pauseMs(this.#missedLists, this.#deps) : MODEL_LIST_EVERY_MS;
    this.#listAtMs = clock.mono() + restMs;
    if (probe.kind === 'failure' || (probe.kind === 'answer' && !isAlive(probe.status))) return;
    this.#listedAtMs = clock.mono();
    this.#endOutage();
  }

  /** The server has answered, which closes the breaker. Returns whether it was open. */
  #answered(): boolean {
    this.#unreachableCalls = 0;
    if (this.#probeAtMs === null) return false;
    const sinceMs = this.#trouble?.sinceMs ?? this.#deps.clock.now();
    this.#probeAtMs = null;
    this.#probes = 0;
    this.#deps.log.event('upstream.back', {
      upstream: this.name,
      afterMs: Math.max(0, Math.round(this.#deps.clock.now() - sinceMs)),
    });
    return true;
  }

  /** The call began after the breaker opened. */
  #isProbe({ startedAtMs }: FailureReport): boolean {
    return this.#probeAtMs !== null && startedAtMs >= this.#probeAtMs;
  }

  #open({ failure, nowMs }: FailureReport): void {
    const isNew = this.#probeAtMs === null;
    this.noteDeath();
    this.#setTrouble(`does not answer: ${failure.text}`, isNew);
    // Calls that were in flight when the breaker opened must not push the next probe further away.
    if (!isNew && nowMs < (this.#probeAtMs ?? 0)) return;
    this.#probeAtMs = nowMs + pauseMs(this.#probes++, this.#deps);
    if (isNew) this.#deps.log.event('upstream.down', { upstream: this.name, reason: failure.text });
  }

  #throttle({ failure, nowMs }: FailureReport, waitMs: number): void {
    const isNew = nowMs >= this.#throttledUntilMs;
    this.#pausedAtMs = nowMs;
    this.#throttledUntilMs = Math.max(this.#throttledUntilMs, nowMs + waitMs);
    if (this.isDown) return;
    const untilS = Math.ceil((this.#deps.clock.now() + this.#throttledUntilMs - nowMs) / 1000);
    this.#setTrouble(`asks to slow down until ${timeOf(untilS * 1000)}: ${failure.text}`, isNew);
    if (nowMs - this.#slowLoggedAtMs < SLOW_LOGGED_EVERY_MS) return;
    this.#slowLoggedAtMs = nowMs;
    this.#deps.log.event('upstream.slow', {
      upstream: this.name,
      reason: failure.text,
      waitMs: Math.round(waitMs),
    });
  }

  #noteOutage(nowMs: number): void {
    if (!this.#outage?.isRunning) this.#outage = { startMs: nowMs, isRunning: true, isDeath: false };
  }

  #endOutage(): void {
    if (this.#outage !== null) this.#outage.isRunning = false;
  }

  #setTrouble(text: string, isNew: boolean): void {
    const sinceMs = isNew || this.#trouble === null ? this.#deps.clock.now() : this.#trouble.sinceMs;
    this.#trouble = { text: `${this.name} ${text}`, sinceMs };
  }
}

/** A server that has no list of models, or fails at it, lives too. An answer of a gateway does not show that. */
const isAlive = (status: number): boolean => status <= 501 && ![401, 403, 407, 429].includes(status);

/** `14:03:21 UTC`, for people. */
export const timeOf = (ms: number): string => `${new Date(ms).toISOString().slice(11, 19)} UTC`;
