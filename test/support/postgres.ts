import { randomUUID } from 'node:crypto';
import { connect } from 'node:net';
import { text } from 'node:stream/consumers';

import pg from 'pg';

/** Where the set-up of the test run listens for tests that want PostgreSQL. */
export const SOCKET_VARIABLE = 'OFFPEAK_TEST_POSTGRES_SOCKET';

export interface TestDatabase {
  readonly url: string;
  /** Ends its connections, too. */
  drop(): Promise<void>;
}

/** An empty database of its own for the calling test, on the run's one server. */
export async function createTestDatabase(): Promise<TestDatabase> {
  const serverUrl = await askForServer();
  const name = `test_${randomUUID().replaceAll('-', '')}`;
  await onServer(serverUrl, `create database ${name}`);
  const url = new URL(serverUrl);
  url.pathname = name;
  return { url: url.href, drop: () => onServer(serverUrl, `drop database ${name} with (force)`) };
}

async function askForServer(): Promise<string> {
  const socket = process.env[SOCKET_VARIABLE];
  if (!socket) throw new Error('Run database tests with vitest: its set-up starts PostgreSQL.');
  const answer = JSON.parse(await text(connect(socket))) as { url: string } | { error: string };
  if ('error' in answer) throw new Error(answer.error);
  return answer.url;
}

async function onServer(url: string, statement: string): Promise<void> {
  const client = new pg.Client({ connectionString: url });
  await client.connect();
  try {
    await client.query(statement);
  } finally {
    await client.end();
  }
}
