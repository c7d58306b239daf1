import { beforeEach, expect, test } from 'vitest';

import type { PartRow, UploadRow } from '../../../src/contract/upload.ts';
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

const LIMITS = { pendingMax: 100, partsMax: 1_000, partBytesMax: 1_000_000_000_000 };
const NOW = 1_500;

const uploadOf = (id: string, given: Partial<UploadRow> = {}): UploadRow => ({
  id,
  resourceId: scope.resourceId,
  filename: `한국어 "x" '; drop table uploads; --\u2028.jsonl`,
  purpose: 'batch',
  bytes: 5_000_000_000,
  status: 'pending',
  createdAt: 1_000,
  expiresAt: 8_200,
  fileExpiresAfterS: 4_000_000,
  completion: null,
  ...given,
});

const partOf = (id: string, given: Partial<PartRow> = {}): PartRow => ({
  id,
  blobId: `blob-of-${id}`,
  uploadId: 'u',
  bytes: 4_000_000_000,
  sha256: 'cd'.repeat(32),
  createdAt: 1_100,
  ...given,
});

export function uploadConformance(subject: () => Subject): void {
  const uploads = () => subject().store.uploads;
  const add = (id: string, given: Partial<PartRow> = {}, limits = {}) =>
    uploads().addPart(scope, partOf(id, given), { ...LIMITS, atS: NOW, ...limits });
  const complete = (fileId = 'f', given = {}) =>
    uploads().complete(scope, 'u', {
      file: fileOf(fileId),
      digest: 'd',
      limits: NO_LIMITS,
      atS: NOW,
      ...given,
    });
  const ids = async () => (await uploads().parts(scope, 'u')).map(({ id }) => id).toSorted();

  beforeEach(async () => {
    await uploads().start(scope, uploadOf('u'), LIMITS);
  });

  test('an upload and its parts come back as they were written, after a restart too', async () => {
    expect(await add('p1')).toBe('added');
    expect(await add('p2', { bytes: 0 })).toBe('added');

    await subject().reopen();

    expect(await uploads().get(scope, 'u')).toEqual(uploadOf('u'));
    const parts = await uploads().parts(scope, 'u');
    expect(parts.toSorted((a, b) => (a.id < b.id ? -1 : 1))).toEqual([
      partOf('p1'),
      partOf('p2', { bytes: 0 }),
    ]);
    expect(await uploads().get(scope, 'none')).toBeUndefined();
  });

  test('a resource has so many pending uploads, and those that ended do not count', async () => {
    const start = (id: string, given = {}, owner = scope) =>
      uploads().start(owner, uploadOf(id, given), { pendingMax: 2 });

    expect(await start('u2')).toBe('started');
    expect(await start('u3')).toBe('limit');
    expect(await start('foreign', {}, stranger)).toBe('started');
    await uploads().cancel(scope, 'u2');
    expect(await start('u4')).toBe('started');
    // By then the others have expired, whether a sweep has seen that or not.
    expect(await start('u5', { createdAt: 8_200, expiresAt: 9_000 })).toBe('started');
  });

  test('of 20 starts at once exactly those within the limit succeed', async () => {
    const outcomes = await Promise.all(
      numbers(20).map((n) => uploads().start(scope, uploadOf(`x${n}`), { pendingMax: 8 })),
    );

    expect(outcomes.filter((outcome) => outcome === 'started')).toHaveLength(7);
  });

  test('parts have limits in number and in bytes, also when they come at once', async () => {
    const small = { partsMax: 3 };
    const outcomes = await Promise.all(numbers(10).map((n) => add(`p${n}`, { bytes: 1 }, small)));
    expect(outcomes.filter((outcome) => outcome === 'added')).toHaveLength(3);
    expect(outcomes.filter((outcome) => outcome === 'too_many_parts')).toHaveLength(7);

    const tight = { partBytesMax: 10 };
    expect(await add('q1', { bytes: 8 }, tight)).toBe('too_many_bytes');
    expect(await add('q2', { bytes: 7 }, tight)).toBe('added');
    expect(await ids()).toHaveLength(4);
  });

  test('a completed upload has its file, and its parts are gone', async () => {
    await add('p1');
    await add('p2');

    const outcome = await complete();

    expect(outcome.kind === 'completed' && outcome.blobIds.toSorted()).toEqual(['blob-of-p1', 'blob-of-p2']);
    expect(await subject().store.files.get(scope, 'f')).toEqual(fileOf('f'));
    expect(await uploads().get(scope, 'u')).toEqual(
      uploadOf('u', { status: 'completed', completion: { fileId: 'f', digest: 'd' } }),
    );
    expect(await ids()).toEqual([]);
  });

  test('an upload stays pending when its resource may have no more files', async () => {
    await add('p1');

    expect(await complete('f', { limits: { withoutExpiryMax: 0, withExpiryMax: 0 } })).toEqual({
      kind: 'limit',
    });

    expect(await uploads().get(scope, 'u')).toEqual(uploadOf('u'));
    expect(await ids()).toEqual(['p1']);
    expect(await subject().store.files.get(scope, 'f')).toBeUndefined();
    expect(await complete()).toMatchObject({ kind: 'completed' });
  });

  test.each<[string, () => Promise<unknown>]>([
    ['completed', () => complete('other')],
    ['cancelled', () => uploads().cancel(scope, 'u')],
    ['expired', () => uploads().expire(8_200, 10)],
  ])('an upload that is %s takes nothing more, and stays so', async (status, end) => {
    await add('p1');
    await end();

    expect(await add('p2')).toBe('ended');
    expect(await complete()).toEqual({ kind: 'ended' });
    expect(await uploads().cancel(scope, 'u')).toBeUndefined();

    expect((await uploads().get(scope, 'u'))?.status).toBe(status);
    expect(await ids()).toEqual([]);
    expect(await subject().store.files.get(scope, 'f')).toBeUndefined();
  });

  test('when its time is over an upload takes nothing more, though no sweep has seen it yet', async () => {
    await add('p1');

    expect(await add('p2', {}, { atS: 8_200 })).toBe('ended');
    expect(await complete('f', { atS: 8_200 })).toEqual({ kind: 'ended' });

    expect(await add('p3', {}, { atS: 8_199 })).toBe('added');
  });

  test('the sweep ends what has expired, of every resource, some at a time, and forgets it a day later', async () => {
    await uploads().start(stranger, uploadOf('foreign', { expiresAt: 9_000 }), LIMITS);
    await uploads().start(scope, uploadOf('young', { expiresAt: 99_000 }), LIMITS);
    await add('p1');

    expect(await uploads().expire(8_199, 1)).toEqual({ blobIds: [], more: false });
    expect(await uploads().expire(9_000, 1)).toEqual({ blobIds: ['blob-of-p1'], more: true });
    expect(await uploads().expire(9_000, 2)).toEqual({ blobIds: [], more: false });

    expect((await uploads().get(stranger, 'foreign'))?.status).toBe('expired');
    expect((await uploads().get(scope, 'young'))?.status).toBe('pending');
    await uploads().expire(8_200 + 86_400, 10);
    expect(await uploads().get(scope, 'u')).toBeUndefined();
    expect((await uploads().get(stranger, 'foreign'))?.status).toBe('expired');
  });

  test('whatever comes at once, an upload ends once, and no part outlives it', async () => {
    await add('p0');

    const [adds, ends] = await Promise.all([
      Promise.all(numbers(10).map((n) => add(`at-once-${n}`, { bytes: 1 }))),
      Promise.all([complete('a'), uploads().cancel(scope, 'u'), complete('b'), uploads().expire(8_200, 9)]),
    ]);

    const [a, cancelled, b, expired] = ends;
    const blobs = [
      ...(a.kind === 'completed' ? [a.blobIds] : []),
      ...(b.kind === 'completed' ? [b.blobIds] : []),
      ...(cancelled === undefined ? [] : [cancelled]),
      ...(expired.blobIds.length > 0 ? [expired.blobIds] : []),
    ];
    expect(blobs).toHaveLength(1);
    expect(blobs[0]).toHaveLength(1 + adds.filter((outcome) => outcome === 'added').length);
    expect(await ids()).toEqual([]);
    const files = await Promise.all(['a', 'b'].map((id) => subject().store.files.get(scope, id)));
    expect(files.filter((file) => file !== undefined)).toHaveLength(
      (await uploads().get(scope, 'u'))?.status === 'completed' ? 1 : 0,
    );
  });

  test('the blob of a part is no stray', async () => {
    const { files } = subject().store;
    await add('p1');

    expect(await files.existing(['blob-of-p1', 'stray'])).toEqual(['blob-of-p1']);
    expect(await files.parts({ afterId: '', limit: 9 })).toMatchObject([{ blobId: 'blob-of-p1' }]);
    expect(await files.parts({ afterId: 'blob-of-p1', limit: 9 })).toEqual([]);
  });

  test('uploads go with their resource', async () => {
    const { resources } = subject().store;
    await resources.put(resourceOf(scope.resourceId), change);
    await uploads().start(stranger, uploadOf('foreign'), LIMITS);
    await add('p1');

    expect(await resources.delete(scope.resourceId, change)).toBe('deleted');

    expect(await uploads().get(scope, 'u')).toBeUndefined();
    expect(await ids()).toEqual([]);
    expect(await uploads().get(stranger, 'foreign')).toBeDefined();
  });

  test('a part that comes while its resource is deleted leaves a record of its bytes', async () => {
    const { resources, files } = subject().store;
    const rounds = numbers(20).map((n) => `r${n}`);
    for (const id of rounds) {
      await resources.put(resourceOf(id), change);
      await uploads().start({ ...scope, resourceId: id }, uploadOf(id), LIMITS);
    }
    const parts = rounds.flatMap((id) => numbers(5).map((n) => partOf(`${id}-${n}`, { uploadId: id })));

    const outcomes = await Promise.all(
      parts.map(async (part) => {
        const resourceId = part.uploadId;
        const adding = uploads().addPart({ ...scope, resourceId }, part, { ...LIMITS, atS: NOW });
        if (part.id.endsWith('2')) await resources.delete(resourceId, change);
        return adding;
      }),
    );

    const added = parts.filter((_, index) => outcomes[index] === 'added').map(({ blobId }) => blobId);
    expect((await files.existing(added)).toSorted()).toEqual(added.toSorted());
  });
}
