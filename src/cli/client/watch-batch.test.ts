import { expect, test } from 'vitest';
import { waitingText } from './watch-batch.ts';

const batch = { id: 'b', status: 'validating' };

test('a batch in the queue shows its place and what it waits for', () => {
  const queue = { position: 2, length: 5, tokens: 60_000, tokens_ahead: 1 };
  const waiting = 'Waits for room: …';

  expect(waitingText({ ...batch, offpeak: { waiting, queue } })).toBe(
    'waits for room, place 2 of 5: needs 60K',
  );
  expect(
    waitingText({
      ...batch,
      offpeak: { waiting, queue, enqueued_tokens: { used: 0, held: 58_212, limit: 100_000 } },
    }),
  ).toBe('waits for room, place 2 of 5: needs 60K, 41,788 of 100K free');
});

test('any other reason why a batch waits is shown in the words of the service', () => {
  expect(waitingText({ ...batch, offpeak: { waiting: 'vllm: answers 401' } })).toBe('vllm: answers 401');
  expect(waitingText(batch)).toBeNull();
});
