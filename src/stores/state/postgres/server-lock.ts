import pg from 'pg';

import { StoreError } from '../ports.ts';

/** "offpeak" in ASCII, as a bigint: the advisory lock that the one server of a database holds. */
const SERVER_LOCK = '31356312573272427';
/** A server that was just killed holds the lock until PostgreSQL notices its end. */
const WAIT_MS = 3_000;
const VERSION_MIN = 140_000;
const LOCK_NOT_AVAILABLE = '55P03';

export interface ServerLock {
  /** Throws once the lock may be another server's. */
  assertHeld(): void;
  release(): Promise<void>;
}

/**
 * Holds the database for this server alone, by a session lock on a connection of its own. The lock is in one of three modes:
 *
 * - Held: from here until the connection ends, for whatever reason. PostgreSQL then releases the lock.
 * - Lost: the connection ended by itself, so another server may have the database. `assertHeld` throws from then on.
 * - Released: `release` ended the connection.
 *
 * Invariant: no call starts after the lock was lost. Otherwise two servers could claim the same segments.
 */
export async function takeServerLock(
  config: pg.ClientConfig,
  onLost: ((error: Error) => void) | undefined,
): Promise<ServerLock> {
  const client = new pg.Client(config);
  let released = false;
  let lost: StoreError | undefined;
  const lose = (cause?: Error) => {
    if (released || lost) return;
    lost = new StoreError(
      'The connection that held the database for this server was lost, so another server may have taken over. ' +
        'Start this one again.',
      'other',
      { cause },
    );
    onLost?.(lost);
  };
  try {
    client.on('error', () => {}); // While connecting, the promise rejects too.
    await client.connect();
    await checkSettings(client);
    await acquire(client);
  } catch (error) {
    await client.end().catch(() => {}); // The first error is the one to report.
    throw error;
  }
  client.on('error', lose);
  client.on('end', () => lose());
  return {
    assertHeld() {
      if (lost) throw lost;
    },
    async release() {
      released = true;
      await client.end();
    },
  };
}

/** Acknowledged work must survive a power cut of the database's host. */
async function checkSettings(client: pg.Client): Promise<void> {
  const { rows } = await client.query<{ name: string; setting: string }>(
    `select name, setting from pg_settings
     where name in ('fsync', 'synchronous_commit', 'server_encoding', 'server_version_num', 'server_version')`,
  );
  const settings = new Map(rows.map((row) => [row.name, row.setting]));
  for (const name of ['fsync', 'synchronous_commit'])
    if (settings.get(name) === 'off')
      throw new StoreError(
        `PostgreSQL runs with ${name} = off and would lose acknowledged work in a power cut. Set ${name} = on.`,
        'other',
      );
  if (settings.get('server_encoding') !== 'UTF8')
    throw new StoreError(
      `The database has encoding ${settings.get('server_encoding')}. Create one with encoding UTF8.`,
      'other',
    );
  if (Number(settings.get('server_version_num')) < VERSION_MIN)
    throw new StoreError(
      `PostgreSQL ${settings.get('server_version')} is too old. Version 14 or later is needed.`,
      'other',
    );
}

async function acquire(client: pg.Client): Promise<void> {
  await client.query('set idle_session_timeout = 0; set statement_timeout = 0');
  await client.query(`set lock_timeout = ${WAIT_MS}`);
  try {
    await client.query('select pg_advisory_lock($1::bigint)', [SERVER_LOCK]);
  } catch (error) {
    if (!(error instanceof pg.DatabaseError) || error.code !== LOCK_NOT_AVAILABLE) throw error;
    throw new StoreError(
      'Another Offpeak server works on this database. Stop it, or give this one a database of its own.',
      'other',
      { cause: error },
    );
  }
}
