import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import {
  answer,
  eventually,
  many,
  ok,
  openEngineBench,
  requestLine,
  type EngineBench,
} from '../../test/support/engine.ts';
import type { Batch } from '../contract/batch.ts';

let bench: EngineBench;
beforeEach(async () => {
  bench = await openEngineBench();
});
afterEach(() => bench.close());

const logged = (batch: Pick<Batch, 'id'>): Record<string, unknown>[] =>
  bench.logged.filter((entry) => entry['batch'] === batch.id && entry['event'] !== 'line.failed');
const names = (batch: Pick<Batch, 'id'>): unknown[] => logged(batch).map(({ event }) => event);

describe('the log says of a batch', () => {
  test('that it was created, validated, started, and how it ended, each once', async () => {
    bench.deploy();
    bench.reply = ({ body }) => (Buffer.from(body).toString().includes('"r3"') ? answer(400) : ok);
    const engine = await bench.start();

    const file = await bench.upload(many(10));
    const { batch } = await bench.create(engine, file);
    await bench.ended(batch);
    await eventually(() => expect(names(batch)).toContain('batch.ended'));

    const of = { batch: batch.id, resource: 'default', deployment: 'd' };
    expect(logged(batch)).toMatchObject(
      [
        { event: 'batch.created', ...of, file, endpoint: '/chat/completions', actor: 'test' },
        { event: 'batch.planned', ...of, total: 10, tokens: expect.any(Number) },
        { event: 'batch.started', ...of, total: 10, completed: 0, failed: 0 },
        {
          event: 'batch.ended',
          ...of,
          outcome: 'completed',
          total: 10,
          completed: 9,
          failed: 1,
          inputTokens: 27,
          outputTokens: 18,
          retries: 0,
          resent: 0,
          durationMs: expect.any(Number),
        },
      ].map((entry) => expect.objectContaining(entry)),
    );
  });

  test('that it is faulty, with the first fault', async () => {
    bench.deploy();
    const engine = await bench.start();

    const { batch } = await bench.create(engine, await bench.upload(`${requestLine('a')}{broken\n`));

    expect(names(batch)).toEqual(['batch.created', 'batch.ended']);
    expect(logged(batch)[1]).toMatchObject({ outcome: 'failed', reason: expect.stringMatching(/^Line 2: /) });
  });

  test('that it was cancelled', async () => {
    bench.deploy({ upstreams: [] });
    const engine = await bench.start();
    const { batch } = await bench.create(engine, await bench.upload(many(2)));
    await eventually(() => expect(names(batch)).toContain('batch.started'));

    await bench.state.batches.cancel({ resourceId: 'default', actor: 'test' }, batch.id, 2);
    await bench.ended(batch);

    await eventually(() =>
      expect(logged(batch).at(-1)).toMatchObject({ event: 'batch.ended', outcome: 'cancelled', failed: 2 }),
    );
  });

  test('only once that a create was repeated', async () => {
    bench.deploy();
    const engine = await bench.start();
    const file = await bench.upload(many(1));
    const idempotency = { key: 'k', bodyDigest: 'b' };

    const { batch } = await bench.create(engine, file, { idempotency });
    await bench.create(engine, file, { idempotency });

    expect(names(batch).filter((name) => name === 'batch.created')).toHaveLength(1);
  });

  test('that it waits, why, and that it waits no longer', async () => {
    bench.deploy({ upstreams: [] });
    const engine = await bench.start({ waitLoggedAfterMs: 0 });
    const { batch } = await bench.create(engine, await bench.upload(many(2)));
    await eventually(() => expect(names(batch)).toContain('batch.waiting'));

    bench.deploy({ upstreams: [bench.upstream('late')] });
    await bench.ended(batch);
    await eventually(() => expect(names(batch)).toContain('batch.ended'));

    const waiting = logged(batch).filter(({ event }) => event === 'batch.waiting');
    expect(waiting).toMatchObject([{ reason: expect.stringMatching(/^No upstream serves/) }]);
  });

  test('that it waits for room', async () => {
    bench.deploy({ upstreams: [], enqueuedTokensMax: 30, whenFull: 'wait' });
    const engine = await bench.start({ waitLoggedAfterMs: 0 });
    await bench.create(engine, await bench.upload(many(3)));

    const { batch } = await bench.create(engine, await bench.upload(many(3, 's')));

    await eventually(() =>
      expect(logged(batch)).toContainEqual(
        expect.objectContaining({ event: 'batch.waiting', reason: expect.stringMatching(/room/i) }),
      ),
    );
  });

  test('nothing of a short wait', async () => {
    bench.deploy({ upstreams: [] });
    const engine = await bench.start();
    const { batch } = await bench.create(engine, await bench.upload(many(2)));
    await eventually(() => expect(engine.progress(batch)?.waiting ?? null).toBeNull());
    await eventually(async () =>
      expect(engine.progress(await bench.batch(batch))?.waiting).toMatch(/No upstream/),
    );
    await engine.redeploy();

    expect(names(batch)).not.toContain('batch.waiting');
  });
});
