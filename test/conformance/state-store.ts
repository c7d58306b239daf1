import { afterEach, beforeEach, describe, expect, test } from 'vitest';

import { auditConformance } from './state-store/audit.ts';
import { batchErrorsConformance } from './state-store/batch-errors.ts';
import { batchListConformance } from './state-store/batch-list.ts';
import { batchConformance } from './state-store/batches.ts';
import { deploymentConformance } from './state-store/deployments.ts';
import { fileConformance } from './state-store/files.ts';
import {
  batchBySeq,
  claimOne,
  fileOf,
  held,
  NO_LIMITS,
  resultOf,
  scope,
  startBatch,
} from '../support/state-store.ts';
import type { Home, Subject } from './state-store/subject.ts';
import { isolationConformance } from './state-store/isolation.ts';
import { queueingConformance } from './state-store/queueing.ts';
import { resourceConformance } from './state-store/resources.ts';
import { resultConformance } from './state-store/results.ts';
import { retentionConformance } from './state-store/retention.ts';
import { uploadConformance } from './state-store/uploads.ts';
import { workConformance } from './state-store/work.ts';
import type { StateStore } from '../../src/stores/state/ports.ts';

/** What every state store promises. `makeHome` gives each test an empty database. */
export function stateStoreConformance(name: string, makeHome: () => Promise<Home>): void {
  describe(`state store: ${name}`, () => {
    let home: Home;
    let store: StateStore;
    const subject = (): Subject => ({
      store,
      async reopen() {
        await store.close();
        store = await home.open();
        return store;
      },
    });

    beforeEach(async () => {
      home = await makeHome();
      store = await home.open();
    });
    afterEach(() => home.leave(store));

    describe('resources', () => {
      resourceConformance(subject);
    });
    describe('deployments', () => {
      deploymentConformance(subject);
    });
    describe('audit', () => {
      auditConformance(subject);
    });
    describe('files', () => {
      fileConformance(subject);
    });
    describe('uploads', () => {
      uploadConformance(subject);
    });
    describe('batches', () => {
      batchConformance(subject);
    });
    describe('queueing', () => {
      queueingConformance(subject);
    });
    describe('faults of batches', () => {
      batchErrorsConformance(subject);
    });
    describe('list of batches', () => {
      batchListConformance(subject);
    });
    describe('work', () => {
      workConformance(subject);
    });
    describe('results', () => {
      resultConformance(subject);
    });
    describe('retention', () => {
      retentionConformance(subject);
    });
    describe('isolation', () => {
      isolationConformance(subject);
    });

    test('what was there when the store closed is there when it opens again', async () => {
      const seq = await startBatch(store, 'b1');
      const segment = await claimOne(store, seq);
      await store.files.insert(scope, fileOf('f'), NO_LIMITS);
      await store.results.commit([resultOf(segment, 1)]);
      const before = await batchBySeq(store, seq);

      const again = await subject().reopen();

      expect(await batchBySeq(again, seq)).toEqual(before);
      expect(await again.files.get(scope, 'f')).toEqual(fileOf('f'));
      expect(await again.results.commit([resultOf(held(segment), 2)])).toEqual([]);
      expect(await again.results.completeThrough(seq)).toBe(2);
    });
  });
}
