import { assert } from '../../core/assert.ts';
import type { Clock } from '../../core/clock.ts';
import type { Failpoint } from '../../core/failpoint.ts';
import type { Log } from '../../core/log.ts';
import { retryTransient } from '../transient.ts';
import type { LineResult, ResultStore } from '../../stores/state/ports.ts';

/** A constant reason, since the default one is a new DOMException with its stack. */
const WAITED = new Error('waited long enough');

export interface RecorderOptions {
  /**
   * Results that may wait for the disk, beside the requests in flight (`isFull`). A commit starts when half as many wait, so
   * that requests go on while it is on its way. Null: `follow` derives it from the requests in flight.
   */
  readonly groupMax: number | null;
  /** A commit also starts when the oldest result has waited for this long. */
  readonly lingerMs: number;
  /** A group is never larger, unless a single result is. */
  readonly groupBytesMax: number;
}

interface RecorderDeps {
  readonly results: Pick<ResultStore, 'commit'>;
  readonly clock: Clock;
  readonly random: () => number;
  readonly log: Log;
  readonly failpoint: Failpoint;
  /** The store can no longer be trusted: the process must end. */
  readonly onFatal: (error: unknown) => void;
}

/** `lost`: another worker has claimed the segment, or the batch takes no more results. */
export type Settle = (outcome: 'recorded' | 'lost') => void;

const IN_FLIGHT_MIN = 32;
const groupFor = (inFlightMax: number): number => 2 * Math.max(IN_FLIGHT_MIN, inFlightMax);

interface Entry {
  readonly result: LineResult;
  readonly settle: Settle;
}

/**
 * Commits results in groups, one group at a time. It is in one of three modes:
 *
 * - Idle: no result waits.
 * - Lingering: results wait for others to share their commit, until half a group is there or the oldest has waited long
 *   enough.
 * - Committing: one group is on its way to the disk, and the next one fills up. So all that arrive meanwhile share an fsync.
 *
 * Invariant: `settle` is called when the commit of a result has returned, never before. A line that counted earlier could be
 * lost in a crash. A commit that fails for a transient reason is repeated; after any other failure the process must end.
 */
export class Recorder {
  readonly #deps: RecorderDeps;
  readonly #options: RecorderOptions;
  #groupMax: number;
  #queue: Entry[] = [];
  #committing = 0;
  #running: Promise<void> | null = null;
  #full = Promise.withResolvers<void>();

  constructor(deps: RecorderDeps, options: RecorderOptions) {
    this.#deps = deps;
    this.#options = options;
    this.#groupMax = options.groupMax ?? groupFor(0);
  }

  /**
   * Derives the group from the most requests that a deployment may have in flight: a small group would hold them up, and as
   * many requests are in doubt after a crash anyway.
   */
  follow(inFlightMax: number): void {
    this.#groupMax = this.#options.groupMax ?? groupFor(inFlightMax);
  }

  get #enough(): number {
    return this.#groupMax / 2;
  }

  /**
   * Whether nothing may be sent: the requests in flight and the results that are not durable are as many as may be in doubt
   * after a crash (P5). Results beyond a group that wait for the disk take the place of requests in flight.
   */
  isFull(inFlight: number, inFlightMax: number): boolean {
    return this.#queue.length + this.#committing + inFlight >= this.#groupMax + inFlightMax;
  }

  record(result: LineResult, settle: Settle): void {
    this.#queue.push({ result, settle });
    if (this.#queue.length >= this.#enough) this.#full.resolve();
    this.#running ??= this.#run();
  }

  /** Resolves when everything recorded so far is durable or lost. */
  async flush(): Promise<void> {
    this.#full.resolve();
    await this.#running;
  }

  async #run(): Promise<void> {
    try {
      while (this.#queue.length > 0) {
        if (this.#queue.length < this.#enough) await this.#linger();
        await this.#commit(this.#takeGroup());
      }
    } catch (error) {
      this.#deps.onFatal(error);
    } finally {
      this.#running = null;
    }
  }

  async #linger(): Promise<void> {
    const timer = new AbortController();
    const waited = this.#deps.clock.sleep(this.#options.lingerMs, timer.signal).catch(() => {
      // It was aborted below: the group is full, or a flush was asked for.
    });
    await Promise.race([waited, this.#full.promise]);
    timer.abort(WAITED);
  }

  #takeGroup(): Entry[] {
    let bytes = 0;
    let count = 0;
    for (const { result } of this.#queue) {
      bytes += result.payload.byteLength;
      if (count > 0 && bytes > this.#options.groupBytesMax) break;
      count += 1;
    }
    const group = this.#queue.slice(0, count);
    this.#queue = this.#queue.slice(count);
    this.#committing = count;
    this.#full = Promise.withResolvers<void>();
    return group;
  }

  async #commit(group: readonly Entry[]): Promise<void> {
    assert(group.length > 0, 'an empty group has nothing to commit');
    this.#deps.failpoint('results:before-commit');
    const results = group.map((entry) => entry.result);
    // A commit whose answer was lost may have happened. Then the primary key makes the second one a no-op.
    const lost = await retryTransient(() => this.#deps.results.commit(results), this.#deps);
    this.#deps.failpoint('results:after-commit');
    this.#committing = 0;
    const lostKeys = new Set(lost.map(({ batchSeq, index }) => `${batchSeq}:${index}`));
    for (const { result, settle } of group) {
      settle(lostKeys.has(`${result.batchSeq}:${result.segmentIndex}`) ? 'lost' : 'recorded');
    }
  }
}
