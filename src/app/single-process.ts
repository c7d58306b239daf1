import { Servers } from '../serving/servers.ts';
import type { ServingDeps } from '../serving/deps.ts';
import { createExclusive } from '../deployments/exclusive.ts';
import { LocalQueue } from '../stores/queue/local.ts';
import type { WorkStore } from '../stores/state/ports.ts';

/**
 * Invariant: one process works on an installation; the lock of the data directory keeps others out (`core/data-dir.ts`).
 * Whatever holds only because of that is made here, and is an argument of the code that uses it. A second process on the
 * same database would need, in place of each:
 *
 * - `queue`: it delivers to this process alone, and its notifications reach this process alone. Needed: a queue in the
 *   database, whose jobs and notifications reach every process.
 * - `takeBack`: every other worker is dead. Needed: workers prove that they live, and only what the dead held is
 *   taken back. Results are right even without that, since each claim raises the epoch of its segment; lines are sent twice.
 * - `exclusive`: changes of the control plane read, decide and write, one after another. Needed: a lock in the database for
 *   what its transactions do not judge, such as the shares that a configuration gives out anew.
 * - `suspectTurn`: only one line that may end its process is tried at a time. Needed: nothing. Each process takes its own
 *   turn, and a crash is blamed on the line that its own process tried.
 * - `servers`: the health, window and pace of a model server are known here. Needed: nothing at first, as each process
 *   learns them. Together the processes may have more requests in flight than a deployment allows, so its limit would have
 *   to be divided among them.
 *
 * Two more facts are each process's own, and need nothing: the places of waiting batches are those of its latest pass
 * (`batch/admission`), and `Engine.redeploy` resolves once this process follows a change. Other processes follow it with their
 * next pass.
 */
export type SingleProcess = ReturnType<typeof singleProcess>;

export const singleProcess = (
  deps: ServingDeps & { readonly work: WorkStore; readonly workerId: string },
) => ({
  workerId: deps.workerId,
  queue: new LocalQueue(),
  takeBack: () => deps.work.reclaim(deps.workerId),
  exclusive: createExclusive(),
  suspectTurn: { line: null },
  servers: new Servers(deps),
});
