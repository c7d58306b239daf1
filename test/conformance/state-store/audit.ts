import { expect, test } from 'vitest';

import type { AuditEntry } from '../../../src/contract/control.ts';
import {
  change,
  createBatch,
  deploymentOf,
  endBatch,
  fileOf,
  NO_LIMITS,
  numbers,
  resourceOf,
  scope,
} from '../../support/state-store.ts';
import type { Subject } from './subject.ts';

export function auditConformance(subject: () => Subject): void {
  const log = (resourceId: string | null = null) => subject().store.audit.list({ resourceId, limit: 1_000 });
  const told = async () =>
    (await log()).map(({ action, target, detail }) => ({ action, target, detail })).toReversed();

  test('every change of a resource and its keys is written down once, with what changed and never a key', async () => {
    const { resources } = subject().store;
    const key = { slot: 1, digest: 'secret-digest', hint: 'wxyz' } as const;

    for (const _ of [1, 2]) {
      await resources.put(resourceOf('alpha'), change);
      await resources.putKey('alpha', key, change);
    }
    await resources.putKey('alpha', { ...key, digest: 'next-secret', hint: 'abcd' }, change);
    await resources.put(resourceOf('alpha', { offer: 'students' }), change);
    await resources.delete('alpha', change);
    await resources.delete('alpha', change);

    expect(await told()).toEqual([
      {
        action: 'resource.create',
        target: 'alpha',
        detail: expect.objectContaining({ location: 'koreacentral', offer: 'enterprise' }),
      },
      { action: 'key.create', target: 'key1', detail: { hint: 'wxyz' } },
      { action: 'key.regenerate', target: 'key1', detail: { hint: 'abcd' } },
      {
        action: 'resource.update',
        target: 'alpha',
        detail: { offer: { from: 'enterprise', to: 'students' } },
      },
      { action: 'resource.delete', target: 'alpha', detail: {} },
    ]);
    expect(JSON.stringify(await log())).not.toContain('secret');
    for (const entry of await log())
      expect(entry).toMatchObject({ actor: 'admin', atS: 2_000, resourceId: 'alpha' });
  });

  test('the admin key belongs to the service as a whole', async () => {
    const { resources } = subject().store;

    for (const digest of ['d1', 'd1', 'd2']) await resources.setAdminKeyDigest(digest, change);

    expect(await log()).toMatchObject([
      { action: 'key.regenerate', target: 'admin-key', resourceId: null, detail: {} },
      { action: 'key.create', target: 'admin-key', resourceId: null, detail: {} },
    ]);
  });

  test('every change of a deployment is written down once, and a refused one is not', async () => {
    const { resources, deployments } = subject().store;
    await resources.put(resourceOf('alpha'), change);
    const put = (given = {}, quotaTokensMax: number | null = null) =>
      deployments.put(scope, deploymentOf('gpt', given), { quotaTokensMax, atS: 2_000 });

    await put({ enqueuedTokensMax: 100 }, 99);
    await put();
    await put();
    await put({ enqueuedTokensMax: 7, tags: { a: 'b' } });
    for (const _ of [1, 2]) await deployments.delete(scope, 'gpt', 2_000);

    expect((await told()).slice(1)).toEqual([
      {
        action: 'deployment.create',
        target: 'gpt',
        detail: expect.objectContaining({ model: 'gpt-4o', enqueuedTokensMax: 50_000, upstreams: null }),
      },
      {
        action: 'deployment.update',
        target: 'gpt',
        detail: { enqueuedTokensMax: { from: 50_000, to: 7 }, tags: { from: {}, to: { a: 'b' } } },
      },
      {
        action: 'deployment.delete',
        target: 'gpt',
        detail: { model: 'gpt-4o', version: '2024-11-20', sku: 'GlobalBatch', enqueuedTokensMax: 7 },
      },
    ]);
    for (const { actor } of (await log()).slice(0, 3)) expect(actor).toBe(scope.actor);
  });

  test('a cancel is written down when it changes something, and once', async () => {
    const { store } = subject();
    const { seq } = await createBatch(store, 'b1');
    await createBatch(store, 'b2');
    await endBatch(store, seq);

    for (const id of ['b1', 'b2', 'b2', 'b3']) await store.batches.cancel(scope, id, 2_000);

    expect(await log()).toEqual([
      {
        seq: expect.any(Number),
        atS: 2_000,
        resourceId: scope.resourceId,
        actor: scope.actor,
        action: 'batch.cancel',
        target: 'b2',
        detail: { status: { from: 'validating', to: 'cancelling' } },
      },
    ]);
  });

  test('a deleted file is written down, an expired one is not', async () => {
    const { files } = subject().store;
    await files.insert(scope, fileOf('f1', { filename: '값\u0000.jsonl' }), NO_LIMITS);
    await files.insert(scope, fileOf('f2', { expiresAt: 1_500 }), NO_LIMITS);

    for (const _ of [1, 2]) await files.delete(scope, 'f1', 2_000);
    await files.deleteExpired(2_000, 10);

    // PostgreSQL's text has no NUL, so the name has lost it long before.
    expect(await told()).toEqual([
      {
        action: 'file.delete',
        target: 'f1',
        detail: { filename: expect.stringMatching(/^값.\.jsonl$/), purpose: 'batch' },
      },
    ]);
  });

  test('the log is read newest first, by pages, for one resource or all', async () => {
    const { store } = subject();
    for (const n of numbers(5))
      await store.resources.put(resourceOf(`r${n % 2}`, { location: `l${n}` }), change);
    const page = (query: { resourceId: string | null; before?: number; limit: number }) =>
      store.audit.list(query);

    const all: AuditEntry[] = [];
    for (let before: number | undefined; ;) {
      const entries = await page({ resourceId: null, limit: 2, ...(before !== undefined && { before }) });
      if (entries.length === 0) break;
      all.push(...entries);
      before = entries.at(-1)?.seq;
    }

    expect(all.map(({ resourceId }) => resourceId)).toEqual(['r0', 'r1', 'r0', 'r1', 'r0']);
    expect(all).toEqual(await log());
    expect(await page({ resourceId: 'r1', limit: 9 })).toEqual([all[1], all[3]]);
    expect(await page({ resourceId: 'r1', before: all[1]!.seq, limit: 9 })).toEqual([all[3]]);
  });
}
