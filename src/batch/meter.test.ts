import { beforeEach, expect, test } from 'vitest';
import { systemClock } from '../core/clock.ts';
import { Meter } from './meter.ts';

let nowMs = 0;
let meter: Meter;
beforeEach(() => {
  nowMs = 0;
  meter = new Meter({ ...systemClock, mono: () => nowMs }, 0);
});

/** Reads the counter once a second. */
function pass(seconds: number, doneAfter: (second: number) => number): void {
  const end = nowMs / 1_000 + seconds;
  for (let second = nowMs / 1_000 + 1; second <= end; second += 1) {
    nowMs = second * 1_000;
    meter.read(doneAfter(second));
  }
}

test('a steady rate says how long the rest takes', () => {
  pass(100, (second) => second * 5);

  expect(meter.secondsFor(50)).toBe(10);
});

test('nobody knows how long it takes before the first line, and when the last one hangs', () => {
  pass(5, () => 0);
  expect(meter.secondsFor(99)).toBe(null);

  pass(5, () => 99);
  pass(61, () => 99);
  expect(meter.secondsFor(1)).toBe(null);
});

test('lines that take minutes each give nearly the same answer all the time', () => {
  pass(1_200, (second) => Math.floor(second / 120));
  expect(meter.secondsFor(10)).toBeLessThan(1_300);

  pass(100, () => 10);
  expect(meter.secondsFor(10)).toBeGreaterThan(1_200);
  expect(meter.secondsFor(10)).toBeLessThan(1_400);
});
