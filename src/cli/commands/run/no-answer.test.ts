import { expect, test } from 'vitest';
import { createNoAnswerWatch } from './no-answer.ts';

const progress = (completed: number, waiting: string | null) => ({
  status: 'in_progress',
  total: 100,
  completed,
  failed: 0,
  requestsPerSecond: null,
  etaS: null,
  waiting,
});

/** Looks every second, as long as `until` says nothing else. */
function looks(waitingAt: (second: number) => boolean, done = (_second: number) => 0) {
  const isHopeless = createNoAnswerWatch(30_000);
  for (let second = 0; second < 200; second++) {
    if (isHopeless(progress(40 + done(second), waitingAt(second) ? 'answers 404' : null), second * 1_000))
      return second;
  }
  return null;
}

test('nothing answered in 30 s of waiting is hopeless, also for a run that goes on', () => {
  expect(looks((second) => second >= 5)).toBe(35);
});

test('tries in between do not count as an end of the waiting', () => {
  expect(looks((second) => second % 8 === 0)).toBe(32);
});

test('an upstream that answered once is waited for', () => {
  expect(
    looks(
      () => true,
      (second) => (second < 29 ? 0 : 1),
    ),
  ).toBeNull();
});

test('waiting that ends by itself starts from the beginning the next time', () => {
  expect(looks((second) => second < 20 || second >= 40)).toBe(70);
});
