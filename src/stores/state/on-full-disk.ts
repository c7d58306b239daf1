import { StoreError, type StateStore } from './ports.ts';

type Method = (...args: readonly unknown[]) => Promise<unknown>;

/** The same store; a call that finds the disk full makes room and tries once more, so that cancels and deletes still work (P10). */
export function onFullDisk(state: StateStore, freeSpace: () => Promise<void>): StateStore {
  const patient = <Port extends object>(port: Port): Port =>
    Object.fromEntries(
      Object.entries(port as Record<string, Method>).map(([name, method]): [string, Method] => [
        name,
        async (...args) => {
          try {
            return await method(...args);
          } catch (error) {
            if (!(error instanceof StoreError && error.reason === 'disk_full')) throw error;
            await freeSpace();
            return method(...args);
          }
        },
      ]),
    ) as Port;
  return {
    installation: patient(state.installation),
    resources: patient(state.resources),
    deployments: patient(state.deployments),
    audit: patient(state.audit),
    files: patient(state.files),
    uploads: patient(state.uploads),
    batches: patient(state.batches),
    work: patient(state.work),
    results: patient(state.results),
    retention: patient(state.retention),
    close: () => state.close(),
  };
}
