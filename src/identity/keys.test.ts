import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import type { Resource } from '../contract/control.ts';
import { systemClock, type Clock } from '../core/clock.ts';
import type { StateStore } from '../stores/state/ports.ts';
import { openSqliteInline } from '../stores/state/sqlite/inline.ts';
import { createKeys, keyDigest, type Keys } from './keys.ts';

const PEPPER = 'pepper';
const digest = (key: string): string => keyDigest(PEPPER, key);
const change = { actor: 'test', atS: 1_700_000_000 };
const resource: Resource = {
  id: 'alpha',
  location: 'koreacentral',
  subscriptionId: 's',
  resourceGroup: 'g',
  offer: 'enterprise',
  keyAuthDisabled: false,
  owner: 'api',
  tags: {},
  createdAt: change.atS,
};

let dir: string;
let store: StateStore;
let keys: Keys;
let passedMs: number;

beforeEach(async () => {
  dir = await mkdtemp(join(tmpdir(), 'offpeak-keys-'));
  store = await openSqliteInline({ path: join(dir, 'state.db') });
  await store.resources.put(resource, change);
  await store.resources.putKey('alpha', { slot: 1, digest: digest('first'), hint: 'irst' }, change);
  await store.resources.putKey('alpha', { slot: 2, digest: digest('second'), hint: 'cond' }, change);
  passedMs = 0;
  const clock: Clock = { ...systemClock, mono: () => passedMs };
  keys = createKeys({ resources: store.resources, pepper: PEPPER, clock });
});
afterEach(async () => {
  await store.close();
  await rm(dir, { recursive: true });
});

test('a key is stored as an HMAC, so that the same key under another pepper is another digest', () => {
  expect(keyDigest('pepper', 'key')).toMatch(/^[0-9a-f]{64}$/);
  expect(keyDigest('pepper', 'key')).toBe(keyDigest(Buffer.from('pepper'), 'key'));
  expect(keyDigest('salt', 'key')).not.toBe(keyDigest('pepper', 'key'));
});

test('a key names its resource, and which of the two it is', async () => {
  expect(await keys.find('second')).toEqual({ resource, slot: 2 });
  expect(await keys.find('third')).toBeUndefined();
  expect(await keys.find('')).toBeUndefined();
});

test('the admin key is no key of a resource, and a key of a resource is no admin key', async () => {
  expect(await keys.isAdminKey('operator')).toBe(false);
  await keys.resources.setAdminKeyDigest(digest('operator'), change);

  expect([await keys.isAdminKey('operator'), await keys.isAdminKey('first')]).toEqual([true, false]);
  expect(await keys.find('operator')).toBeUndefined();
});

describe('a change', () => {
  const regenerated = { slot: 1, digest: digest('new'), hint: 'new' } as const;

  test('that is made here counts at once', async () => {
    await keys.find('first');
    await keys.resources.putKey('alpha', regenerated, change);

    expect(await keys.find('first')).toBeUndefined();
    expect(await keys.find('new')).toBeDefined();
  });

  test('that is made elsewhere counts within five seconds', async () => {
    await keys.find('first');
    await store.resources.putKey('alpha', regenerated, change);

    passedMs = 4_999;
    expect(await keys.find('first')).toBeDefined();
    passedMs = 5_000;
    expect(await keys.find('first')).toBeUndefined();
  });

  test('that is made during a lookup is not undone by the answer of that lookup', async () => {
    const { promise, resolve } = Promise.withResolvers<void>();
    const slow = createKeys({
      resources: {
        ...store.resources,
        findByKeyDigest: async (wanted) => {
          const found = await store.resources.findByKeyDigest(wanted);
          await promise;
          return found;
        },
      },
      pepper: PEPPER,
      clock: systemClock,
    });

    const asked = slow.find('first');
    await slow.resources.putKey('alpha', regenerated, change);
    resolve();
    await asked;

    expect(await slow.find('first')).toBeUndefined();
  });

  test('of the resource counts at once too: its keys are turned off, or it is deleted', async () => {
    await keys.find('first');
    await keys.resource('beta');
    await keys.resources.put({ ...resource, keyAuthDisabled: true }, change);
    await keys.resources.put({ ...resource, id: 'beta' }, change);
    expect((await keys.find('first'))?.resource.keyAuthDisabled).toBe(true);
    expect(await keys.resource('beta')).toBeDefined();

    await keys.resources.delete('alpha', change);
    expect(await keys.find('first')).toBeUndefined();
    expect(await keys.resource('alpha')).toBeUndefined();
  });

  test('of the admin key counts at once', async () => {
    await keys.resources.setAdminKeyDigest(digest('old'), change);
    await keys.isAdminKey('old');
    await keys.resources.setAdminKeyDigest(digest('new'), change);

    expect([await keys.isAdminKey('old'), await keys.isAdminKey('new')]).toEqual([false, true]);
  });
});
