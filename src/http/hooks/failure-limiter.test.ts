import { describe, expect, test } from 'vitest';
import type { Clock } from '../../core/clock.ts';
import { FailureLimiter } from './failure-limiter.ts';

function manualClock(): Clock & { advance(ms: number): void } {
  let nowMs = 0;
  return {
    now: () => nowMs,
    mono: () => nowMs,
    sleep: () => Promise.reject(new Error('nobody sleeps here')),
    advance: (ms) => {
      nowMs += ms;
    },
  };
}

describe('failures of one address', () => {
  test('are counted per minute, each address on its own', () => {
    const clock = manualClock();
    const limiter = new FailureLimiter(clock, 2);

    expect([limiter.count('a'), limiter.count('a')]).toEqual([undefined, undefined]);
    clock.advance(20_000);
    expect(limiter.count('a')).toBe(40);
    expect(limiter.count('b')).toBeUndefined();
    clock.advance(40_000);
    expect(limiter.count('a')).toBeUndefined();
  });

  test('of a million addresses do not fill the memory', () => {
    const limiter = new FailureLimiter(manualClock(), 1);
    limiter.count('first');
    for (let address = 0; address < 10_000; address++) limiter.count(`${address}`);

    // Forgotten, since others were newer.
    expect(limiter.count('first')).toBeUndefined();
    expect(limiter.count('9999')).toBeGreaterThan(0);
  });
});
