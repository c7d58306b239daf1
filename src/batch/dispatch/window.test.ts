import { expect, test } from 'vitest';
import { Window } from './window.ts';

test('a window shrinks once per round of calls, however many of them fail', () => {
  const window = new Window({ sizeMax: 100 });

  window.shrink({ startedAtMs: 0, nowMs: 10 });
  window.shrink({ startedAtMs: 5, nowMs: 11 });
  expect(window.size).toBe(70);

  window.shrink({ startedAtMs: 12, nowMs: 20 });
  expect(window.size).toBe(49);
});

test('a window never shrinks below one request', () => {
  const window = new Window({ sizeMax: 2 });

  for (let call = 1; call < 10; call += 1) window.shrink({ startedAtMs: call * 2, nowMs: call * 2 + 1 });

  expect(window.size).toBe(1);
});

test('a window grows by one after a whole window of successes, up to its maximum', () => {
  const window = new Window({ sizeMax: 4 });
  window.shrink({ startedAtMs: 1, nowMs: 2 });
  expect(window.size).toBe(2);

  window.grow();
  expect(window.size).toBe(2);
  window.grow();
  expect(window.size).toBe(3);
  for (let success = 0; success < 20; success += 1) window.grow();
  expect(window.size).toBe(4);
});

test('a window at its maximum follows a new maximum; one that was cut keeps its size until it may grow', () => {
  const open = new Window({ sizeMax: 4 });
  open.resize(8);
  expect(open.size).toBe(8);

  const cut = new Window({ sizeMax: 10 });
  cut.shrink({ startedAtMs: 1, nowMs: 2 });
  cut.resize(20);
  expect(cut.size).toBe(7);
  cut.resize(5);
  expect(cut.size).toBe(5);
  for (let success = 0; success < 20; success += 1) cut.grow();
  expect(cut.size).toBe(5);
});
