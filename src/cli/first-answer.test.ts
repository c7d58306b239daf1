import { expect, test } from 'vitest';
import { createFirstAnswerWatch } from './first-answer.ts';

const progress = (completed: number, waiting: string | null) => ({
  status: 'in_progress',
  total: 100,
  completed,
  failed: 0,
  requestsPerSecond: null,
  etaS: null,
  waiting,
});

test('nothing answered in 30 s of waiting is hopeless, also for a run that goes on', () => {
  const isHopeless = createFirstAnswerWatch(30_000);

  expect(isHopeless(progress(40, null), 0)).toBe(false);
  expect(isHopeless(progress(40, 'answers 404'), 5_000)).toBe(false);
  expect(isHopeless(progress(40, 'answers 404'), 34_999)).toBe(false);
  expect(isHopeless(progress(40, 'answers 404'), 35_000)).toBe(true);
});

test('an upstream that answered once is waited for', () => {
  const isHopeless = createFirstAnswerWatch(30_000);

  expect(isHopeless(progress(0, 'down'), 0)).toBe(false);
  expect(isHopeless(progress(1, 'down'), 29_000)).toBe(false);
  expect(isHopeless(progress(1, 'down'), 9e9)).toBe(false);
});

test('waiting that ends by itself starts from the beginning the next time', () => {
  const isHopeless = createFirstAnswerWatch(30_000);

  expect(isHopeless(progress(0, 'slow down'), 0)).toBe(false);
  expect(isHopeless(progress(0, null), 20_000)).toBe(false);
  expect(isHopeless(progress(0, 'slow down'), 40_000)).toBe(false);
});
