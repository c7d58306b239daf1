import { methodsOf, perform, portsOf } from './calls.ts';
import { StoreError, type StateStore } from './ports.ts';

/** The same store. A call that finds the disk full frees space and tries once more, so that cancels and deletes still work (P10). */
export function onFullDisk(state: StateStore, freeSpace: () => Promise<void>): StateStore {
  const ports = portsOf(methodsOf(state), async (call) => {
    try {
      return await perform(state, call);
    } catch (error) {
      if (!(error instanceof StoreError && error.reason === 'disk_full')) throw error;
      await freeSpace();
      return perform(state, call);
    }
  });
  return { ...ports, close: () => state.close() };
}
