import { expect, test } from 'vitest';

import type { Inspection } from '../../../src/contract/inspection.ts';
import {
  change,
  fileOf,
  NO_LIMITS,
  numbers,
  resourceOf,
  scope,
  stranger,
} from '../../support/state-store.ts';
import type { Subject } from './subject.ts';

const inspection: Inspection = {
  requests: 2,
  tokens: 31,
  model: 'gpt "quoted" \u0000 한국어 \u2028',
  groups: [{ url: '/embeddings', model: null, requests: 2, faulty: 1, lines: [[3, 2]] }],
  errors: {
    data: [
      {
        code: 'invalid_request',
        message: 'no',
        param: null,
        line: 4,
        openai: { code: 'invalid_url', message: 'nor' },
      },
    ],
    omitted: 7,
  },
  imageLines: [3],
  imageLinesOmitted: 0,
  segments: [{ firstLine: 3, requests: 2, byteStart: 5, byteLength: 4_000_000_000 }],
};

export function fileConformance(subject: () => Subject): void {
  const insert = (id: string, given = {}, owner = scope) =>
    subject().store.files.insert(owner, fileOf(id, { resourceId: owner.resourceId, ...given }), NO_LIMITS);
  const ids = async (query = {}) => {
    const page = await subject().store.files.list(scope, { limit: 10, order: 'desc', ...query });
    return page === 'unknown_after' ? page : page.files.map((file) => file.id);
  };

  test('a file comes back as it was inserted', async () => {
    const { files } = subject().store;
    const file = fileOf('file-1', {
      filename: `한국어 "x" '; drop table files; --\u2028.jsonl`,
      bytes: 5_000_000_000,
      expiresAt: 4_000_000_000,
    });

    expect(await files.insert(scope, file, NO_LIMITS)).toBe('inserted');

    expect(await files.get(scope, 'file-1')).toEqual(file);
  });

  test('an id with a NUL is of no file', async () => {
    await insert('file-1');

    expect(await subject().store.files.get(scope, 'file-1\u0000')).toBeUndefined();
    expect(await ids({ after: '\u0000' })).toBe('unknown_after');
  });

  test('input files with and without expiry have limits of their own, and produced files have none', async () => {
    const { files } = subject().store;
    const limits = { withoutExpiryMax: 1, withExpiryMax: 2 };
    const put = (id: string, given = {}) => files.insert(scope, fileOf(id, given), limits);

    expect(await put('output', { purpose: 'batch_output' })).toBe('inserted');
    expect(await put('a')).toBe('inserted');
    expect(await put('b')).toBe('limit');
    expect(await put('c', { expiresAt: 9_000 })).toBe('inserted');
    expect(await put('d', { expiresAt: 9_000 })).toBe('inserted');
    expect(await put('e', { expiresAt: 9_000 })).toBe('limit');

    expect(await ids()).toEqual(['d', 'c', 'a', 'output']);
  });

  test('of 20 inserts at once exactly those within the limit succeed', async () => {
    const { files } = subject().store;
    const limits = { withoutExpiryMax: 7, withExpiryMax: 0 };

    const outcomes = await Promise.all(numbers(20).map((n) => files.insert(scope, fileOf(`f${n}`), limits)));

    expect(outcomes.filter((outcome) => outcome === 'inserted')).toHaveLength(7);
    expect(await ids()).toHaveLength(7);
  });

  test('files are listed by creation, ties by arrival, in pages that meet exactly', async () => {
    for (const [id, createdAt] of [
      ['a', 5],
      ['b', 5],
      ['c', 4],
      ['d', 5],
    ] as const)
      await insert(id, { createdAt });
    await insert('foreign', {}, stranger);

    expect(await ids()).toEqual(['d', 'b', 'a', 'c']);
    expect(await ids({ order: 'asc' })).toEqual(['c', 'a', 'b', 'd']);
    expect(await ids({ order: 'asc', limit: 2, after: 'a' })).toEqual(['b', 'd']);
    expect(await ids({ limit: 2, after: 'b' })).toEqual(['a', 'c']);
    expect(await ids({ after: 'c' })).toEqual([]);
    const { files } = subject().store;
    expect(await files.list(scope, { limit: 3, order: 'desc' })).toMatchObject({ hasMore: true });
    expect(await files.list(scope, { limit: 4, order: 'desc' })).toMatchObject({ hasMore: false });
  });

  test('a list can be of one purpose, and its cursor of another', async () => {
    await insert('input');
    await insert('output', { purpose: 'batch_output' });
    await insert('input-2');

    expect(await ids({ purpose: 'batch' })).toEqual(['input-2', 'input']);
    expect(await ids({ purpose: 'batch', after: 'output' })).toEqual(['input']);
  });

  test('a deleted file is gone with its inspection, and deleting again finds nothing', async () => {
    const { files } = subject().store;
    await insert('a');
    await files.saveInspection(scope, 'a', inspection);

    expect(await files.delete(scope, 'a', 2_000)).toBe('a');

    expect(await files.delete(scope, 'a', 2_000)).toBeUndefined();
    expect(await files.get(scope, 'a')).toBeUndefined();
    expect(await files.inspection(scope, 'a')).toBeUndefined();
  });

  test('an inspection comes back as it was saved, and the last one counts', async () => {
    const { files } = subject().store;
    await insert('a');
    expect(await files.inspection(scope, 'a')).toBeUndefined();

    await files.saveInspection(scope, 'a', { ...inspection, tokens: 1 });
    await files.saveInspection(scope, 'a', inspection);

    expect(await files.inspection(scope, 'a')).toEqual(inspection);
  });

  test('an inspection of a file that was deleted meanwhile is not kept', async () => {
    const { files } = subject().store;

    await files.saveInspection(scope, 'gone', inspection);

    expect(await files.inspection(scope, 'gone')).toBeUndefined();
  });

  test('expired files of every resource are deleted, a bounded number at a time, oldest expiry first', async () => {
    const { files } = subject().store;
    await insert('never');
    await insert('later', { expiresAt: 101 });
    await insert('now', { expiresAt: 100 }, stranger);
    await insert('before', { expiresAt: 90 });

    expect(await files.deleteExpired(100, 1)).toEqual(['before']);
    expect(await files.deleteExpired(100, 10)).toEqual(['now']);
    expect(await files.deleteExpired(100, 10)).toEqual([]);

    expect(await ids()).toEqual(['later', 'never']);
  });

  test('existing finds which of many ids have a row, whoever owns them', async () => {
    const { files } = subject().store;
    await insert('a');
    await insert('b', {}, stranger);
    const strays = numbers(25_000).map((n) => `stray-${n}`);

    const found = await files.existing(['a', ...strays, 'b']);

    expect(found.toSorted()).toEqual(['a', 'b']);
    expect(await files.existing([])).toEqual([]);
  });

  test('a deleted file leaves a record of its bytes, however it was deleted, until these are gone', async () => {
    const { files, resources } = subject().store;
    const removals = () => files.removals({ afterId: '', limit: 9 });
    await insert('by-hand');
    await insert('expired', { expiresAt: 90, blobId: 'expired_attempt' });
    await insert('with-its-resource', {}, stranger);
    await insert('kept');
    await resources.put(resourceOf(stranger.resourceId), change);

    await files.delete(scope, 'by-hand', 2_000);
    await files.deleteExpired(100, 9);
    await resources.delete(stranger.resourceId, change);

    expect(await removals()).toEqual(['by-hand', 'expired_attempt', 'with-its-resource']);
    expect(await files.removals({ afterId: 'by-hand', limit: 1 })).toEqual(['expired_attempt']);
    expect(await files.existing(['by-hand', 'expired', 'kept'])).toEqual(['kept', 'by-hand']);
    const { bytes, sha256 } = fileOf('expired');
    expect(await files.stored('expired_attempt')).toEqual({ blobId: 'expired_attempt', bytes, sha256 });
    expect(await files.stored('kept')).toEqual({ blobId: 'kept', bytes, sha256 });
    await files.forgetRemovals(['by-hand', 'expired_attempt']);
    expect(await removals()).toEqual(['with-its-resource']);
    expect(await files.stored('expired_attempt')).toBeUndefined();
  });

  test('all files of all resources come in pages, newest first', async () => {
    const { files } = subject().store;
    for (const id of ['a', 'b', 'c']) await insert(id);
    await insert('d', {}, stranger);

    const first = await files.all({ beforeSeq: null, limit: 3 });
    const rest = await files.all({ beforeSeq: first.at(-1)!.seq, limit: 3 });

    expect([first, rest].map((page) => page.map(({ id }) => id))).toEqual([['d', 'c', 'b'], ['a']]);
  });

  test('the facts of an installation are remembered, and keys can be dropped at once', async () => {
    const { installation, resources } = subject().store;
    expect(await installation.get('installation_id')).toBeUndefined();
    await resources.put(resourceOf(scope.resourceId), change);
    await installation.set('installation_id', 'one');
    await installation.set('installation_id', 'two');
    expect(await installation.get('installation_id')).toBe('two');

    expect(await installation.hasKeys()).toBe(false);
    await resources.putKey(scope.resourceId, { slot: 2, digest: 'd', hint: '' }, change);
    await resources.setAdminKeyDigest('a', change);
    expect(await installation.hasKeys()).toBe(true);
    await installation.dropKeys(change);

    expect(await installation.hasKeys()).toBe(false);
    expect(await resources.findByKeyDigest('d')).toBeUndefined();
  });

  test('a produced file names the blob of the attempt that made it, and no other attempt has a row', async () => {
    const { files } = subject().store;
    await insert('out', { blobId: 'out_second', purpose: 'batch_output', expiresAt: 90 });
    await insert('in');

    expect(await files.get(scope, 'out')).toMatchObject({ id: 'out', blobId: 'out_second' });
    const found = await files.existing(['out', 'out_first', 'out_second', 'in']);
    expect(found.toSorted()).toEqual(['in', 'out_second']);
    expect(await files.deleteExpired(100, 10)).toEqual(['out_second']);
    expect(await files.delete(scope, 'in', 1)).toBe('in');
    expect(await files.delete(scope, 'in', 1)).toBeUndefined();
  });
}
