import type { Inspection } from '../../contract/inspection.ts';

/** Makes the one pass over a stored input. Rejects with `BlobNotFound` or `signal.reason`. */
export type Inspector = (blobId: string, signal?: AbortSignal) => Promise<Inspection>;
