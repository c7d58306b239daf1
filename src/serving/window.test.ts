import { expect, test } from 'vitest';
import { Window } from './window.ts';

/** Rounds of `width` calls, `failing` of which fail as given; returns the size after each. */
function rounds(
  window: Window,
  width: number,
  count: number,
  fails: (call: number) => 'overload' | 'failed' | null,
) {
  const sizes: number[] = [];
  let call = 0;
  for (let round = 1; round <= count; round += 1) {
    const inFlight = Math.min(width, window.size);
    for (let i = 0; i < inFlight; i += 1) {
      call += 1;
      const how = fails(call);
      if (how === null) window.noteSuccess();
      else
        window.noteFailure({
          isOverload: how === 'overload',
          startedAtMs: round * 10 - 9,
          nowMs: round * 10,
          inFlight,
        });
    }
    sizes.push(window.size);
  }
  return sizes;
}

test('single failures change nothing: with one in twenty there is no limit', () => {
  const window = new Window();

  rounds(window, 64, 200, (call) => (call % 20 === 0 ? 'failed' : null));

  expect(window.size).toBe(Number.POSITIVE_INFINITY);
});

test('overload shrinks the limit while it lasts, and 25 round trips later the limit is gone', () => {
  const window = new Window();

  const cut = rounds(window, 64, 20, () => 'overload');
  const back = rounds(window, 64, 25, () => null);

  expect(cut[0]).toBeLessThan(64);
  expect(cut.at(-1)).toBe(1);
  expect(back.at(-1)).toBe(Number.POSITIVE_INFINITY);
});

test('many failures at once count as overload', () => {
  const window = new Window();

  rounds(window, 64, 3, () => 'failed');

  expect(window.size).toBeLessThan(64);
});

test('a sign of overload now and then costs a tenth of the window at most', () => {
  const window = new Window();

  const sizes = rounds(window, 64, 100, (call) => (call % 100 === 0 ? 'overload' : null));

  expect(Math.min(...sizes)).toBeGreaterThan(48);
});
