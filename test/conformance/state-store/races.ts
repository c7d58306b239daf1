import { expect } from 'vitest';

import type { Scope } from '../../../src/contract/scope.ts';
import { assert } from '../../../src/core/assert.ts';
import type { StateStore } from '../../../src/stores/state/ports.ts';
import { batchOf, endBatch, planOf, upTo } from '../../support/state-store.ts';

const AT_ONCE = 5;
const CREATES = 50;

/** Batches of all sizes race for the quota of one deployment, in `count` resources, until all are over: how many ran. */
export async function races(store: StateStore, count: number): Promise<number> {
  let batches = 0;
  for (let first = 0; first < count; first += AT_ONCE) {
    const runs = Array.from({ length: AT_ONCE }, (_, n) => new Race(store, first + n).run());
    for (const ran of await Promise.all(runs)) batches += ran;
  }
  return batches;
}

interface Contender {
  readonly seq: number;
  readonly tokens: number;
}

class Race {
  readonly #store: StateStore;
  readonly #scope: Scope;
  readonly #random: () => number;
  readonly #limit: number;
  readonly #holding = new Map<number, Contender>();
  #waiting: Contender[] = [];

  constructor(store: StateStore, seed: number) {
    this.#store = store;
    this.#scope = { resourceId: `race-${seed}`, actor: 'test' };
    this.#random = mulberry32(seed);
    this.#limit = this.#upTo(2_000) + 100;
  }

  /** How many batches ran. */
  async run(): Promise<number> {
    await this.#createAll();
    const batches = this.#holding.size + this.#waiting.length;
    while (this.#holding.size > 0) {
      await this.#endSome();
      await this.#letIn();
    }
    expect(this.#waiting).toEqual([]);
    expect(await this.#store.batches.enqueuedTokens(this.#scope)).toEqual(new Map());
    return batches;
  }

  async #createAll(): Promise<void> {
    const wanted = Array.from({ length: CREATES }, (_, n) => ({
      id: `${this.#scope.resourceId}-${n}`,
      // One in a few never fits.
      enqueuedTokens: this.#upTo(this.#random() < 0.2 ? this.#limit * 1.3 : this.#limit / 4),
      whenFull: this.#random() < 0.3 ? ('wait' as const) : ('fail' as const),
    }));

    const outcomes = await Promise.all(
      wanted.map((batch) =>
        this.#store.batches.create(this.#scope, batchOf(batch.id, batch), { room: upTo(this.#limit) }),
      ),
    );

    const admitted: { tokens: number; heldAfter: number }[] = [];
    for (const [n, { enqueuedTokens: tokens, whenFull }] of wanted.entries()) {
      const outcome = outcomes[n];
      assert(outcome && 'enqueuedTokens' in outcome, `create ${n} had no outcome`);
      const { enqueuedTokens: heldAfter } = outcome;
      if (outcome.kind === 'created' && outcome.batch.waitingTokens === null) {
        admitted.push({ tokens, heldAfter });
        this.#holding.set(outcome.batch.seq, { seq: outcome.batch.seq, tokens });
        continue;
      }
      // Nothing ends meanwhile, so what did not fit is not let in by anything.
      expect(heldAfter + tokens).toBeGreaterThan(this.#limit);
      expect(outcome.kind).toBe(
        whenFull === 'wait' && tokens <= this.#limit ? 'created' : 'token_limit_exceeded',
      );
      if (outcome.kind === 'created') this.#waiting.push({ seq: outcome.batch.seq, tokens });
    }
    // One after the other in some order: each found the sum that the one before it left.
    let held = 0;
    for (const { tokens, heldAfter } of admitted.toSorted((a, b) => a.heldAfter - b.heldAfter))
      expect(heldAfter).toBe((held += tokens));
    this.#waiting.sort((a, b) => a.seq - b.seq);
    await this.#checkSum();
  }

  /** All at once, and each twice: only the first time counts. */
  async #endSome(): Promise<void> {
    const ending = [...this.#holding.values()].filter(() => this.#random() < 0.4);
    const ended = await Promise.all([...ending, ...ending].map(({ seq }) => endBatch(this.#store, seq)));
    expect(ended.filter(Boolean)).toHaveLength(ending.length);
    for (const { seq } of ending) this.#holding.delete(seq);
    await this.#checkSum();
  }

  /** Those that wait ask all at once, in any order, until nobody gets in: then those are in that fit by age. */
  async #letIn(): Promise<void> {
    let free = this.#limit - this.#held();
    const expected = this.#waiting.filter(({ tokens }) => {
      const fits = tokens <= free;
      if (fits) free -= tokens;
      return fits;
    });

    const letIn: Contender[] = [];
    for (let isNews = this.#waiting.length > 0; isNews;) {
      const asking = this.#waiting.toSorted(() => this.#random() - 0.5);
      const outcomes = await Promise.all(
        asking.map(({ seq, tokens }) =>
          this.#store.batches.plan(seq, planOf(1, { enqueuedTokens: tokens, room: upTo(this.#limit) })),
        ),
      );
      const planned = asking.filter((_, n) => outcomes[n] === 'planned');
      expect(outcomes.filter((outcome) => outcome === 'waiting')).toHaveLength(
        asking.length - planned.length,
      );
      letIn.push(...planned);
      this.#waiting = this.#waiting.filter((one) => !planned.includes(one));
      isNews = planned.length > 0 && this.#waiting.length > 0;
    }

    expect(letIn.toSorted((a, b) => a.seq - b.seq)).toEqual(expected);
    for (const one of letIn) this.#holding.set(one.seq, one);
    await this.#checkSum();
  }

  #held(): number {
    return [...this.#holding.values()].reduce((sum, { tokens }) => sum + tokens, 0);
  }

  async #checkSum(): Promise<void> {
    const sums = (await this.#store.batches.enqueuedTokens(this.#scope)).get('gpt');
    expect(sums?.held ?? 0).toBe(this.#held());
    expect(this.#held()).toBeLessThanOrEqual(this.#limit);
    expect(sums?.waitingBatches ?? 0).toBe(this.#waiting.length);
  }

  #upTo(max: number): number {
    return 1 + Math.floor(this.#random() * max);
  }
}

/** Small and good enough; the same seed gives the same race. */
function mulberry32(seed: number): () => number {
  let state = seed;
  return () => {
    state = (state + 0x6d_2b_79_f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}
