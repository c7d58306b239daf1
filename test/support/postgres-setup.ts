import { mkdtemp, rm } from 'node:fs/promises';
import { createServer } from 'node:net';
import type { Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

import { SOCKET_VARIABLE } from './postgres.ts';
import { startPostgres } from './postgres-server.ts';
import type { PostgresServer } from './postgres-server.ts';

/** One PostgreSQL for the whole test run, started when the first test asks for a database. */
export default async function setup(): Promise<() => Promise<void>> {
  const dir = await mkdtemp(join(tmpdir(), 'offpeak-tests-'));
  const socket = join(dir, 'postgres.sock');
  let server: Promise<PostgresServer> | undefined;
  const answer = async (asker: Socket) => {
    asker.on('error', () => {}); // A test process that went away needs no answer.
    try {
      server ??= startPostgres();
      asker.end(JSON.stringify({ url: (await server).url }));
    } catch (error) {
      asker.end(JSON.stringify({ error: String(error) }));
    }
  };
  const desk = createServer((asker) => void answer(asker));
  await new Promise<void>((resolve) => desk.listen(socket, resolve));
  process.env[SOCKET_VARIABLE] = socket;
  return async () => {
    desk.close();
    await (await server?.catch(() => undefined))?.stop();
    await rm(dir, { recursive: true, force: true });
  };
}
