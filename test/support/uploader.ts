import { createUploader, type Uploader, type UploaderOptions } from '../../src/batch/upload/upload.ts';
import { systemClock } from '../../src/core/clock.ts';
import { systemUuid } from '../../src/core/ids.ts';
import { silentLog } from '../../src/core/log.ts';
import { NO_LIMITS } from './state-store.ts';

/** The uploader over these stores. Its disk always has space, unless `options` brings a guard. */
export const uploaderOver = (
  options: Pick<UploaderOptions, 'state' | 'blobs'> & Partial<UploaderOptions>,
): Uploader =>
  createUploader({
    clock: systemClock,
    uuid: systemUuid,
    diskGuard: { hasSpace: async () => true, noteFull() {}, dropBallast: async () => {} },
    log: silentLog,
    limits: NO_LIMITS,
    ...options,
  });
