import { backoffMs } from '../core/backoff.ts';
import type { Clock } from '../core/clock.ts';
import type { Log } from '../core/log.ts';
import { BlobStoreError } from '../stores/blobs/port.ts';
import { StoreError } from '../stores/state/ports.ts';

/** Whether a later try may succeed: the disk is full, or the database is busy or away. Other errors show a bug or a broken disk. */
export const isTransient = (error: unknown): boolean =>
  (error instanceof StoreError && error.transient) ||
  (error instanceof BlobStoreError && ['disk_full', 'busy', 'read_only'].includes(error.reason));

const WAIT_CAP_MS = 10_000;

/** Repeats `work` while its error is transient. Rejects with any other error, or with `signal.reason`. */
export async function retryTransient<T>(
  work: () => Promise<T>,
  deps: { readonly clock: Clock; readonly random: () => number; readonly log: Log },
  signal?: AbortSignal,
): Promise<T> {
  for (let attempt = 0; ; attempt += 1) {
    try {
      return await work();
    } catch (error) {
      if (!isTransient(error)) throw error;
      const waitMs = backoffMs(attempt, { baseMs: 200, capMs: WAIT_CAP_MS, random: deps.random });
      deps.log.event('store.trouble', { error: String(error), waitMs: Math.round(waitMs) });
      await deps.clock.sleep(waitMs, signal);
    }
  }
}
