import type { Inspection } from '../../contract/inspection.ts';

/** Makes the one pass over a stored input. Rejects with `BlobNotFound`, `signal.reason`, or `notReady` when too many wait. */
export type Inspector = (blobId: string, signal?: AbortSignal) => Promise<Inspection>;

/** Makes the same pass over a blob while it is being written. An inspector that is asked for that blob shares it. */
export type AheadInspector = (blobId: string) => AheadPass;

/** End it with `drop`, always. */
export interface AheadPass {
  /** As in `PutOptions`. The pass begins with the first bytes, if a thread is idle then. */
  readonly grow: (path: string, bytes: number) => void;
  /** The blob is stored. Undefined: there was no pass, or it gave way to a file that somebody waited for, or failed. */
  whole(): Promise<Inspection | undefined>;
  /** What was found is saved, or nobody wants it. */
  drop(): void;
}
