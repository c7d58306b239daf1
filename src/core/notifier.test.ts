import { expect, test } from 'vitest';
import { Notifier } from './notifier.ts';
import { systemClock } from './clock.ts';

const DAY_MS = 24 * 3_600_000;
const { signal } = new AbortController();

test('a notification ends every wait', async () => {
  const notifier = new Notifier();
  const waits = [1, 2, 3].map(() => notifier.wait(systemClock, { delayMs: DAY_MS, signal }));

  notifier.notify();

  await expect(Promise.all(waits)).resolves.toHaveLength(3);
});

test('a change between a read and the wait after it ends that wait at once', async () => {
  const notifier = new Notifier();
  const since = notifier.count;
  notifier.notify();

  await expect(notifier.wait(systemClock, { delayMs: DAY_MS, since, signal })).resolves.toBeUndefined();
});

test('a wait ends when its delay is over', async () => {
  await expect(new Notifier().wait(systemClock, { delayMs: 1, signal })).resolves.toBeUndefined();
});

test('an aborted signal ends a wait, and the next one ends at once', async () => {
  const notifier = new Notifier();
  const stopping = new AbortController();
  const wait = notifier.wait(systemClock, { delayMs: DAY_MS, signal: stopping.signal });

  stopping.abort();

  await expect(wait).resolves.toBeUndefined();
  await expect(
    notifier.wait(systemClock, { delayMs: DAY_MS, signal: stopping.signal }),
  ).resolves.toBeUndefined();
});

test('a clock that fails is not taken for a notification', async () => {
  const broken = { sleep: () => Promise.reject(new Error('no timer')) };

  await expect(new Notifier().wait(broken, { delayMs: 1, signal })).rejects.toThrow('no timer');
});
