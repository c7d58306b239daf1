import { beforeEach, describe, expect, test } from 'vitest';

import { QUEUE_PASS_S } from '../../../src/contract/control.ts';
import type { Scope } from '../../../src/contract/scope.ts';
import type { NewBatch, Room } from '../../../src/stores/state/ports.ts';
import {
  batchBySeq,
  batchOf,
  change,
  deploymentOf,
  endBatch,
  fileOf,
  planOf,
  resourceOf,
  scope,
  stranger,
  upTo,
} from '../../support/state-store.ts';
import type { Subject } from './subject.ts';
import { races } from './races.ts';

/** What becomes of batches for which there is no room. */
export function queueingConformance(subject: () => Subject): void {
  const create = async (id: string, given: Partial<NewBatch>, room: Room, owner: Scope = scope) =>
    subject().store.batches.create(owner, batchOf(id, { whenFull: 'wait', ...given }), { room });
  const seqOf = async (id: string, owner: Scope = scope) =>
    (await subject().store.batches.get(owner, id))?.seq ?? 0;
  const plan = async (id: string, enqueuedTokens: number, room: Room, given = {}, owner: Scope = scope) =>
    subject().store.batches.plan(await seqOf(id, owner), planOf(1, { enqueuedTokens, room, ...given }));
  const end = async (id: string, owner: Scope = scope) => endBatch(subject().store, await seqOf(id, owner));
  const tokens = async (owner: Scope = scope) =>
    (await subject().store.batches.enqueuedTokens(owner)).get('gpt');

  test('a batch that is to wait and finds no room is there, validating, and holds nothing', async () => {
    await create('first', { enqueuedTokens: 60 }, upTo(100));

    const outcome = await create('second', { enqueuedTokens: 41 }, upTo(100));

    expect(outcome).toMatchObject({
      kind: 'created',
      enqueuedTokens: 60,
      batch: {
        status: 'validating',
        whenFull: 'wait',
        enqueuedTokens: 0,
        waitingTokens: 41,
        deployment: 'gpt',
      },
    });
    expect(await tokens()).toEqual({ held: 60, waiting: 41, waitingBatches: 1 });
    expect(await subject().store.batches.enqueuedTokens(stranger)).toEqual(new Map());
  });

  /** Ids of the batches that could start now. */
  const next = async (room: Room, nowS = 1_000, deployments = ['gpt']) => {
    const { resourceId } = scope;
    const rooms = deployments.map((deployment) => ({ resourceId, deployment, room }));
    const seqs = await subject().store.batches.nextToStart(rooms, nowS);
    return Promise.all(seqs.map(async (seq) => (await batchBySeq(subject().store, seq)).id));
  };

  test('the oldest that fits starts next', async () => {
    await create('holder', { enqueuedTokens: 60 }, upTo(100));
    for (const id of ['a', 'b', 'c']) await create(id, { enqueuedTokens: 41 }, upTo(100));
    expect(await next(upTo(100))).toEqual([]);
    await end('holder');

    expect(await next(upTo(100))).toEqual(['a']);
    expect(await plan('a', 41, upTo(100))).toBe('planned');
    expect(await next(upTo(100))).toEqual(['b']);
  });

  test('what can never start is among those that could, so that it ends', async () => {
    await create('holder', { enqueuedTokens: 60 }, upTo(100));
    await create('waiter', { enqueuedTokens: 50 }, upTo(100));

    expect(await next(upTo(49))).toEqual(['waiter']);
    expect(await plan('waiter', 50, upTo(49))).toBe('token_limit_exceeded');
  });

  test('a batch that would wait for ever is refused at once', async () => {
    expect(await create('b1', { enqueuedTokens: 101 }, upTo(100))).toEqual({
      kind: 'token_limit_exceeded',
      enqueuedTokens: 0,
    });
    expect(await subject().store.batches.live()).toEqual([]);
  });

  test('a batch that waits starts when there is room, and waits no longer', async () => {
    await create('first', { enqueuedTokens: 60 }, upTo(100));
    await create('second', { enqueuedTokens: 41 }, upTo(100));
    const waiting = await batchBySeq(subject().store, await seqOf('second'));
    expect(await plan('second', 41, upTo(100))).toBe('waiting');
    expect(await batchBySeq(subject().store, waiting.seq)).toEqual(waiting);
    await end('first');

    expect(await plan('second', 41, upTo(100))).toBe('planned');

    expect(await batchBySeq(subject().store, waiting.seq)).toMatchObject({
      status: 'in_progress',
      enqueuedTokens: 41,
      waitingTokens: null,
      counts: { total: 4 },
    });
    expect(await tokens()).toEqual({ held: 41, waiting: 0, waitingBatches: 0 });
  });

  test('a batch whose deployment was not known waits from its plan on, as it says or else as its deployment does', async () => {
    const { store } = subject();
    await create('first', { enqueuedTokens: 60 }, upTo(100));
    const unknown = { deployment: null, enqueuedTokens: 500 };
    for (const [id, whenFull] of [
      ['says-wait', 'wait'],
      ['says-fail', 'fail'],
      ['says-nothing', null],
    ] as const)
      await store.batches.create(scope, batchOf(id, { ...unknown, whenFull }), { room: null });

    expect(await plan('says-wait', 41, upTo(100), { whenFull: 'fail' })).toBe('waiting');
    expect(await plan('says-fail', 41, upTo(100), { whenFull: 'wait' })).toBe('token_limit_exceeded');
    expect(await plan('says-nothing', 41, upTo(100), { whenFull: 'fail' })).toBe('token_limit_exceeded');
    expect(await plan('says-nothing', 42, upTo(100), { whenFull: 'wait' })).toBe('waiting');

    expect(await store.batches.get(scope, 'says-wait')).toMatchObject({
      status: 'validating',
      deployment: 'gpt',
      enqueuedTokens: 0,
      waitingTokens: 41,
    });
    expect(await store.batches.get(scope, 'says-fail')).toMatchObject({
      deployment: null,
      waitingTokens: null,
    });
    expect(await tokens()).toEqual({ held: 60, waiting: 83, waitingBatches: 2 });
    expect(await plan('says-wait', 101, upTo(100))).toBe('token_limit_exceeded');
  });

  test('the tokens that a batch has reserved need no room again; more tokens do', async () => {
    await create('a', { enqueuedTokens: 60 }, upTo(100));
    await create('b', { enqueuedTokens: 40, whenFull: 'fail' }, upTo(100));
    await create('waits', { enqueuedTokens: 1 }, upTo(100));

    expect(await plan('b', 41, upTo(100))).toBe('token_limit_exceeded');
    expect(await plan('b', 40, upTo(50))).toBe('planned');
    expect(await plan('a', 61, upTo(100))).toBe('waiting');

    expect(await tokens()).toEqual({ held: 40, waiting: 62, waitingBatches: 2 });
  });

  test('a batch that waits can be cancelled and can fail, and then waits no longer', async () => {
    const { store } = subject();
    await create('first', { enqueuedTokens: 100 }, upTo(100));
    for (const id of ['cancelled', 'failed']) await create(id, { enqueuedTokens: 10 }, upTo(100));

    expect(await store.batches.cancel(scope, 'cancelled', 1_100)).toMatchObject({
      status: 'cancelling',
      waitingTokens: null,
      enqueuedTokens: 0,
    });
    expect(await end('failed')).toBe(true);

    expect(await tokens()).toEqual({ held: 100, waiting: 0, waitingBatches: 0 });
    expect(await plan('cancelled', 10, upTo(100))).toBe('stale');
    const published = await store.batches.publish(await seqOf('cancelled'), {
      from: 'cancelling',
      to: 'cancelled',
      atS: 1_200,
      completed: 0,
      failed: 4,
      files: [fileOf('out', { purpose: 'batch_output' })],
    });
    expect(published).toBe(true);
  });

  describe('order', () => {
    beforeEach(async () => {
      await create('running', { enqueuedTokens: 60 }, upTo(100));
      await create('large', { enqueuedTokens: 80, createdAt: 1_000 }, upTo(100));
      await create('small', { enqueuedTokens: 50, createdAt: 1_001 }, upTo(100));
    });

    test('the oldest that fits goes first, whoever asks first', async () => {
      await end('running');

      expect(await plan('small', 50, upTo(100))).toBe('waiting');
      expect(await create('new', { enqueuedTokens: 5, whenFull: 'fail' }, upTo(100))).toMatchObject({
        kind: 'token_limit_exceeded',
      });
      expect(await plan('large', 80, upTo(100))).toBe('planned');
      expect(await plan('small', 50, upTo(100))).toBe('waiting');
      expect(await create('new', { enqueuedTokens: 5, whenFull: 'fail' }, upTo(100))).toMatchObject({
        kind: 'created',
        enqueuedTokens: 85,
      });
    });

    test('a small one passes larger ones that do not fit, until they have waited for a quarter of an hour', async () => {
      const at = (createdAt: number) => ({ enqueuedTokens: 5, createdAt });

      expect(await create('new', at(1_000 + QUEUE_PASS_S), upTo(100))).toMatchObject({
        batch: { enqueuedTokens: 5, waitingTokens: null },
      });
      expect(await create('late', at(1_001 + QUEUE_PASS_S), upTo(100))).toMatchObject({
        batch: { enqueuedTokens: 0, waitingTokens: 5 },
      });
      expect(await plan('late', 5, upTo(100), { atS: 1_002 + QUEUE_PASS_S })).toBe('waiting');

      await end('running');
      await end('new');
      expect(await plan('large', 80, upTo(100), { atS: 5_000 })).toBe('planned');
      expect(await plan('small', 50, upTo(100), { atS: 5_000 })).toBe('waiting');
      expect(await plan('late', 5, upTo(100), { atS: 5_000 })).toBe('waiting');
      await end('large');
      expect(await plan('small', 50, upTo(100), { atS: 5_000 })).toBe('planned');
      expect(await plan('late', 5, upTo(100), { atS: 5_000 })).toBe('planned');
    });

    test('a small one could start before a large one that does not fit, until that has waited long enough', async () => {
      expect(await next(upTo(115), 1_000 + QUEUE_PASS_S)).toEqual(['small']);
      expect(await next(upTo(115), 1_001 + QUEUE_PASS_S)).toEqual([]);
      await end('running');
      expect(await next(upTo(100), 1_001 + QUEUE_PASS_S)).toEqual(['large']);
    });

    test('the batches of each deployment are judged by themselves', async () => {
      await create('other running', { enqueuedTokens: 100, deployment: 'other' }, upTo(100));
      await create('other', { enqueuedTokens: 15, deployment: 'other' }, upTo(100));
      await create('foreign', { enqueuedTokens: 101 }, upTo(200), stranger);

      expect(await next(upTo(115), 1_001, ['other', 'gpt'])).toEqual(['other', 'small']);
    });

    test('one that a lowered limit has shut out holds up nobody', async () => {
      const late = { enqueuedTokens: 5, createdAt: 9_000 };

      expect(await create('new', late, upTo(70))).toMatchObject({ batch: { waitingTokens: 5 } });
      await end('small');
      expect(await plan('new', 5, upTo(70), { atS: 9_001 })).toBe('planned');
      expect(await plan('large', 80, upTo(70), { atS: 9_001 })).toBe('token_limit_exceeded');
    });

    test('other deployments and resources are not held up', async () => {
      const elsewhere = { enqueuedTokens: 5, createdAt: 9_000 };

      expect(await create('other', { ...elsewhere, deployment: 'other' }, upTo(100))).toMatchObject({
        batch: { waitingTokens: null },
      });
      expect(await create('foreign', elsewhere, upTo(100), stranger)).toMatchObject({
        batch: { waitingTokens: null },
      });
    });
  });

  describe('dynamic quota', () => {
    const room = { enqueuedTokensMax: 100, sharedTokensMax: 200 };

    test('what others leave idle lets more start, and is given out once', async () => {
      await create('holder', { enqueuedTokens: 100 }, upTo(100));
      for (const id of ['a', 'b']) await create(id, { enqueuedTokens: 60 }, upTo(100));

      expect(await next(room)).toEqual(['a']);
      expect(await plan('a', 60, room)).toBe('planned');
      expect(await next(room)).toEqual([]);
    });

    beforeEach(async () => {
      const { store } = subject();
      for (const owner of [scope, stranger]) {
        await store.resources.put(resourceOf(owner.resourceId), change);
        await store.deployments.put(owner, deploymentOf('gpt'), { quotaTokensMax: null, atS: 2_000 });
      }
    });

    test('a deployment goes beyond its limit while other resources of its subscription leave the quota idle', async () => {
      await create('theirs', { enqueuedTokens: 50 }, upTo(100), stranger);

      expect(await create('a', { enqueuedTokens: 149 }, room)).toMatchObject({ enqueuedTokens: 149 });
      expect(await create('b', { enqueuedTokens: 2 }, room)).toMatchObject({ batch: { waitingTokens: 2 } });
      expect(await create('c', { enqueuedTokens: 1 }, room)).toMatchObject({ enqueuedTokens: 150 });
      expect(await create('d', { enqueuedTokens: 201 }, room)).toMatchObject({
        kind: 'token_limit_exceeded',
      });

      await end('theirs', stranger);
      expect(await plan('b', 2, room)).toBe('planned');
      expect(await tokens()).toEqual({ held: 152, waiting: 0, waitingBatches: 0 });
    });

    test('a deployment has its own share whatever others have borrowed', async () => {
      await create('theirs', { enqueuedTokens: 200 }, room, stranger);

      expect(await create('ours', { enqueuedTokens: 100 }, room)).toMatchObject({ enqueuedTokens: 100 });
      expect(await create('more', { enqueuedTokens: 1 }, room)).toMatchObject({
        batch: { waitingTokens: 1 },
      });
    });

    test('another subscription, region, model or SKU is not idle capacity of this one, nor takes from it', async () => {
      const { store } = subject();
      await store.resources.put(resourceOf('beta', { location: 'westus' }), change);
      await create('theirs', { enqueuedTokens: 200 }, room, stranger);
      await store.deployments.put(scope, deploymentOf('o3', { model: 'o3' }), {
        quotaTokensMax: null,
        atS: 2_000,
      });
      await create('other-model', { enqueuedTokens: 200, deployment: 'o3' }, room);

      expect(await create('ours', { enqueuedTokens: 200 }, room)).toMatchObject({ enqueuedTokens: 200 });
    });

    test('a deployment that has no row counts alone', async () => {
      await create('theirs', { enqueuedTokens: 200 }, room);

      expect(await create('ours', { enqueuedTokens: 200, deployment: 'unlisted' }, room)).toMatchObject({
        enqueuedTokens: 200,
      });
    });

    test('one that waits for idle capacity keeps no share idle', async () => {
      await create('theirs', { enqueuedTokens: 100 }, room, stranger);
      await create('large', { enqueuedTokens: 150, createdAt: 1_000 }, room);
      const late = 1_001 + QUEUE_PASS_S;

      expect(await create('own', { enqueuedTokens: 100, createdAt: late }, room)).toMatchObject({
        batch: { waitingTokens: null },
      });
      await end('own');
      await create('own-again', { enqueuedTokens: 60, createdAt: late }, room);
      await end('theirs', stranger);
      await create('theirs-again', { enqueuedTokens: 80 }, room, stranger);

      expect(await create('beyond', { enqueuedTokens: 41, createdAt: late }, room)).toMatchObject({
        batch: { waitingTokens: 41 },
      });
    });

    test('of creates at once in two resources the borrowed ones stay within the quota', async () => {
      const shared = { enqueuedTokensMax: 0, sharedTokensMax: 100 };

      const outcomes = await Promise.all(
        Array.from({ length: 40 }, (_, n) =>
          create(`b${n}`, { enqueuedTokens: 7, whenFull: 'fail' }, shared, [scope, stranger][n % 2]),
        ),
      );

      expect(outcomes.filter(({ kind }) => kind === 'created')).toHaveLength(14);
      const held = [(await tokens())?.held, (await tokens(stranger))?.held];
      expect((held[0] ?? 0) + (held[1] ?? 0)).toBe(98);
    });
  });

  test('quota is exact under 50 concurrent creates', async () => {
    expect(await races(subject().store, 10)).toBeGreaterThan(100);
  });
}
