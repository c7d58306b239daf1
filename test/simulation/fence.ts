import type { ClaimedSegment, LineResult } from '../../src/stores/state/ports.ts';
import type { Life } from './scheduler.ts';

type Segment = Pick<ClaimedSegment, 'batchSeq' | 'index'>;

/** Follows who holds which segment, from what the store answers, and who may therefore record a result (P25). */
export class Fence {
  readonly #holders = new Map<string, Life>();
  readonly #require: (condition: unknown, promise: string, what: string) => void;

  constructor(require: (condition: unknown, promise: string, what: string) => void) {
    this.#require = require;
  }

  see(life: Life, call: string, args: readonly unknown[], value: unknown): void {
    if (call === 'work.claim') this.#claimed(life, value as ClaimedSegment[]);
    else if (call === 'work.reclaim') this.#reclaimed(life);
    else if (call === 'work.release') this.#released(life, args[0] as Segment[]);
    else if (call === 'results.commit') this.#committed(life, args[0] as LineResult[], value as Segment[]);
  }

  #claimed(life: Life, segments: readonly Segment[]): void {
    for (const segment of segments) {
      const holder = this.#holders.get(nameOf(segment));
      this.#require(
        holder === undefined || holder === life,
        'P25',
        `${life.name} was given segment ${nameOf(segment)}, which ${holder?.name} holds`,
      );
      this.#holders.set(nameOf(segment), life);
    }
  }

  #reclaimed(life: Life): void {
    for (const [name, holder] of this.#holders) if (holder !== life) this.#holders.delete(name);
  }

  #released(life: Life, segments: readonly Segment[]): void {
    for (const segment of segments) {
      if (this.#holders.get(nameOf(segment)) === life) this.#holders.delete(nameOf(segment));
    }
  }

  #committed(life: Life, results: readonly LineResult[], lost: readonly Segment[]): void {
    const dropped = new Set(lost.map(nameOf));
    for (const result of results) {
      const name = nameOf({ batchSeq: result.batchSeq, index: result.segmentIndex });
      const holder = this.#holders.get(name);
      this.#require(
        dropped.has(name) || holder === life,
        'P25',
        `${life.name} recorded line ${result.line} of segment ${name}, which ${holder?.name ?? 'nobody'} holds`,
      );
    }
  }
}

const nameOf = ({ batchSeq, index }: Segment): string => `${batchSeq}:${index}`;
