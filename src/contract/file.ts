export const FILE_PURPOSES = [
  'fine-tune',
  'fine-tune-results',
  'assistants',
  'assistants_output',
  'batch',
  'batch_output',
] as const;
export type FilePurpose = (typeof FILE_PURPOSES)[number];

/** A stored file: an uploaded input, or a batch's output or errors. Its bytes are in the blob store under `id`. */
export interface FileRow {
  readonly id: string;
  readonly resourceId: string;
  readonly filename: string;
  readonly purpose: FilePurpose;
  readonly bytes: number;
  /** Lower-case hex. */
  readonly sha256: string;
  /** Unix seconds. */
  readonly createdAt: number;
  /** Unix seconds; null: never. */
  readonly expiresAt: number | null;
}
