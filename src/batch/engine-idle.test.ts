import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { expect, test } from 'vitest';
import { openEngineBench } from '../../test/support/engine.ts';
import type { Clock } from '../core/clock.ts';
import { systemClock } from '../core/clock.ts';

const TICKS = 10_000;
/** A promise that keeps a trace of every tick would keep four times as much. */
const GROWTH_MAX_BYTES = 800_000;

test('an idle engine keeps nothing of its ticks', async () => {
  const bench = await openEngineBench();
  let ticks = 0;
  const reached = new Map<number, () => void>();
  const clock: Clock = {
    ...systemClock,
    // Every rest is over at once.
    sleep: async (_delayMs, signal) => {
      await new Promise(setImmediate);
      signal?.throwIfAborted();
      ticks += 1;
      reached.get(ticks)?.();
    },
  };
  const after = (more: number): Promise<void> => new Promise((resolve) => reached.set(ticks + more, resolve));
  try {
    await bench.start({}, clock);
    await after(TICKS / 5);
    const before = heapBytes();

    await after(TICKS);

    expect(heapBytes() - before).toBeLessThan(GROWTH_MAX_BYTES);
  } finally {
    await bench.close();
  }
});

function heapBytes(): number {
  setFlagsFromString('--expose-gc');
  const collect = runInNewContext('gc') as () => void;
  collect();
  collect();
  return process.memoryUsage().heapUsed;
}
