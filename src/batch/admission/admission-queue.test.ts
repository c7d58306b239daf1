import { expect, test } from 'vitest';
import { deploymentFor } from '../../../test/support/deployment.ts';
import type { Batch } from '../../contract/batch.ts';
import type { Deployment } from '../../deployments/port.ts';
import { AdmissionQueue } from './admission-queue.ts';
import { tokenLimitExceeded, waitsForRoom } from './room.ts';

const deployment = (enqueuedTokensMax: number, sharedTokensMax: number | null = null): Deployment =>
  deploymentFor({ enqueuedTokensMax, sharedTokensMax });

const batch = (seq: number, facts: Partial<Batch>): Batch =>
  ({
    seq,
    resourceId: 'r',
    deployment: 'd',
    status: 'validating',
    enqueuedTokens: 0,
    waitingTokens: null,
    createdAt: 0,
    ...facts,
  }) as Batch;
const running = (seq: number, enqueuedTokens: number): Batch =>
  batch(seq, { status: 'in_progress', enqueuedTokens });
const waiting = (seq: number, waitingTokens: number): Batch => batch(seq, { waitingTokens });

function seen(live: readonly Batch[], queue = new AdmissionQueue(), of?: Deployment): AdmissionQueue {
  queue.startPass();
  queue.endPass(live, new Map([['r/d', of]]));
  return queue;
}

test('places go by age, and a batch has its place as soon as it is created', () => {
  const live = [running(1, 90), waiting(2, 20), waiting(3, 30)];
  const queue = seen(live);
  const young = waiting(4, 40);
  expect(queue.place(young)).toBe(null);

  queue.add(young, deployment(100), 90);

  expect(queue.place(live[2]!)).toEqual({ position: 2, length: 3, tokens: 30, tokensAhead: 20 });
  expect(queue.place(young)).toEqual({ position: 3, length: 3, tokens: 40, tokensAhead: 50 });
  expect(queue.place(live[0]!)).toBe(null);
});

test('a batch that is created during a pass keeps its place, and loses it with the next pass that lacks it', () => {
  const live = [running(1, 100)];
  const queue = new AdmissionQueue();
  const young = waiting(2, 20);

  queue.startPass();
  queue.add(young, deployment(100), 100);
  queue.endPass(live, new Map([['r/d', deployment(100)]]));
  expect(queue.place(young)?.position).toBe(1);

  expect(seen(live, queue).place(young)).toBe(null);
});

test('those behind a batch that has started move up at once', () => {
  const live = [running(1, 60), waiting(2, 20), waiting(3, 30)];
  const queue = seen(live);

  queue.started(live[1]!, 20);

  expect(queue.place(live[2]!)).toEqual({ position: 1, length: 1, tokens: 30, tokensAhead: 0 });
  expect(queue.tokensOf(live[2]!)).toMatchObject({ held: 80 });
});

test('a batch that has ended has no place, although its create is repeated', () => {
  const queue = seen([running(1, 90)]);

  queue.add(batch(2, { status: 'completed' }), deployment(100), 90);

  expect(queue.tokensOf(running(1, 90))).toMatchObject({ held: 90, waiting: [] });
});

test('the tokens that are held and the limit are those of the latest pass; a deployment that is gone has no limit', () => {
  const live = [running(1, 60), batch(2, { enqueuedTokens: 5 }), waiting(3, 80)];
  const queue = new AdmissionQueue();
  expect(queue.tokensOf(live[0]!)).toBeUndefined();

  expect(seen(live, queue, deployment(100)).tokensOf(live[0]!)).toMatchObject({ held: 65, limit: 100 });
  expect(seen(live, queue).tokensOf(live[0]!)).toMatchObject({ held: 65, limit: null });
});

test('the reason says the place, what is needed and what is free', () => {
  const place = { position: 2, length: 2, tokens: 30_000, tokensAhead: 40_000 };

  expect(waitsForRoom('x', place, { held: 30_000, limit: 50_000 })).toBe(
    'Waits for room: place 2 in the queue of deployment x; needs 30K tokens, 20K of 50K are free.',
  );
  expect(waitsForRoom('x', place, { held: 10_000, limit: 50_000 })).toContain(
    'free, kept for older batches.',
  );
});

test('a batch that can never fit is told so after the words of the original', () => {
  const original =
    "The number of enqueued tokens has surpassed the configured limit of 30K for the deployment 'd'. Please either increase the limit or try again once the current jobs have finished.";

  expect(tokenLimitExceeded(deployment(30_000), 30_000).message).toBe(original);
  expect(tokenLimitExceeded(deployment(30_000, 40_000), 40_000).message).toBe(original);
  expect(tokenLimitExceeded(deployment(30_000, 40_000), 41_000).message).toBe(
    `${original} This batch alone needs 41K, so it can never start under this limit: increase it, or split the input file.`,
  );
});
