import type { Upstream } from '../../upstream/port.ts';
import { Lane } from './lane.ts';

/** The upstreams that may be sent to just now. They change while requests are under way. */
export class Lanes {
  readonly #random: () => number;
  /** What is known of the health of every upstream, also of those that may come back. */
  readonly #known = new WeakMap<Upstream, Lane>();
  #lanes: readonly Lane[] = [];

  constructor(random: () => number) {
    this.#random = random;
  }

  /** One that is left out gets no new request. */
  update(upstreams: readonly Upstream[]): void {
    this.#lanes = upstreams.map((upstream) => {
      const lane = this.#known.get(upstream) ?? new Lane(upstream, this.#random);
      this.#known.set(upstream, lane);
      return lane;
    });
  }

  has(lane: Lane): boolean {
    return this.#lanes.includes(lane);
  }

  get isEmpty(): boolean {
    return this.#lanes.length === 0;
  }

  /** Why nothing can be sent, when that is true of every one. */
  get trouble(): string | null {
    return this.#lanes.every((lane) => lane.trouble !== null) ? (this.#lanes[0]?.trouble ?? null) : null;
  }

  /** Some call that began after `atMs` has succeeded. */
  succeededSince(atMs: number): boolean {
    return this.#lanes.some((lane) => lane.lastSuccessStartedAtMs > atMs);
  }

  /** The least loaded lane that takes a request now; otherwise when to look again (null: when a reply comes). */
  choose(
    nowMs: number,
  ):
    | { readonly lane: Lane; readonly kind: 'request' | 'probe' }
    | { readonly lane: null; readonly atMs: number | null } {
    let best: { lane: Lane; kind: 'request' | 'probe' } | undefined;
    let atMs: number | null = null;
    for (const lane of this.#lanes) {
      const readiness = lane.readiness(nowMs);
      if (readiness === null) continue;
      if (typeof readiness === 'number') {
        atMs = atMs === null ? readiness : Math.min(atMs, readiness);
      } else if (
        best === undefined ||
        (best.kind === readiness ? lane.inFlight < best.lane.inFlight : readiness === 'probe')
      ) {
        // A probe goes first: it is one request, and finds out whether the lane can carry more.
        best = { lane, kind: readiness };
      }
    }
    return best ?? { lane: null, atMs };
  }
}
