import type { Inspection } from '../../contract/inspection.ts';

/** Makes the one pass over a stored input. Rejects with `BlobNotFound`, `signal.reason`, or `notReady` when too many wait. */
export type Inspector = (blobId: string, signal?: AbortSignal) => Promise<Inspection>;
