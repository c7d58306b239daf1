import { readdir } from 'node:fs/promises';
import { expect, test, vi } from 'vitest';
import { Place, requests, type Server } from './offpeak.ts';
import { sendTo, Wire } from './wire.ts';
import { createTestDatabase, type TestDatabase } from '../support/postgres.ts';

const KEY = 'retention-test-key';

const place = new Place();
let database: TestDatabase | undefined;
let server: Server;

async function startServer(...args: string[]): Promise<void> {
  const on = database ? ['--database', database.url] : [];
  const models = ['--upstream', 'simulator', '--deployment', 'llama'];
  server = await place.serve(['--api-key', KEY, ...models, ...on, ...args]);
}

const send = sendTo(
  () => server.url,
  () => KEY,
);
const statusOf = async (path: string): Promise<number> => (await send(path)).status;

const blobs = async () =>
  (await readdir(place.path('.offpeak', 'blobs'), { recursive: true, withFileTypes: true })).filter(
    (entry) => entry.isFile() && entry.name.startsWith('file-'),
  );

test.each(['SQLite', 'PostgreSQL'])(
  'what has ended stays on %s, and is removed with its bytes when the operator sets how long to keep it',
  async (name) => {
    database = name === 'PostgreSQL' ? await createTestDatabase() : undefined;
    place.atEnd(() => database?.drop());
    await startServer();
    const wire = new Wire(send);
    const input = await wire.upload(requests(20));
    const batch = await wire.untilEnded((await wire.create(input)).id);
    expect(batch.status).toBe('completed');
    await server.stop();

    await startServer();
    const paths = [`/batches/${batch.id}`, `/files/${input}`, `/files/${batch.output_file_id}`];
    expect(await Promise.all(paths.map(statusOf))).toEqual([200, 200, 200]);
    await server.stop();
    const oldEnough = () => expect(Date.now() / 1000).toBeGreaterThan(batch.completed_at + 2);
    await vi.waitFor(oldEnough, { timeout: 30_000 });

    await startServer('--keep-batches', '1s', '--keep-files', '1s', '--keep-audit', '1s');

    await vi.waitFor(async () => expect(await blobs()).toEqual([]), { timeout: 60_000 });
    expect(await Promise.all(paths.map(statusOf))).toEqual([404, 404, 404]);
    expect(await wire.ask('/batches')).toMatchObject({ data: [] });
  },
);

test('an age without a unit is refused', async () => {
  const { code, stderr } = await place.offpeak(['serve', '--keep-batches', '30']);

  expect(code).not.toBe(0);
  expect(stderr).toContain('expected an age with its unit, like 36h or 90d, got "30"');
});
