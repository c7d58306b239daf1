import { afterEach, beforeEach, describe, expect, test } from 'vitest';

import { auditContract } from './contract/audit.ts';
import { batchErrorsContract } from './contract/batch-errors.ts';
import { batchListContract } from './contract/batch-list.ts';
import { batchContract } from './contract/batches.ts';
import { deploymentContract } from './contract/deployments.ts';
import { fileContract } from './contract/files.ts';
import {
  batchBySeq,
  claimOne,
  fileOf,
  held,
  NO_LIMITS,
  resultOf,
  scope,
  startBatch,
} from './contract/fixtures.ts';
import type { Home, Subject } from './contract/fixtures.ts';
import { isolationContract } from './contract/isolation.ts';
import { queueingContract } from './contract/queueing.ts';
import { resourceContract } from './contract/resources.ts';
import { resultContract } from './contract/results.ts';
import { retentionContract } from './contract/retention.ts';
import { uploadContract } from './contract/uploads.ts';
import { workContract } from './contract/work.ts';
import type { StateStore } from './ports.ts';

/** What every state store promises. `makeHome` gives each test an empty database. */
export function stateStoreContract(name: string, makeHome: () => Promise<Home>): void {
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
      resourceContract(subject);
    });
    describe('deployments', () => {
      deploymentContract(subject);
    });
    describe('audit', () => {
      auditContract(subject);
    });
    describe('files', () => {
      fileContract(subject);
    });
    describe('uploads', () => {
      uploadContract(subject);
    });
    describe('batches', () => {
      batchContract(subject);
    });
    describe('queueing', () => {
      queueingContract(subject);
    });
    describe('faults of batches', () => {
      batchErrorsContract(subject);
    });
    describe('list of batches', () => {
      batchListContract(subject);
    });
    describe('work', () => {
      workContract(subject);
    });
    describe('results', () => {
      resultContract(subject);
    });
    describe('retention', () => {
      retentionContract(subject);
    });
    describe('isolation', () => {
      isolationContract(subject);
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
