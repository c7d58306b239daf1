import type { Clock } from '../../core/clock.ts';
import type { Log } from '../../core/log.ts';
import { isPassing } from '../passing.ts';
import { named } from './strays.ts';
import type { Uploader } from './upload.ts';

export interface ExpiryOptions {
  readonly uploader: Pick<Uploader, 'deleteExpired' | 'sweep'>;
  readonly clock: Clock;
  readonly log: Log;
  /** Where bytes that no file has are set aside. */
  readonly straysDir: string;
  readonly everyMs?: number;
}

/** Deletes expired files, and sees to bytes that no file has, at once and then every few minutes, until aborted. */
export async function runExpiry(options: ExpiryOptions, signal: AbortSignal): Promise<void> {
  const { uploader, clock, log, straysDir, everyMs = 5 * 60_000 } = options;
  while (!signal.aborted) {
    try {
      const expired = await uploader.deleteExpired();
      const { removed, setAside, dropped } = await uploader.sweep();
      if (expired > 0) log.event('files.expired', { count: expired });
      if (removed > 0) log.event('files.bytes_removed', { count: removed });
      if (setAside.count > 0) log.event('strays.set_aside', { ...named(setAside), path: straysDir });
      if (dropped.count > 0) log.event('strays.removed', { ...named(dropped), path: straysDir });
    } catch (error) {
      if (!isPassing(error)) throw error;
      log.event('files.not_expired', { error: String(error) });
    }
    await clock.sleep(everyMs, signal).catch(() => {});
  }
}
