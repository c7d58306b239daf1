import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { openSqliteInline } from '../../src/stores/state/sqlite/inline.ts';
import type { StateStore } from '../../src/stores/state/ports.ts';
import { change, resourceOf, scope } from './state-store.ts';

/** A real SQLite file in a directory of its own, with the resource of `scope`. `remove` closes the store first. */
export async function temporarySqlite(): Promise<{ store: StateStore; remove: () => Promise<void> }> {
  const dir = await mkdtemp(join(tmpdir(), 'offpeak-sqlite-'));
  const store = await openSqliteInline({ path: join(dir, 'state.db') });
  await store.resources.put(resourceOf(scope.resourceId), change);
  const remove = async () => {
    await store.close();
    await rm(dir, { recursive: true, force: true });
  };
  return { store, remove };
}
