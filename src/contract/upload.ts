/** A file may come in parts: an upload is started, gets its parts in any order, and is completed to a file. */
import type { FilePurpose } from './file.ts';

export const UPLOAD_STATUSES = ['pending', 'completed', 'cancelled', 'expired'] as const;
export type UploadStatus = (typeof UPLOAD_STATUSES)[number];

export const PART_BYTES_MAX = 64 * 1024 * 1024;
/** Azure gives two hours; OpenAI gives one. */
export const UPLOAD_LIFETIME_S = 2 * 3_600;

export interface UploadRow {
  readonly id: string;
  readonly resourceId: string;
  readonly filename: string;
  readonly purpose: FilePurpose;
  /** The sum of the sizes of all parts must be this. */
  readonly bytes: number;
  readonly status: UploadStatus;
  /** Unix seconds. */
  readonly createdAt: number;
  /** Unix seconds. From then on it takes no parts and cannot be completed. */
  readonly expiresAt: number;
  /** Expiry of the file, counted from its creation. Null: it never expires. */
  readonly fileExpiresAfterS: number | null;
  /** Null until the upload is completed. */
  readonly completion: UploadCompletion | null;
}

interface UploadCompletion {
  readonly fileId: string;
  /** A repeated call has the same digest, and gets the same answer. */
  readonly digest: string;
}

export interface PartRow {
  readonly id: string;
  readonly blobId: string;
  readonly uploadId: string;
  readonly bytes: number;
  /** Lower-case hex. */
  readonly sha256: string;
  readonly createdAt: number;
}

/** The blob of a part, by its id. */
export const partBlobId = (partId: string): string => partId.replace('_', '-');
