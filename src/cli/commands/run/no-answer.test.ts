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

/** The second after which the run gives up; null: it waits on. The batch is polled every second. */
function givesUpAt(waitingAt: (second: number) => boolean, done = (_second: number) => 0) {
  const hasWaitedTooLong = createNoAnswerWatch(30_000);
  for (let second = 0; second < 200; second++) {
    if (
      hasWaitedTooLong(progress(40 + done(second), waitingAt(second) ? 'answers 404' : null), second * 1_000)
    )
      return second;
  }
  return null;
}

test('a run gives up after 30 s of waiting without an answer, also a run that resumes', () => {
  expect(givesUpAt((second) => second >= 5)).toBe(35);
});

test('tries during the waiting do not end it', () => {
  expect(givesUpAt((second) => second % 8 === 0)).toBe(32);
});

test('a run never gives up on an upstream that answered once', () => {
  expect(
    givesUpAt(
      () => true,
      (second) => (second < 29 ? 0 : 1),
    ),
  ).toBeNull();
});

test('waiting that ended by itself does not count the next time', () => {
  expect(givesUpAt((second) => second < 20 || second >= 40)).toBe(70);
});
