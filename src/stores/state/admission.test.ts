import { expect, test } from 'vitest';

import { QUEUE_PASS_S } from '../../contract/control.ts';
import { couldEverFit, isAdmitted, type Admission } from './admission.ts';

const NOBODY = { fewestTokens: Infinity, ownSinceS: Infinity, sharedSinceS: Infinity };
const NOW_S = 100_000;
const LATE_S = NOW_S - QUEUE_PASS_S - 1;
const of = (given: Partial<Admission>): Admission => ({
  tokens: 10,
  held: 0,
  sharedHeld: 0,
  room: { enqueuedTokensMax: 100, sharedTokensMax: null },
  older: NOBODY,
  nowS: NOW_S,
  ...given,
});
const dynamic = { enqueuedTokensMax: 100, sharedTokensMax: 1_000 };

test.each<[string, boolean, Partial<Admission>]>([
  ['fills its limit to the last token', true, { held: 90 }],
  ['is not admitted one token beyond', false, { held: 91 }],
  [
    'goes beyond its limit while the shared capacity is idle',
    true,
    { held: 100, sharedHeld: 990, room: dynamic },
  ],
  ['does not go beyond the shared capacity', false, { held: 100, sharedHeld: 991, room: dynamic }],
  ['has its own share also when others hold all shared capacity', true, { sharedHeld: 5_000, room: dynamic }],
  [
    'waits for an older one that fits',
    false,
    { held: 50, older: { ...NOBODY, fewestTokens: 50, ownSinceS: NOW_S } },
  ],
  [
    'passes an older one that does not fit',
    true,
    { held: 50, older: { ...NOBODY, fewestTokens: 51, ownSinceS: NOW_S } },
  ],
  [
    'still passes it when it has waited as long as it may have to',
    true,
    { held: 50, older: { ...NOBODY, fewestTokens: 51, ownSinceS: NOW_S - QUEUE_PASS_S } },
  ],
  [
    'passes it no more from then on',
    false,
    { held: 50, older: { ...NOBODY, fewestTokens: 51, ownSinceS: LATE_S } },
  ],
  [
    'waits for an older one that fits the shared capacity',
    false,
    {
      held: 50,
      sharedHeld: 800,
      room: dynamic,
      older: { ...NOBODY, fewestTokens: 200, sharedSinceS: NOW_S },
    },
  ],
  [
    'takes its own share while an older one waits for shared capacity, however long',
    true,
    {
      held: 50,
      sharedHeld: 900,
      room: dynamic,
      older: { ...NOBODY, fewestTokens: 200, sharedSinceS: LATE_S },
    },
  ],
  [
    'leaves shared capacity to an older one that has waited for it too long',
    false,
    {
      held: 95,
      sharedHeld: 900,
      room: dynamic,
      older: { ...NOBODY, fewestTokens: 200, sharedSinceS: LATE_S },
    },
  ],
  [
    'takes shared capacity before an older one that has not waited that long',
    true,
    {
      held: 95,
      sharedHeld: 900,
      room: dynamic,
      older: { ...NOBODY, fewestTokens: 200, sharedSinceS: NOW_S },
    },
  ],
])('a batch %s', (_, expected, given) => {
  expect(isAdmitted(of(given))).toBe(expected);
});

test('a batch could ever fit when its own limit or the shared one is as large as it is', () => {
  expect(couldEverFit(100, { enqueuedTokensMax: 100, sharedTokensMax: null })).toBe(true);
  expect(couldEverFit(101, { enqueuedTokensMax: 100, sharedTokensMax: null })).toBe(false);
  expect(couldEverFit(1_000, dynamic)).toBe(true);
  expect(couldEverFit(1_001, dynamic)).toBe(false);
  expect(couldEverFit(100, { enqueuedTokensMax: 100, sharedTokensMax: 50 })).toBe(true);
});
