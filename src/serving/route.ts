import type { BatchEndpoint } from '../contract/batch.ts';
import { mayBeDown, type ClassifiedFailure } from './failure.ts';
import type { ServingDeps } from './deps.ts';
import { pauseMs } from './pause.ts';

/** What a route needs of its server. */
interface RouteServer {
  readonly name: string;
  /** There may be something to send again. */
  changed(): void;
}

/**
 * One endpoint and model of one server. What is refused at one route says nothing of another. It is in one of two modes:
 * - Free: nothing is paced. The route remembers when a request was accepted last.
 * - Holding back: some batch is held back here. The probes of all such batches go one at a time, with growing pauses, until
 *   a request is accepted.
 */
export class Route {
  readonly #server: RouteServer;
  readonly #endpoint: BatchEndpoint;
  /** The latest start of a call that was accepted (monotonic ms). Such a call saw the server as it was from then on. */
  acceptedStartedAtMs = Number.NEGATIVE_INFINITY;
  /** When a call was accepted last (monotonic ms). */
  acceptedAtMs = Number.NEGATIVE_INFINITY;
  /** When some line was last asked to slow down for its first time (monotonic ms). */
  firstThrottleAtMs = Number.NEGATIVE_INFINITY;
  readonly #deps: ServingDeps;
  /** Since when batches are held back here; null: nothing holds them back, or a request was accepted since. */
  #heldBackSinceMs: number | null = null;
  #probeAtMs = 0;
  #pauses = 0;
  #probesInFlight = 0;

  constructor(server: RouteServer, endpoint: BatchEndpoint, deps: ServingDeps) {
    this.#server = server;
    this.#endpoint = endpoint;
    this.#deps = deps;
  }

  /** Some request was accepted here. */
  get isProven(): boolean {
    return this.acceptedAtMs > Number.NEGATIVE_INFINITY;
  }

  /** Some batch is held back here, and no request was accepted since. */
  get holdsBack(): boolean {
    return this.#heldBackSinceMs !== null;
  }

  accepted({ startedAtMs, nowMs }: { readonly startedAtMs: number; readonly nowMs: number }): void {
    this.acceptedAtMs = nowMs;
    if (startedAtMs > this.acceptedStartedAtMs) this.acceptedStartedAtMs = startedAtMs;
    if (this.#heldBackSinceMs === null || startedAtMs < this.#heldBackSinceMs) return;
    const afterMs = Math.round(nowMs - this.#heldBackSinceMs);
    this.#heldBackSinceMs = null;
    this.#pauses = 0;
    this.#deps.log.event('upstream.back', { upstream: this.#server.name, afterMs });
    this.#server.changed();
  }

  /** A batch is held back from now on. */
  holdBack(nowMs: number, { kind, text }: ClassifiedFailure): void {
    if (this.#heldBackSinceMs !== null) return;
    this.#heldBackSinceMs = nowMs;
    this.#wait(nowMs);
    const fields = { upstream: this.#server.name, reason: text };
    const isDown = mayBeDown(kind) || kind === 'failed';
    if (isDown) this.#deps.log.event('upstream.down', fields);
    else this.#deps.log.event('upstream.refusing', { ...fields, endpoint: this.#endpoint });
  }

  /** `probe`: one may be sent. A number: none before that time. Null: `width` probes are in flight, and no more may be. */
  probeReadiness(nowMs: number, width: number): 'probe' | number | null {
    if (this.#probesInFlight >= width) return null;
    if (this.#probesInFlight > 0) return 'probe';
    return nowMs >= this.#probeAtMs ? 'probe' : this.#probeAtMs;
  }

  startProbe(): void {
    this.#probesInFlight += 1;
  }

  /** `failedAtMs`: null when the next probe need not wait longer, as after an accepted one. */
  endProbe(failedAtMs: number | null): void {
    this.#probesInFlight -= 1;
    // The last of the probes that were in flight together has failed. The next ones wait longer.
    if (failedAtMs !== null && this.#probesInFlight === 0 && failedAtMs >= this.#probeAtMs)
      this.#wait(failedAtMs);
    this.#server.changed();
  }

  #wait(nowMs: number): void {
    this.#probeAtMs = nowMs + pauseMs(this.#pauses++, this.#deps);
  }
}
