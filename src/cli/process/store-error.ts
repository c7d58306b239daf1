import { DataDirError } from '../../core/data-dir.ts';
import { BlobStoreError } from '../../stores/blobs/port.ts';
import { StoreError } from '../../stores/state/ports.ts';
import { CliError, EXIT } from './exit.ts';

/** Makes an error of the data directory or a store a sentence for the user. Any other error is a bug, and stays as it is. */
export function toCliError(error: unknown): unknown {
  const isKnown =
    error instanceof DataDirError || error instanceof StoreError || error instanceof BlobStoreError;
  if (!isKnown) return error;
  const isAway = error instanceof StoreError && error.reason === 'connection';
  return new CliError(error.message, isAway ? EXIT.unreachable : EXIT.failed, { cause: error });
}

export const isDiskFull = (error: unknown): boolean =>
  (error instanceof StoreError || error instanceof BlobStoreError) && error.reason === 'disk_full';
