/** Real processes over what a restore, a wrong option or a bad disk makes of the two halves of an installation. */
import { createHash } from 'node:crypto';
import { cp, readFile, rename, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as wait } from 'node:timers/promises';
import { afterEach, describe, expect, test } from 'vitest';
import { offpeak, scratch, serve } from '../e2e/offpeak.ts';
import { createTestDatabase, type TestDatabase } from '../support/postgres.ts';
import { DATABASES, Trial } from './trial.ts';

let trial: Trial | undefined;
let home: Awaited<ReturnType<typeof scratch>> | undefined;
const databases: TestDatabase[] = [];
afterEach(async () => {
  await trial?.close();
  await home?.remove();
  for (const database of databases.splice(0)) await database.drop();
  trial = undefined;
  home = undefined;
});

async function postgres(): Promise<string> {
  const database = await createTestDatabase();
  databases.push(database);
  return database.url;
}

const STEPS = ['installation:pending', 'installation:in-database'];

describe.each(DATABASES)('on %s', (database) => {
  test.each(STEPS)('a first start that is killed at %s is taken up by the next', async (step) => {
    home = await scratch();
    const { dir: cwd } = home;
    const args = [
      '--data-dir',
      'data',
      ...(database === 'PostgreSQL' ? ['--database', await postgres()] : []),
    ];

    const killed = await offpeak(['serve', '--port', '0', '--ballast', '0', ...args], {
      cwd,
      env: { OFFPEAK_FAILPOINT: step },
    });
    expect(killed.code).toBeNull();
    for (let start = 0; start < 2; start += 1) {
      const server = await serve(args, { cwd });
      server.child.kill('SIGKILL');
      await server.ended;
    }

    expect(await readFile(join(cwd, 'data', 'blobs', 'installation'), 'utf8')).toMatch(/^[0-9a-f-]{36}\n$/);
  });

  test('an input that is damaged while the service is down ends its batch alone, with its answers', async () => {
    trial = await Trial.open(database, { latencyMs: 50, jitterMs: 0 });
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

test('what does not belong together is refused with exit code 1, and verify finds what is damaged', async () => {
  home = await scratch();
  const { dir: cwd } = home;
  const server = await serve(['--data-dir', 'data'], { cwd });
  server.child.kill('SIGTERM');
  await server.ended;
  const verify = (...args: string[]) => offpeak(['verify', '--data-dir', 'data', ...args], { cwd });
  const start = (...args: string[]) =>
    offpeak(['serve', '--port', '0', '--ballast', '0', '--data-dir', 'data', ...args], { cwd });

  expect(await verify()).toMatchObject({ code: 0, stdout: expect.stringContaining('All is whole') });
  const refused = await start('--database', await postgres());
  expect(refused.code).toBe(1);
  for (const part of [join(cwd, 'data'), 'postgres', '--adopt', 'restore', '--data-dir'])
    expect(refused.stderr).toContain(part);
  expect(refused.stderr).not.toMatch(/\n {4}at /);

  await rename(join(cwd, 'data', 'pepper'), join(cwd, 'kept'));
  const peppered = await start();
  expect(peppered).toMatchObject({ code: 1, stderr: expect.stringContaining(join(cwd, 'data', 'pepper')) });
  expect((await verify('--json')).code).toBe(1);
  await cp(join(cwd, 'kept'), join(cwd, 'data', 'pepper'));
  await rm(join(cwd, 'data', 'blobs'), { recursive: true });
  expect(await start()).toMatchObject({ code: 1, stderr: expect.stringContaining('has no installation id') });
});

test('a start on an older copy of the directory warns of the files that are not there', async () => {
  home = await scratch();
  const { dir: cwd } = home;
  const first = await serve(['--data-dir', 'data'], { cwd });
  await writeFile(join(cwd, 'in.jsonl'), '{}\n');
  const uploaded = await offpeak(['files', 'upload', 'in.jsonl'], { cwd, env: first.env });
  first.child.kill('SIGTERM');
  await first.ended;
  await rm(blobPath(join(cwd, 'data'), uploaded.stdout.trim()));

  const second = await serve(['--data-dir', 'data'], { cwd });
  second.child.kill('SIGTERM');
  const { stderr } = await second.ended;

  const warning = stderr.split('\n').find((line) => line.includes('"files.missing"')) ?? '{}';
  expect(JSON.parse(warning)).toMatchObject({ level: 'warn', count: 1, files: uploaded.stdout.trim() });
});

function blobPath(dataDir: string, id: string): string {
  const hash = createHash('sha256').update(id).digest('hex');
  return join(dataDir, 'blobs', hash.slice(0, 2), hash.slice(2, 4), id);
}
