import { expect, test } from 'vitest';
import { Bell } from './bell.ts';
import { systemClock } from './clock.ts';

const DAY_MS = 24 * 3_600_000;
const { signal } = new AbortController();

test('a ring ends every rest under way', async () => {
  const bell = new Bell();
  const rests = [1, 2, 3].map(() => bell.rest(systemClock, { delayMs: DAY_MS, signal }));

  bell.ring();

  await expect(Promise.all(rests)).resolves.toHaveLength(3);
});

test('who looked before the ring does not rest after it', async () => {
  const bell = new Bell();
  const heard = bell.rings;
  bell.ring();

  await expect(bell.rest(systemClock, { delayMs: DAY_MS, heard, signal })).resolves.toBeUndefined();
});

test('a rest ends when its delay is over', async () => {
  await expect(new Bell().rest(systemClock, { delayMs: 1, signal })).resolves.toBeUndefined();
});

test('a signal ends a rest, and lets none begin', async () => {
  const bell = new Bell();
  const stopping = new AbortController();
  const rest = bell.rest(systemClock, { delayMs: DAY_MS, signal: stopping.signal });

  stopping.abort();

  await expect(rest).resolves.toBeUndefined();
  await expect(bell.rest(systemClock, { delayMs: DAY_MS, signal: stopping.signal })).resolves.toBeUndefined();
});

test('a clock that fails is not taken for a ring', async () => {
  const broken = { sleep: () => Promise.reject(new Error('no timer')) };

  await expect(new Bell().rest(broken, { delayMs: 1, signal })).rejects.toThrow('no timer');
});
