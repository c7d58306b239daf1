import { Servers } from '../serving/servers.ts';
import type { ServingDeps } from '../serving/deps.ts';
import { createExclusive } from '../deployments/exclusive.ts';
import { LocalQueue } from '../stores/queue/local.ts';
import type { WorkStore } from '../stores/state/ports.ts';

/**
 * Invariant: one process works on an installation; the lock of the data directory keeps others out (`core/data-dir.ts`). A
 * second process on the same database would break what is listed here. What holds state is made here, and is an argument of
 * the code that uses it:
 *
 * - `queue`: it delivers to this process alone, and so do its notifications. Needed: a queue in the database, whose jobs and
 *   notifications reach every process.
 * - `reclaim`: every other worker is dead. Needed: workers prove that they live, and only what the dead held is
 *   taken back. Results are right even without that, since each claim raises the epoch of its segment; lines are sent twice.
 * - `exclusive`: changes of the control plane read, decide and write, one after another. Needed: a lock in the database for
 *   what its transactions do not judge, such as the shares that a configuration gives out anew.
 * - `suspectTurn`: only one line that may end its process is tried at a time. Needed: nothing, as each process blames its own.
 * - `servers`: the health, window and pace of a model server are known here. Needed: nothing at first, as each process
 *   learns them. A deployment's limit of requests in flight would have to be divided among the processes.
 *
 * These are made where they are used:
 *
 * - `batch/upload/intake.ts`: only uploads of this process are known to be under way. The bytes of another process's upload
 *   would be set aside as strays. Needed: a row before the bytes.
 * - `app/storage.ts`: the sweep at start removes the temporary files of every process. Needed: names that tell their process.
 * - `batch/progress.ts`: only the process that sends a batch knows its progress. Needed: a row that this process updates.
 * - `batch/lifecycle-log.ts`: each process would log the waits that it sees. Needed: one process that logs them.
 * - `http/hooks`: limits per address are counted here. Needed: nothing, or limits that are divided among the processes.
 * - `batch/inspections.ts`, `batch/upload/expiry.ts`: two processes may do the same work. Needed: nothing, as that is safe.
 * - `batch/admission`: the places of waiting batches are those of the latest pass here. Needed: nothing.
 * - `Engine.redeploy` resolves once this process follows a change. Needed: nothing; others follow it with their next pass. A
 *   reload reaches one process: each needs the same configuration, and the signal.
 */
export type SingleProcess = ReturnType<typeof singleProcess>;

export const singleProcess = (
  deps: ServingDeps & { readonly work: WorkStore; readonly workerId: string },
) => ({
  workerId: deps.workerId,
  queue: new LocalQueue(),
  reclaim: () => deps.work.reclaim(deps.workerId),
  exclusive: createExclusive(),
  suspectTurn: { line: null },
  servers: new Servers(deps),
});
