import { beforeEach, expect, test } from 'vitest';

import type { StateStore } from '../../../src/stores/state/ports.ts';
import {
  change,
  createBatch,
  deploymentOf,
  fileOf,
  NO_LIMITS,
  resourceOf,
  scope,
  stranger,
} from '../../support/state-store.ts';
import type { Subject } from './subject.ts';

const facts = {
  requests: 0,
  tokens: 0,
  model: null,
  groups: [],
  errors: null,
  imageLines: [],
  imageLinesOmitted: 0,
  segments: [],
};
const own = {
  file: 'file-of-alpha',
  batch: 'batch-of-alpha',
  output: 'file-output-of-batch-of-alpha',
  deployment: 'gpt',
  upload: 'upload-of-alpha',
};
const partOf = (id: string, uploadId: string) => ({
  id,
  blobId: id,
  uploadId,
  bytes: 1,
  sha256: '',
  createdAt: 1,
});
const absent = {
  upload: 'no-upload',
  file: 'no-file',
  batch: 'no-batch',
  output: 'no-output',
  deployment: 'no-deployment',
};

/** Every call that takes a scope and names something, as the stranger would make it. */
const CALLS: Record<string, (store: StateStore, id: typeof own) => Promise<unknown>> = {
  'deployments.get': ({ deployments }, id) => deployments.get(stranger, id.deployment),
  'deployments.delete': ({ deployments }, id) => deployments.delete(stranger, id.deployment, 2_000),
  'files.get': ({ files }, id) => files.get(stranger, id.file),
  'files.list after': ({ files }, id) => files.list(stranger, { after: id.file, limit: 9, order: 'asc' }),
  'files.delete': ({ files }, id) => files.delete(stranger, id.file, 2_000),
  'files.inspection': ({ files }, id) => files.inspection(stranger, id.file),
  'files.saveInspection': async ({ files }, id) => {
    await files.saveInspection(stranger, id.file, { ...facts, tokens: 666 });
    return files.inspection(stranger, id.file);
  },
  'uploads.get': ({ uploads }, id) => uploads.get(stranger, id.upload),
  'uploads.parts': ({ uploads }, id) => uploads.parts(stranger, id.upload),
  'uploads.cancel': ({ uploads }, id) => uploads.cancel(stranger, id.upload),
  'uploads.addPart': ({ uploads }, id) =>
    uploads.addPart(stranger, partOf('foreign', id.upload), { partsMax: 9, partBytesMax: 9, atS: 1 }),
  'uploads.complete': ({ uploads }, id) =>
    uploads.complete(stranger, id.upload, {
      file: fileOf('foreign'),
      digest: '',
      limits: NO_LIMITS,
      atS: 1,
    }),
  'batches.get': ({ batches }, id) => batches.get(stranger, id.batch),
  'batches.findByProducedFile': ({ batches }, id) => batches.findByProducedFile(stranger, id.output),
  'batches.cancel': ({ batches }, id) => batches.cancel(stranger, id.batch, 2_000),
  'batches.list after': ({ batches }, id) =>
    batches.list(stranger, { after: id.batch, limit: 9, orderBy: { field: 'created_at', direction: 'asc' } }),
};

export function isolationConformance(subject: () => Subject): void {
  beforeEach(async () => {
    const { store } = subject();
    for (const { resourceId } of [scope, stranger]) await store.resources.put(resourceOf(resourceId), change);
    await store.deployments.put(scope, deploymentOf(own.deployment), { quotaTokensMax: null, atS: 2_000 });
    await store.files.insert(scope, fileOf(own.file), NO_LIMITS);
    await store.files.saveInspection(scope, own.file, facts);
    await createBatch(store, own.batch);
    await store.uploads.start(
      scope,
      {
        id: own.upload,
        resourceId: scope.resourceId,
        filename: 'a',
        purpose: 'batch',
        bytes: 1,
        status: 'pending',
        createdAt: 1,
        expiresAt: 9_000,
        fileExpiresAfterS: null,
        completion: null,
      },
      { pendingMax: 1 },
    );
    await store.uploads.addPart(scope, partOf('part', own.upload), {
      partsMax: 9,
      partBytesMax: 9,
      atS: 1,
    });
  });

  test.each(Object.entries(CALLS))('%s: what is foreign looks as if it were absent', async (_, call) => {
    const { store } = subject();

    const foreign = await call(store, own);

    expect(foreign).toEqual(await call(store, absent));
  });

  test.each(Object.entries(CALLS))('%s: a stranger changes nothing', async (_, call) => {
    const { store } = subject();
    const look = async () => [
      await store.files.get(scope, own.file),
      await store.files.inspection(scope, own.file),
      await store.batches.get(scope, own.batch),
      await store.uploads.get(scope, own.upload),
      await store.uploads.parts(scope, own.upload),
      await store.deployments.get(scope, own.deployment),
    ];
    const before = await look();

    await call(store, own);

    expect(before).not.toContain(undefined);
    expect(await look()).toEqual(before);
  });

  test('lists, sums and limits see the own resource only', async () => {
    const { store } = subject();
    const orderBy = { field: 'created_at', direction: 'asc' } as const;

    expect(await store.files.list(stranger, { limit: 9, order: 'asc' })).toEqual({
      files: [],
      hasMore: false,
    });
    expect(await store.batches.list(stranger, { limit: 9, orderBy })).toEqual({
      batches: [],
      hasMore: false,
    });
    expect(await store.batches.enqueuedTokens(stranger)).toEqual(new Map());
    expect(await store.deployments.list(stranger)).toEqual([]);
    const limits = { withoutExpiryMax: 1, withExpiryMax: 0 };
    expect(await store.files.insert(stranger, fileOf('theirs'), limits)).toBe('inserted');
  });

  test('a deployment belongs to the scope that puts it, whatever the row says', async () => {
    const { store } = subject();
    const theirs = deploymentOf('theirs', { resourceId: scope.resourceId });

    await store.deployments.put(stranger, theirs, { quotaTokensMax: null, atS: 2_000 });

    expect(await store.deployments.get(scope, 'theirs')).toBeUndefined();
    expect(await store.deployments.get(stranger, 'theirs')).toMatchObject({
      resourceId: stranger.resourceId,
    });
  });

  test('a file belongs to the scope that inserts it, whatever the row says', async () => {
    const { store } = subject();

    await store.files.insert(stranger, fileOf('theirs', { resourceId: scope.resourceId }), NO_LIMITS);

    expect(await store.files.get(scope, 'theirs')).toBeUndefined();
    expect(await store.files.get(stranger, 'theirs')).toMatchObject({ resourceId: stranger.resourceId });
  });
}
