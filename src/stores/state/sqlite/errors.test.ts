import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';

import { afterAll, beforeAll, expect, test } from 'vitest';

import { StoreError } from '../ports.ts';
import { toStoreError } from './errors.ts';

let dir: string;
beforeAll(async () => {
  dir = await mkdtemp(join(tmpdir(), 'offpeak-state-'));
});
afterAll(() => rm(dir, { recursive: true, force: true }));

function failureOf(act: () => void): unknown {
  try {
    act();
  } catch (error) {
    return toStoreError(error, 'a test');
  }
  throw new Error('nothing failed');
}

test('a full disk is a transient error', () => {
  const database = new DatabaseSync(join(dir, 'full.db'));
  database.exec('pragma max_page_count = 3; create table t (b blob)');

  const error = failureOf(() => database.exec('insert into t values (zeroblob(100000))'));

  expect(error).toBeInstanceOf(StoreError);
  expect(error).toMatchObject({ reason: 'disk_full', transient: true });
  expect((error as Error).message).toContain('database or disk is full');
  database.close();
});

test('a lock of another process is a transient error', () => {
  const path = join(dir, 'busy.db');
  const holder = new DatabaseSync(path);
  holder.exec('create table t (a); begin immediate; insert into t values (1)');
  const other = new DatabaseSync(path, { timeout: 0 });

  const error = failureOf(() => other.exec('insert into t values (2)'));

  expect(error).toMatchObject({ reason: 'busy', transient: true });
  other.close();
  holder.close();
});

test('a file that may not be written is no transient error', () => {
  const path = join(dir, 'readonly.db');
  new DatabaseSync(path).exec('create table t (a)');
  const reader = new DatabaseSync(path, { readOnly: true });

  const error = failureOf(() => reader.exec('insert into t values (1)'));

  expect(error).toMatchObject({ reason: 'io', transient: false });
  reader.close();
});

test("what is not SQLite's own error stays as it is", () => {
  const error = new TypeError('ours');

  expect(toStoreError(error, 'a test')).toBe(error);
});
