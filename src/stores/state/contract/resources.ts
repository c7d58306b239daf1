import { expect, test } from 'vitest';

import type { Subject } from './fixtures.ts';

export function resourceContract(subject: () => Subject): void {
  test('a resource is found by its id and by each of its keys', async () => {
    const { resources } = subject().store;
    const resource = { id: 'alpha', location: 'koreacentral', keyDigests: ['d2', 'd1'] };

    await resources.put(resource);

    expect(await resources.get('alpha')).toEqual(resource);
    expect(await resources.findByKeyDigest('d1')).toEqual(resource);
    expect(await resources.findByKeyDigest('d2')).toEqual(resource);
  });

  test('an unknown resource or key is undefined', async () => {
    const { resources } = subject().store;

    expect(await resources.get('nobody')).toBeUndefined();
    expect(await resources.findByKeyDigest('d1')).toBeUndefined();
  });

  test('a resource that is put again loses the keys that it had', async () => {
    const { resources } = subject().store;
    await resources.put({ id: 'alpha', location: 'koreacentral', keyDigests: ['old'] });

    await resources.put({ id: 'alpha', location: 'swedencentral', keyDigests: ['new'] });

    expect(await resources.get('alpha')).toEqual({
      id: 'alpha',
      location: 'swedencentral',
      keyDigests: ['new'],
    });
    expect(await resources.findByKeyDigest('old')).toBeUndefined();
  });

  test('a key opens one resource only: a second that claims it is refused and changes nothing', async () => {
    const { resources } = subject().store;
    const first = { id: 'alpha', location: 'koreacentral', keyDigests: ['d1'] };
    await resources.put(first);

    const second = resources.put({ id: 'beta', location: 'koreacentral', keyDigests: ['d1'] });

    await expect(second).rejects.toMatchObject({ name: 'StoreError', transient: false });
    expect(await resources.findByKeyDigest('d1')).toEqual(first);
    expect(await resources.get('beta')).toBeUndefined();
  });
}
