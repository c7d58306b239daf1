import { setTimeout as wait } from 'node:timers/promises';
import { afterEach, describe, expect, test } from 'vitest';
import { DATABASES, DOUBT_MAX, Trial, type DatabaseName } from './trial.ts';

/** `npm run crash` is the large run, with 100,000. */
const LINES = Number(process.env['CRASH_LINES'] ?? 2_000);
const KILLS = Number(process.env['CRASH_KILLS'] ?? 10);

let trial: Trial | undefined;
afterEach(async () => {
  await trial?.close();
  trial = undefined;
});

async function open(database: DatabaseName, latencyMs: number): Promise<Trial> {
  trial = await Trial.open(database, { latencyMs, jitterMs: latencyMs });
  return trial;
}

describe.each(DATABASES)('on %s', (database) => {
  test(`a batch survives ${KILLS} kills at random moments with exactly one result per request`, async () => {
    const service = await open(database, LINES > 10_000 ? 2 : 20);
    await service.start();
    const { id } = await service.wire.create(await service.upload(LINES));

    for (let kill = 0; kill < KILLS; kill += 1) {
      await wait(100 + Math.random() * 500);
      await service.kill();
      await service.start();
    }
    const batch = await service.wire.untilEnded(id);

    expect(batch.status).toBe('completed');
    await service.expectWhole(batch, LINES);
    const resentByKill = await service.resentByKill();
    const resent = await service.resent();
    console.info(
      `${database}: ${LINES} lines, ${KILLS} kills, missing 0, doubled 0, stuck 0; sent again per kill: ` +
        `${(resent / KILLS).toFixed(1)} on average, ${Math.max(...resentByKill)} at most; ${resent} in all, ` +
        `${batch.offpeak.resent_requests} reported; ready after ${Math.max(...service.startsMs).toFixed(0)} ms at most`,
    );
    expect(Math.max(...resentByKill)).toBeLessThanOrEqual(DOUBT_MAX);
    expect(resentByKill.reduce((sum, count) => sum + count, 0)).toBe(resent);
    expect(batch.offpeak.resent_requests).toBeGreaterThanOrEqual(resent);
    expect(Math.max(...service.startsMs)).toBeLessThan(10_000);
  });

  test('P7: a service with ten live batches is ready within 10 s of a kill', async () => {
    const service = await open(database, 200);
    await service.start();
    const fileId = await service.upload(LINES);
    for (let batch = 0; batch < 10; batch += 1) await service.wire.create(fileId);
    while ((await service.batches()).some(({ status }) => status === 'validating')) await wait(20);
    await service.kill();

    await service.start();

    const live = await service.batches();
    expect(live.map(({ status }) => status)).toEqual(Array.from({ length: 10 }, () => 'in_progress'));
    const readyMs = service.startsMs.at(-1) ?? Infinity;
    console.info(`${database}: ten live batches of ${LINES} lines, ready after ${readyMs.toFixed(0)} ms`);
    expect(readyMs).toBeLessThan(10_000);
  });

  test.each([
    'validate:before-plan',
    'validate:after-plan',
    'results:before-commit',
    'results:after-commit',
    'finalize:after-output',
    'finalize:before-publish',
    'finalize:after-publish',
  ])('a process killed at %s loses nothing', async (failpoint) => {
    const service = await open(database, 1);
    await service.start({ OFFPEAK_FAILPOINT: failpoint });
    const fileId = await service.upload(200);
    // The kill may come before the answer. Then nothing was promised, but a batch that was stored must end all the same.
    await service.wire.create(fileId).catch(() => undefined);
    await service.death();
    await service.start();

    const [batch] = await service.batches();
    if (batch === undefined) throw new Error('the batch was acknowledged or running, and is gone');
    const ended = await service.wire.untilEnded(batch.id);

    expect(ended.status).toBe('completed');
    await service.expectWhole(ended, 200);
    expect(await service.resent()).toBeLessThanOrEqual(DOUBT_MAX);
  });

  test('a batch that was being cancelled when the process was killed ends as cancelled, with what it has', async () => {
    const service = await open(database, 100);
    await service.start();
    const { id } = await service.wire.create(await service.upload(1_000));
    while ((await service.wire.batch(id)).request_counts.completed === 0) await wait(20);
    await service.wire.ask(`/batches/${id}/cancel`, { method: 'POST' });
    await service.kill();
    const sentBefore = (await service.upstream.stats()).requests;
    await service.start();

    const batch = await service.wire.untilEnded(id);

    expect(batch.status).toBe('cancelled');
    await service.expectWhole(batch, 1_000);
    const { errors } = await service.results(batch);
    expect(new Set(errors.map(([, code]) => code))).toEqual(new Set(['batch_cancelled']));
    expect((await service.upstream.stats()).requests).toBe(sentBefore);
  });
});

test('a process that is stopped for seconds and goes on finishes its batch without a second result', async () => {
  const service = await open('SQLite', 20);
  await service.start();
  const { id } = await service.wire.create(await service.upload(1_000));
  while ((await service.wire.batch(id)).request_counts.completed < 100) await wait(20);

  service.signal('SIGSTOP');
  await wait(3_000);
  service.signal('SIGCONT');
  const batch = await service.wire.untilEnded(id);

  expect(batch.status).toBe('completed');
  await service.expectWhole(batch, 1_000);
});

test('a service that gets SIGTERM finishes its requests in flight, and the next one sends nothing twice', async () => {
  const service = await open('SQLite', 50);
  await service.start();
  const { id } = await service.wire.create(await service.upload(1_000));
  while ((await service.wire.batch(id)).request_counts.completed < 100) await wait(20);

  service.signal('SIGTERM');
  await service.death();
  await service.start();
  const batch = await service.wire.untilEnded(id);

  await service.expectWhole(batch, 1_000);
  expect(await service.resent()).toBe(0);
  expect(batch.offpeak.resent_requests).toBe(0);
});
