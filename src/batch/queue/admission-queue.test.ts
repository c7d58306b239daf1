import { expect, test } from 'vitest';
import type { Batch } from '../../contract/batch.ts';
import { QUEUE_PASS_S } from '../../contract/control.ts';
import type { Deployment } from '../../deployments/port.ts';
import { AdmissionQueue } from './admission-queue.ts';
import { tokenLimitExceeded, waitsForRoom } from './room.ts';

const deployment = (enqueuedTokensMax: number, sharedTokensMax: number | null = null): Deployment => ({
  name: 'd',
  model: 'm',
  version: null,
  sku: 'GlobalBatch',
  unusable: null,
  takesImages: true,
  enqueuedTokensMax,
  sharedTokensMax,
  whenFull: 'wait',
  upstreams: [],
  concurrencyMax: 1,
});

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
const waiting = (seq: number, waitingTokens: number, createdAt = 0): Batch =>
  batch(seq, { waitingTokens, createdAt });

function look(
  live: readonly Batch[],
  {
    quotas = new AdmissionQueue(),
    of = deployment(100),
    nowS = 0,
  }: { quotas?: AdmissionQueue; of?: Deployment; nowS?: number } = {},
): AdmissionQueue {
  quotas.look(live, new Map([['r/d', of]]), nowS);
  return quotas;
}
const turns = (quotas: AdmissionQueue, live: readonly Batch[]): number[] =>
  live.filter((one) => quotas.hasTurn(one)).map(({ seq }) => seq);

test('those that fit together have their turn, oldest first', () => {
  const live = [running(1, 60), waiting(2, 20), waiting(3, 15), waiting(4, 20)];

  expect(turns(look(live), live)).toEqual([1, 2, 3]);
});

test('a small one passes a large one that does not fit, until that has waited long enough', () => {
  const live = [running(1, 60), waiting(2, 50, 10), waiting(3, 30, 20)];

  expect(turns(look(live, { nowS: 10 + QUEUE_PASS_S }), live)).toEqual([1, 3]);
  expect(turns(look(live, { nowS: 11 + QUEUE_PASS_S }), live)).toEqual([1]);
});

test('what can never fit has its turn, to be told so', () => {
  const live = [running(1, 100), waiting(2, 101)];

  expect(turns(look(live), live)).toEqual([1, 2]);
});

test('dynamic quota lets more have a turn', () => {
  const live = [running(1, 100), waiting(2, 80)];

  expect(turns(look(live, { of: deployment(100, 180) }), live)).toEqual([1, 2]);
});

test('one that waits for what others leave idle takes no turn from a smaller one', () => {
  const live = [waiting(1, 950), waiting(2, 80)];

  expect(turns(look(live, { of: deployment(100, 1_000) }), live)).toEqual([1, 2]);
});

test('a batch that was told to wait has no other turn before something changes', () => {
  const live = [running(1, 60), waiting(2, 20)];
  const quotas = look(live);

  expect(quotas.takeTurn(live[1]!)).toBe(true);
  expect(quotas.takeTurn(live[1]!)).toBe(false);
  expect(turns(look(live, { quotas }), live)).toEqual([1]);
  expect(turns(look(live, { quotas, of: deployment(101) }), live)).toEqual([1, 2]);
  expect(turns(look(live, { quotas, nowS: 60 }), live)).toEqual([1, 2]);
});

test('batches of a deployment that is gone wait for it, those that were never seen do not start', () => {
  const quotas = new AdmissionQueue();
  const live = [waiting(1, 10), batch(2, { enqueuedTokens: 5 })];
  expect(turns(quotas, live)).toEqual([2]);

  quotas.look(live, new Map([['r/d', undefined]]), 0);

  expect(turns(quotas, live)).toEqual([]);
  expect(quotas.of(live[0]!)).toEqual({ held: 5, limit: null });
});

test('places are told by age, and a batch has its place as soon as it is created', () => {
  const live = [running(1, 90), waiting(2, 20), waiting(3, 30)];
  const quotas = look(live);
  const young = waiting(4, 40);
  expect(quotas.place(young)).toBe(null);

  quotas.add(young, deployment(100), 90);

  expect(quotas.place(live[2]!)).toEqual({ position: 2, length: 3, tokens: 30, tokensAhead: 20 });
  expect(quotas.place(young)).toEqual({ position: 3, length: 3, tokens: 40, tokensAhead: 50 });
  expect(quotas.place(live[0]!)).toBe(null);
});

test('a batch that is created during a look keeps its place, and loses it with the next look that lacks it', () => {
  const live = [running(1, 100)];
  const quotas = new AdmissionQueue();
  const young = waiting(2, 20);

  quotas.startLook();
  quotas.add(young, deployment(100), 100);
  look(live, { quotas });
  expect(quotas.place(young)?.position).toBe(1);

  quotas.startLook();
  look(live, { quotas });
  expect(quotas.place(young)).toBe(null);
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
