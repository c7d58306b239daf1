import type { Clock } from '../../core/clock.ts';
import type { Log } from '../../core/log.ts';
import { isPassing } from '../passing.ts';
import type { Uploader } from './upload.ts';

export interface ExpiryOptions {
  readonly uploader: Pick<Uploader, 'deleteExpired' | 'sweepStrays'>;
  readonly clock: Clock;
  readonly log: Log;
  readonly everyMs?: number;
}

/** Deletes expired files, and bytes that nothing knows, at once and then every few minutes, until aborted. */
export async function runExpiry(options: ExpiryOptions, signal: AbortSignal): Promise<void> {
  const { uploader, clock, log, everyMs = 5 * 60_000 } = options;
  while (!signal.aborted) {
    try {
      const expired = await uploader.deleteExpired();
      const strays = await uploader.sweepStrays();
      if (expired + strays > 0) log.event('files.expired', { count: expired, strays });
    } catch (error) {
      if (!isPassing(error)) throw error;
      log.event('files.not_expired', { error: String(error) });
    }
    await clock.sleep(everyMs, signal).catch(() => {});
  }
}
