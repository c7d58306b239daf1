import { describe, expect, test } from 'vitest';
import type { Clock } from '../core/clock.ts';
import { createAuthenticator, FailureLimiter, keyDigest, presentedKey } from './auth.ts';

function manualClock(): Clock & { advance(ms: number): void } {
  let nowMs = 0;
  return {
    now: () => nowMs,
    mono: () => nowMs,
    sleep: () => Promise.reject(new Error('nobody sleeps here')),
    advance: (ms) => {
      nowMs += ms;
    },
  };
}

describe('a key', () => {
  test('is stored as an HMAC, so that the same key under another pepper is another digest', () => {
    expect(keyDigest('pepper', 'key')).toMatch(/^[0-9a-f]{64}$/);
    expect(keyDigest('pepper', 'key')).toBe(keyDigest(Buffer.from('pepper'), 'key'));
    expect(keyDigest('salt', 'key')).not.toBe(keyDigest('pepper', 'key'));
  });

  test('opens its resource, and names which of its keys it was', async () => {
    const keyDigests = ['first', 'second'].map((key) => keyDigest('pepper', key));
    const resource = { id: 'r', location: 'koreacentral', keyDigests };
    const authenticate = createAuthenticator({
      resources: { findByKeyDigest: async (digest) => (keyDigests.includes(digest) ? resource : undefined) },
      pepper: 'pepper',
      clock: manualClock(),
    });

    expect(await authenticate('second')).toEqual({
      scope: { resourceId: 'r', actor: 'key:2' },
      location: 'koreacentral',
    });
    expect(await authenticate('third')).toBeUndefined();
  });

  test('that was revoked stops working within seconds', async () => {
    const clock = manualClock();
    let keyDigests = [keyDigest('pepper', 'key')];
    let lookups = 0;
    const authenticate = createAuthenticator({
      resources: {
        findByKeyDigest: async (digest) => {
          lookups++;
          return keyDigests.includes(digest) ? { id: 'r', location: '', keyDigests } : undefined;
        },
      },
      pepper: 'pepper',
      clock,
      cacheMs: 5_000,
    });

    await authenticate('key');
    await authenticate('key');
    expect(lookups).toBe(1);
    keyDigests = [];
    clock.advance(4_999);
    expect(await authenticate('key')).toBeDefined();
    clock.advance(1);
    expect(await authenticate('key')).toBeUndefined();
  });
});

test.each([
  [{ 'api-key': 'k' }, 'k'],
  [{ authorization: 'Bearer k' }, 'k'],
  [{ authorization: 'bearer   k' }, 'k'],
  [{ 'api-key': 'k', authorization: 'Bearer other' }, 'k'],
  [{ authorization: 'Bearer' }, undefined],
  [{ authorization: 'Bearer a b' }, undefined],
  [{ authorization: 'Basic k' }, undefined],
  [{ 'api-key': '' }, undefined],
  [{}, undefined],
])('the key of %j is %s', (headers, key) => {
  expect(presentedKey(headers)).toBe(key);
});

describe('failures of one address', () => {
  test('are counted per minute, each address on its own', () => {
    const clock = manualClock();
    const limiter = new FailureLimiter(clock, 2);

    expect([limiter.count('a'), limiter.count('a')]).toEqual([undefined, undefined]);
    clock.advance(20_000);
    expect(limiter.count('a')).toBe(40);
    expect(limiter.count('b')).toBeUndefined();
    clock.advance(40_000);
    expect(limiter.count('a')).toBeUndefined();
  });

  test('of a million addresses do not fill the memory', () => {
    const limiter = new FailureLimiter(manualClock(), 1);
    limiter.count('first');
    for (let address = 0; address < 10_000; address++) limiter.count(`${address}`);

    // Forgotten, since others were newer.
    expect(limiter.count('first')).toBeUndefined();
    expect(limiter.count('9999')).toBeGreaterThan(0);
  });
});
