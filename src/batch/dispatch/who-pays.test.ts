import { describe, expect, test } from 'vitest';
import type { ClassifiedFailure } from '../../serving/failure.ts';
import { decide, type Evidence, type Tail } from './who-pays.ts';

const failure = (
  kind: ClassifiedFailure['kind'],
  names: ClassifiedFailure['names'] = null,
): ClassifiedFailure => ({
  kind,
  names,
  text: 't',
  retryAfterMs: null,
});
const nothing: Evidence = {
  attempts: 0,
  retriesMax: 5,
  othersAccepted: false,
  othersThrottled: false,
  rejectsSingly: false,
  acceptedElsewhere: false,
  tail: null,
};
const tail = (more: Partial<Tail>): Evidence => ({
  ...nothing,
  tail: { lines: 1, tries: 99, minutes: 9, allTries: 99, allMinutes: 9, serverLives: true, ...more },
});
const ALL = ['refused', 'throttled', 'unavailable', 'failed', 'silent'] as const;

test.each([...ALL, 'unreachable'] as const)('no line pays while nothing is known: %s', (kind) => {
  expect(decide(failure(kind), nothing)).toBe('retry');
});

test.each(ALL)('attempts count while others get through: %s', (kind) => {
  expect(decide(failure(kind), { ...nothing, othersAccepted: true })).toBe('count');
  expect(decide(failure(kind), { ...nothing, othersAccepted: true, attempts: 10 })).toBe('record');
});

test('a line never pays for a server that cannot be reached', () => {
  const worst = { ...tail({}), attempts: 99, othersAccepted: true };

  expect(decide(failure('unreachable'), worst)).toBe('retry');
});

test('a line that is asked to slow down together with others does not pay for the pace', () => {
  const evidence = { ...nothing, attempts: 99, othersAccepted: true, othersThrottled: true };

  expect(decide(failure('throttled'), evidence)).toBe('retry');
  expect(decide(failure('unavailable'), evidence)).toBe('record');
});

test('a rejection is the answer of its line once rejections are known to be about single lines', () => {
  expect(decide(failure('rejected'), nothing)).toBe('hold');
  expect(decide(failure('rejected', 'request'), nothing)).toBe('record');
  expect(decide(failure('rejected'), { ...nothing, rejectsSingly: true })).toBe('record');
});

test('what one upstream rejects and another accepts is no fault of the line', () => {
  const evidence = { ...nothing, rejectsSingly: true, acceptedElsewhere: true };

  expect(decide(failure('rejected'), evidence)).toBe('retry');
  expect(decide(failure('rejected', 'request'), evidence)).toBe('record');
});

test('a reply that names its request counts though nobody else gets through', () => {
  expect(decide(failure('failed', 'request'), nothing)).toBe('count');
  expect(decide(failure('failed', 'request'), { ...nothing, attempts: 5 })).toBe('record');
  expect(decide(failure('refused', 'request'), { ...nothing, attempts: 2 })).toBe('record');
});

describe('the last lines of a batch', () => {
  test.each(ALL)('end within ten minutes with the reply that they get: %s', (kind) => {
    expect(decide(failure(kind), tail({}))).toBe('record');
    expect(decide(failure(kind), tail({ tries: 1, minutes: 0, allTries: 1, allMinutes: 0 }))).toBe('retry');
  });

  test('a line that gets no answer, or a 503, ends only when its server is known to live', () => {
    expect(decide(failure('silent'), tail({ serverLives: false }))).toBe('retry');
    expect(decide(failure('unavailable'), tail({ serverLives: false }))).toBe('retry');
  });

  test('more than 32 last lines are given eight minutes, since the server may be away', () => {
    const early = { minutes: 7, allMinutes: 7 };
    expect(decide(failure('failed'), tail({ lines: 33, ...early }))).toBe('retry');
    expect(decide(failure('refused'), tail({ lines: 33, ...early }))).toBe('retry');
    expect(decide(failure('failed'), tail({ lines: 32, ...early }))).toBe('record');
    expect(decide(failure('failed'), tail({ lines: 33 }))).toBe('record');
  });

  test('few tries far apart, or with different replies, say as much as many', () => {
    const few = { tries: 1, minutes: 0 };
    expect(decide(failure('unavailable'), tail({ ...few, allTries: 3, allMinutes: 8 }))).toBe('record');
    expect(decide(failure('unavailable'), tail({ ...few, allTries: 2, allMinutes: 9 }))).toBe('retry');
    expect(decide(failure('refused', 'account'), tail({ ...few }))).toBe('retry');
  });

  test('many last lines that an empty account refuses wait', () => {
    expect(decide(failure('refused', 'account'), tail({ lines: 4 }))).toBe('retry');
    expect(decide(failure('throttled'), tail({ lines: 4 }))).toBe('record');
    expect(decide(failure('throttled'), tail({ lines: 4, minutes: 7, allMinutes: 7 }))).toBe('retry');
    expect(decide(failure('refused'), tail({ lines: 4 }))).toBe('record');
  });
});
