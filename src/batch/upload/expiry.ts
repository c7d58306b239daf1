import type { Clock } from '../../core/clock.ts';
import type { Log } from '../../core/log.ts';
import { isTransient } from '../transient.ts';
import { prune, type Keep, type RetentionDeps } from './retention.ts';
import { named } from './strays.ts';
import type { Uploader } from './upload.ts';

export interface ExpiryOptions {
  readonly uploader: Pick<Uploader, 'deleteExpired' | 'sweep'>;
  readonly stores: RetentionDeps['stores'];
  readonly keep: Keep;
  readonly clock: Clock;
  readonly log: Log;
  /** Bytes that no file has are set aside in this directory. */
  readonly straysDir: string;
  readonly everyMs?: number;
}

/** Listing a million blobs takes two seconds of a processor. */
const STRAYS_EVERY_MS = 60 * 60_000;

/**
 * Deletes expired files, deletes what is older than `keep` allows, and sets aside bytes that no file has. It does so at once,
 * and then every few minutes until `signal` aborts.
 */
export async function runExpiry(options: ExpiryOptions, signal: AbortSignal): Promise<void> {
  const { uploader, clock, log, straysDir, everyMs = 5 * 60_000 } = options;
  let straysAtMs = -Infinity;
  while (!signal.aborted) {
    try {
      const strays = clock.mono() >= straysAtMs;
      const expired = await uploader.deleteExpired();
      const { removed, setAside, dropped } = await uploader.sweep({ strays });
      if (strays) straysAtMs = clock.mono() + STRAYS_EVERY_MS;
      const { batches, files, auditRows } = await prune(options, signal);
      if (expired > 0) log.event('files.expired', { count: expired });
      if (batches > 0) log.event('retention.batches_removed', { count: batches });
      if (files > 0) log.event('retention.files_removed', { count: files });
      if (auditRows > 0) log.event('retention.audit_removed', { count: auditRows });
      if (removed > 0) log.event('files.bytes_removed', { count: removed });
      if (setAside.count > 0) log.event('strays.set_aside', { ...named(setAside), path: straysDir });
      if (dropped.count > 0) log.event('strays.removed', { ...named(dropped), path: straysDir });
    } catch (error) {
      if (!isTransient(error)) throw error;
      log.event('files.not_expired', { error: String(error) });
    }
    await clock.sleep(everyMs, signal).catch(() => {});
  }
}
