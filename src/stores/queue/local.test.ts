import { beforeEach, expect, test } from 'vitest';
import { systemClock } from '../../core/clock.ts';
import { LocalQueue } from './local.ts';
import type { StageOutcome } from './port.ts';

let queue: LocalQueue;
/** Deliveries that are under way, in their order. */
let underWay: { readonly seq: number; readonly done: (outcome: StageOutcome) => void }[];
beforeEach(() => {
  queue = new LocalQueue();
  underWay = [];
});

const deliver = (): void => queue.deliver((seq) => new Promise((done) => void underWay.push({ seq, done })));
const seqs = (): number[] => underWay.map(({ seq }) => seq);

async function finish(outcome: StageOutcome = 'rests'): Promise<void> {
  underWay.shift()?.done(outcome);
  await new Promise(setImmediate);
}

test('offered batches are delivered at once, side by side', async () => {
  deliver();

  await queue.offer([7, 8]);

  expect(seqs()).toEqual([7, 8]);
});

test('a batch is not delivered twice at once; offered meanwhile, it comes once more afterwards', async () => {
  deliver();
  await queue.offer([7]);

  await queue.offer([7]);
  await queue.offer([7]);
  expect(seqs()).toEqual([7]);
  await finish();
  expect(seqs()).toEqual([7]);
  await finish();

  expect(seqs()).toEqual([]);
});

test('a batch that goes on is delivered again at once', async () => {
  deliver();
  await queue.offer([7]);

  await finish('goes_on');

  expect(seqs()).toEqual([7]);
});

test('a batch that rests is delivered again when it is offered again', async () => {
  deliver();
  await queue.offer([7]);
  await finish();

  await queue.offer([7]);

  expect(seqs()).toEqual([7]);
});

test('nothing is delivered before there is somebody to work, nor after the stop', async () => {
  await queue.offer([1]);
  deliver();
  await queue.stop();

  await queue.offer([2]);

  expect(seqs()).toEqual([]);
});

test('a stop waits for the work under way, and what was offered meanwhile is not begun', async () => {
  deliver();
  await queue.offer([7]);
  await queue.offer([7]);
  let isStopped = false;

  const stopped = queue.stop().then(() => (isStopped = true));
  await new Promise(setImmediate);
  expect(isStopped).toBe(false);
  await finish();

  await expect(stopped).resolves.toBe(true);
  expect(seqs()).toEqual([]);
});

test('a notification ends the wait of whoever waits for changes', async () => {
  const { signal } = new AbortController();
  const wait = queue.changes.wait(systemClock, { delayMs: 24 * 3_600_000, signal });

  queue.notify();

  await expect(wait).resolves.toBeUndefined();
});
