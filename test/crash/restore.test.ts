/** Starts over an installation whose directory or database a restore, a wrong option or a bad disk has changed. */
import { createHash } from 'node:crypto';
import { cp, rename, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as wait } from 'node:timers/promises';
import { describe, expect, test } from 'vitest';
import { Place, words } from '../e2e/offpeak.ts';
import { createTestDatabase } from '../support/postgres.ts';
import { DATABASES, Trial } from './trial.ts';

const place = new Place();

async function postgres(): Promise<string> {
  const database = await createTestDatabase();
  place.atEnd(() => database.drop());
  return database.url;
}

const STEPS = ['installation:pending', 'installation:in-database'];

describe.each(DATABASES)('on %s', (database) => {
  test.each(STEPS)('a first start that is killed at %s is taken up by the next', async (step) => {
    const args = [
      '--data-dir',
      'data',
      ...(database === 'PostgreSQL' ? ['--database', await postgres()] : []),
    ];

    const killed = await place.offpeak(['serve', '--port', '0', '--ballast', '0', ...args], {
      env: { OFFPEAK_FAILPOINT: step },
    });
    expect(killed.code).toBeNull();
    for (let start = 0; start < 2; start += 1) {
      const server = await place.serve(args);
      server.child.kill('SIGKILL');
      await server.ended;
    }

    expect(await place.read('data', 'blobs', 'installation')).toMatch(/^[0-9a-f-]{36}\n$/);
  });

  test('an input that is damaged while the service is down ends its batch alone, with its answers', async () => {
    const trial = await Trial.open(database, { latencyMs: 50, jitterMs: 0 });
    place.atEnd(() => trial.close());
    await trial.start();
    const [damaged, whole] = [await trial.upload(2_000), await trial.upload(300)];
    const lost = await trial.wire.create(damaged);
    while ((await trial.wire.batch(lost.id)).request_counts.completed < 100) await wait(20);
    const kept = await trial.wire.create(whole);
    await trial.kill();
    await writeFile(blobPath(trial.dataDir, damaged), 'half of it');

    await trial.start();
    const [ended, other] = [await trial.wire.untilEnded(lost.id), await trial.wire.untilEnded(kept.id)];

    expect(other).toMatchObject({ status: 'completed', request_counts: { completed: 300 } });
    expect(ended.status).toBe('failed');
    expect(ended.request_counts.completed).toBeGreaterThanOrEqual(100);
    const { output } = await trial.results(ended);
    expect(output).toHaveLength(ended.request_counts.completed);
  });
});

test('a directory and a database that do not belong together are refused, and verify finds what is damaged', async () => {
  const server = await place.serve(['--data-dir', 'data']);
  await server.stop();
  const verify = (...args: string[]) => place.offpeak(['verify', '--data-dir', 'data', ...args]);
  const start = (...args: string[]) =>
    place.offpeak([...words`serve --port 0 --ballast 0 --data-dir data`, ...args]);

  expect(await verify()).toMatchObject({ code: 0, stdout: expect.stringContaining('All is whole') });
  const refused = await start('--database', await postgres());
  expect(refused.code).toBe(1);
  for (const part of [place.path('data'), 'postgres', '--adopt', 'restore', '--data-dir'])
    expect(refused.stderr).toContain(part);
  expect(refused.stderr).not.toMatch(/\n {4}at /);

  await rename(place.path('data', 'pepper'), place.path('kept'));
  const peppered = await start();
  expect(peppered).toMatchObject({ code: 1, stderr: expect.stringContaining(place.path('data', 'pepper')) });
  expect((await verify('--json')).code).toBe(1);
  await cp(place.path('kept'), place.path('data', 'pepper'));
  await rm(place.path('data', 'blobs'), { recursive: true });
  expect(await start()).toMatchObject({ code: 1, stderr: expect.stringContaining('has no installation id') });
});

test('a start on an older copy of the directory logs the files that are not there', async () => {
  const first = await place.serve(['--data-dir', 'data']);
  await place.write('in.jsonl', '{}\n');
  const uploaded = await first.cli('files', 'upload', 'in.jsonl');
  await first.stop();
  await rm(blobPath(place.path('data'), uploaded.stdout.trim()));

  const second = await place.serve(['--data-dir', 'data']);
  const { stderr } = await second.stop();

  const warning = stderr.split('\n').find((line) => line.includes('"files.missing"')) ?? '{}';
  expect(JSON.parse(warning)).toMatchObject({ level: 'warn', count: 1, files: uploaded.stdout.trim() });
});

function blobPath(dataDir: string, id: string): string {
  const hash = createHash('sha256').update(id).digest('hex');
  return join(dataDir, 'blobs', hash.slice(0, 2), hash.slice(2, 4), id);
}
