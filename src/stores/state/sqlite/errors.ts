import { StoreError } from '../ports.ts';

const REASONS: Readonly<Record<number, StoreError['reason']>> = {
  5: 'busy', // SQLITE_BUSY
  6: 'busy', // SQLITE_LOCKED
  8: 'io', // SQLITE_READONLY
  10: 'io', // SQLITE_IOERR
  11: 'io', // SQLITE_CORRUPT
  13: 'disk_full', // SQLITE_FULL
  14: 'io', // SQLITE_CANTOPEN
  26: 'io', // SQLITE_NOTADB
};
/** The index of the write-ahead log could not grow. The disk is full, though SQLite calls it an I/O error. */
const SQLITE_IOERR_SHMSIZE = 4874;

/** An error that is not SQLite's own is returned as it is. */
export function toStoreError(error: unknown, doing: string): unknown {
  if (!(error instanceof Error) || !('errcode' in error) || typeof error.errcode !== 'number') return error;
  const reason =
    error.errcode === SQLITE_IOERR_SHMSIZE ? 'disk_full' : (REASONS[error.errcode & 0xff] ?? 'other');
  const advice = ADVICE[error.errcode & 0xff] ?? '';
  const text = `SQLite: ${doing} failed: ${error.message} (code ${error.errcode})${advice}`;
  return new StoreError(text, reason, { cause: error });
}

const RESTORE = '. Restore it and the files from one backup, as docs/operations.md says ("Restore")';
const ADVICE: Readonly<Record<number, string>> = { 11: RESTORE, 26: RESTORE };
