import { readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import { offpeak, requests, scratch, serve, type Server } from './offpeak.ts';
import { createTestDatabase, type TestDatabase } from '../support/postgres.ts';

interface Ended {
  readonly id: string;
  readonly status: string;
  readonly completed_at: number;
  readonly output_file_id: string;
}

const [KEY, ADMIN_KEY] = ['retention-test-key', 'retention-admin-key'];

let place: Awaited<ReturnType<typeof scratch>>;
let database: TestDatabase | undefined;
let server: Server | undefined;
beforeEach(async () => {
  place = await scratch();
});
afterEach(async () => {
  await stop();
  await place.remove();
  await database?.drop();
  database = undefined;
});

async function startServer(...args: string[]): Promise<Server> {
  const on = database ? ['--database', database.url] : [];
  server = await serve(
    [
      '--api-key',
      KEY,
      '--admin-key',
      ADMIN_KEY,
      '--upstream',
      'simulator',
      '--deployment',
      'llama',
      ...on,
      ...args,
    ],
    { cwd: place.dir },
  );
  return server;
}

async function stop(): Promise<void> {
  server?.child.kill('SIGTERM');
  await server?.ended;
  server = undefined;
}

const ask = async (path: string, init: RequestInit = {}) => {
  const headers = new Headers(init.headers);
  headers.set('api-key', path.startsWith('/v1') ? KEY : ADMIN_KEY);
  const response = await fetch(`${server?.url}${path}`, { ...init, headers });
  return { status: response.status, body: (await response.json()) as never };
};

const blobs = async () =>
  (await readdir(join(place.dir, '.offpeak', 'blobs'), { recursive: true, withFileTypes: true })).filter(
    (entry) => entry.isFile() && entry.name.startsWith('file-'),
  );

test.each(['SQLite', 'PostgreSQL'])(
  'what has ended is there after years on %s, and goes with its bytes once the operator keeps it no longer',
  async (name) => {
    database = name === 'PostgreSQL' ? await createTestDatabase() : undefined;
    await startServer();
    const form = new FormData();
    form.set('purpose', 'batch');
    form.set('file', new Blob([requests(20)]), 'in.jsonl');
    const input: { id: string } = (await ask('/v1/files', { method: 'POST', body: form })).body;
    const create = { input_file_id: input.id, endpoint: '/v1/chat/completions', completion_window: '24h' };
    const { id }: { id: string } = (
      await ask('/v1/batches', {
        method: 'POST',
        headers: { 'content-type': 'application/json' },
        body: JSON.stringify(create),
      })
    ).body;
    const batch = await vi.waitFor(
      async () => {
        const found: Ended = (await ask(`/v1/batches/${id}`)).body;
        expect(found.status).toBe('completed');
        return found;
      },
      { timeout: 60_000 },
    );
    await stop();

    await startServer();
    expect(await ask(`/v1/batches/${batch.id}`)).toMatchObject({ status: 200 });
    expect(await ask(`/v1/files/${batch.output_file_id}`)).toMatchObject({ status: 200 });
    await stop();
    const oldEnough = () => expect(Date.now() / 1000).toBeGreaterThan(batch.completed_at + 2);
    await vi.waitFor(oldEnough, { timeout: 30_000 });

    await startServer('--keep-batches', '1s', '--keep-files', '1s', '--keep-audit', '1s');

    await vi.waitFor(async () => expect(await blobs()).toEqual([]), { timeout: 60_000 });
    expect(await ask(`/v1/batches/${batch.id}`)).toMatchObject({ status: 404 });
    for (const id of [input.id, batch.output_file_id])
      expect(await ask(`/v1/files/${id}`)).toMatchObject({ status: 404 });
    expect((await ask('/v1/batches')).body).toMatchObject({ data: [] });
  },
);

test('an age without a unit is refused, rather than guessed at', async () => {
  const { code, stderr } = await offpeak(['serve', '--keep-batches', '30'], { cwd: place.dir });

  expect(code).not.toBe(0);
  expect(stderr).toContain('expected an age with its unit, like 36h or 90d, got "30"');
});
