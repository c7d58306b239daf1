/** A file that comes in parts: an upload is started, gets its parts in any order, and is completed to a file. */
import type { FilePurpose } from './file.ts';

export const UPLOAD_STATUSES = ['pending', 'completed', 'cancelled', 'expired'] as const;
export type UploadStatus = (typeof UPLOAD_STATUSES)[number];

export const PART_BYTES_MAX = 64 * 1024 * 1024;
/** Azure's; OpenAI gives one hour. */
export const UPLOAD_LIFETIME_S = 2 * 3_600;

export interface UploadRow {
  readonly id: string;
  readonly resourceId: string;
  readonly filename: string;
  readonly purpose: FilePurpose;
  /** What the parts must have together. */
  readonly bytes: number;
  readonly status: UploadStatus;
  /** Unix seconds. */
  readonly createdAt: number;
  /** Unix seconds: it takes no parts from then on, and cannot be completed. */
  readonly expiresAt: number;
  /** Of the file, counted from its creation; null: never. */
  readonly fileExpiresAfterS: number | null;
  /** Set when completed. */
  readonly completion: UploadCompletion | null;
}

interface UploadCompletion {
  readonly fileId: string;
  /** Tells a repeated call, which gets the same answer, from another one. */
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
