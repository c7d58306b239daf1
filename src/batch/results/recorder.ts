import { assert } from '../../core/assert.ts';
import type { Clock } from '../../core/clock.ts';
import type { Failpoint } from '../../core/failpoint.ts';
import type { Log } from '../../core/log.ts';
import { retryTransient } from '../transient.ts';
import type { LineResult, ResultStore } from '../../stores/state/ports.ts';

/** A reason of our own: the default one costs a DOMException with its stack. */
const WAITED = new Error('waited long enough');

export interface RecorderOptions {
  /**
   * Results that may wait for the disk: dispatch sends nothing while there are so many. Half of them start a commit, so
   * that requests go on while it is on its way … Null: as many as `follow` makes of the requests in flight.
   */
  readonly groupMax: number | null;
  /** … or when the oldest has waited this long. */
  readonly lingerMs: number;
  /** A group never carries more than this, save for a single larger result. */
  readonly groupBytesMax: number;
}

export interface RecorderDeps {
  readonly results: Pick<ResultStore, 'commit'>;
  readonly clock: Clock;
  readonly random: () => number;
  readonly log: Log;
  readonly failpoint: Failpoint;
  /** The store can no longer be trusted: the process must end. */
  readonly onFatal: (error: unknown) => void;
}

/** `lost`: another worker holds the segment, or the batch takes no more results. */
export type Settle = (outcome: 'recorded' | 'lost') => void;

const IN_FLIGHT_MIN = 32;
const groupFor = (inFlightMax: number): number => 2 * Math.max(IN_FLIGHT_MIN, inFlightMax);

interface Entry {
  readonly result: LineResult;
  readonly settle: Settle;
}

/**
 * Groups results into commits, one at a time: while one is on its way to the disk the next fills up, so the cost of an
 * fsync is shared by all that arrived meanwhile. A line counts as done only when its commit has returned.
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
   * What may be in doubt after a crash grows with what is in flight anyway; a small group would hold up a wide window.
   * `inFlightMax`: of the widest window.
   */
  follow(inFlightMax: number): void {
    this.#groupMax = this.#options.groupMax ?? groupFor(inFlightMax);
  }

  get groupMax(): number {
    return this.#groupMax;
  }

  get #enough(): number {
    return this.#groupMax / 2;
  }

  /**
   * As many requests and results are not durable as may be after a crash: nothing must be sent (P5). Results that wait
   * for the disk beyond a group take the place of requests in flight.
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
      // Aborted below: the group is full, or a flush was asked for.
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
    // A commit whose answer was lost may have happened: the primary key makes the second one a no-op.
    const lost = await retryTransient(() => this.#deps.results.commit(results), this.#deps);
    this.#deps.failpoint('results:after-commit');
    this.#committing = 0;
    const lostKeys = new Set(lost.map(({ batchSeq, index }) => `${batchSeq}:${index}`));
    for (const { result, settle } of group) {
      settle(lostKeys.has(`${result.batchSeq}:${result.segmentIndex}`) ? 'lost' : 'recorded');
    }
  }
}
