import { assert } from '../../core/assert.ts';

/**
 * How much of a file can be read while it is still being written, in memory that two threads share: one number, so that
 * neither ever sees half a change. It is twice the bytes, plus one once no more will come; or `DROPPED`.
 */
export class Growth {
  readonly shared = new SharedArrayBuffer(BigInt64Array.BYTES_PER_ELEMENT);
  readonly #cell = new BigInt64Array(this.shared);
  #bytes = 0;
  #state: 'growing' | 'whole' | 'dropped' = 'growing';

  get isGrowing(): boolean {
    return this.#state === 'growing';
  }

  /** The first `bytes` are there. */
  grow(bytes: number): void {
    if (!this.isGrowing) return;
    assert(bytes >= this.#bytes, 'a file shrank while it was written');
    this.#bytes = bytes;
    this.#tell(BigInt(bytes) * 2n);
  }

  /** What is there is all. */
  end(): void {
    if (!this.isGrowing) return;
    this.#state = 'whole';
    this.#tell(BigInt(this.#bytes) * 2n + 1n);
  }

  /** Nobody wants it read any more. */
  drop(): void {
    this.#state = 'dropped';
    this.#tell(DROPPED);
  }

  #tell(value: bigint): void {
    Atomics.store(this.#cell, 0, value);
    Atomics.notify(this.#cell, 0);
  }
}

const DROPPED = -1n;

interface Readable {
  readonly bytes: number;
  readonly isWhole: boolean;
}

/** For the reading thread, which blocks until there are more than `seen` bytes, or all. Undefined: dropped. */
export function awaitGrowth(shared: SharedArrayBuffer, seen: number): Readable | undefined {
  const cell = new BigInt64Array(shared);
  for (;;) {
    const value = Atomics.load(cell, 0);
    if (value === DROPPED) return undefined;
    const [bytes, isWhole] = [Number(value / 2n), value % 2n === 1n];
    if (bytes > seen || isWhole) return { bytes, isWhole };
    Atomics.wait(cell, 0, value);
  }
}
