import type { Clock } from '../core/clock.ts';

/** The weight of the past halves in this time. That is quick enough to follow a change, and slow enough to read. */
const HALF_LIFE_MS = 10_000;

/** When no line came for this long, the rate is that of all lines so far. */
const RECENT_MS = 10_000;
/** After a silence that is longer than this, and than this many times what a line took until then, no time is shown. */
const SILENCE_MS = 60_000;
const SILENCE_GAPS = 5;

/** Rate of a batch from its counter, as an exponentially weighted mean. */
export class Meter {
  readonly #clock: Clock;
  readonly #begun: { readonly done: number; readonly atMs: number };
  #done: number;
  #atMs: number;
  #progressAtMs: number;
  #perMs: number | null = null;

  constructor(clock: Clock, done: number) {
    this.#clock = clock;
    this.#done = done;
    this.#atMs = clock.mono();
    this.#begun = { done, atMs: this.#atMs };
    this.#progressAtMs = this.#atMs;
  }

  read(done: number): void {
    const nowMs = this.#clock.mono();
    const elapsedMs = nowMs - this.#atMs;
    if (elapsedMs < 100) return;
    const perMs = Math.max(0, done - this.#done) / elapsedMs;
    const past = this.#perMs === null ? 0 : 0.5 ** (elapsedMs / HALF_LIFE_MS);
    this.#perMs = perMs * (1 - past) + (this.#perMs ?? 0) * past;
    if (done > this.#done) this.#progressAtMs = nowMs;
    this.#done = done;
    this.#atMs = nowMs;
  }

  /** How long `left` more lines take. Null: nobody can know it. */
  secondsFor(left: number): number | null {
    const { done, atMs } = this.#begun;
    const count = this.#done - done;
    if (count <= 0) return null;
    const nowMs = this.#clock.mono();
    const silentMs = nowMs - this.#progressAtMs;
    const gapMs = (this.#progressAtMs - atMs) / count;
    if (silentMs > Math.max(SILENCE_MS, SILENCE_GAPS * gapMs)) return null;
    const perMs = silentMs > RECENT_MS ? count / (nowMs - atMs) : this.#perMs;
    return perMs ? Math.ceil(left / perMs / 1_000) : null;
  }

  perSecond(): number {
    return (this.#perMs ?? 0) * 1_000;
  }
}
