import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { systemClock } from '../../core/clock.ts';
import { createDiskGuard } from '../../core/disk-guard.ts';
import { change, resourceOf } from '../../../test/support/state-store.ts';
import { onFullDisk } from './on-full-disk.ts';
import { StoreError, type StateStore } from './ports.ts';
import { openSqliteInline } from './sqlite/inline.ts';

const full = () => Promise.reject(new StoreError('the disk is full', 'disk_full'));

async function withStore(run: (state: StateStore) => Promise<void>): Promise<void> {
  const dir = await mkdtemp(join(tmpdir(), 'offpeak-full-'));
  const state = await openSqliteInline({ path: join(dir, 'state.db') });
  try {
    await run(state);
  } finally {
    await state.close();
    await rm(dir, { recursive: true });
  }
}

test('a call that finds the disk full is tried once more after space was freed', () =>
  withStore(async (state) => {
    let isFull = true;
    const resources = {
      ...state.resources,
      put: (...args: Parameters<StateStore['resources']['put']>) =>
        isFull ? full() : state.resources.put(...args),
    };
    const patient = onFullDisk({ ...state, resources }, () => {
      isFull = false;
      return Promise.resolve();
    });

    await patient.resources.put(resourceOf('r'), change);

    expect(await state.resources.get('r')).toMatchObject({ id: 'r' });
  }));

test('when no space can be freed, the caller gets the error that the disk is full', () =>
  withStore(async (state) => {
    const patient = onFullDisk({ ...state, resources: { ...state.resources, get: full } }, () =>
      Promise.resolve(),
    );

    await expect(patient.resources.get('r')).rejects.toMatchObject({ reason: 'disk_full' });
  }));

test('twenty deletes at once on a full disk all get the space that the ballast leaves, also while it is given up', () =>
  withStore(async (state) => {
    let freeBytes = 0;
    const guard = createDiskGuard({
      dir: '/nowhere',
      clock: systemClock,
      freeBytesMin: 256 * 1024 * 1024,
      ballastBytes: 64 * 1024 * 1024,
      disk: {
        freeBytes: () => Promise.resolve(freeBytes),
        makeBallast: () => Promise.resolve(),
        async dropBallast() {
          for (let turn = 0; turn < 20; turn += 1) await new Promise(setImmediate);
          freeBytes = 64 * 1024 * 1024;
        },
      },
    });
    const ids = Array.from({ length: 20 }, (_, index) => `r${index}`);
    for (const id of ids) await state.resources.put(resourceOf(id), change);
    const resources = {
      ...state.resources,
      delete: (...args: Parameters<StateStore['resources']['delete']>) =>
        freeBytes === 0 ? full() : state.resources.delete(...args),
    };
    const patient = onFullDisk({ ...state, resources }, () => guard.dropBallast());

    const outcomes = await Promise.all(ids.map((id) => patient.resources.delete(id, change)));

    expect(new Set(outcomes)).toEqual(new Set(['deleted']));
  }));
