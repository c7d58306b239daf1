/** Every purpose that Azure and OpenAI publish. Files here have two of them: `batch` is uploaded, `batch_output` is produced. */
export const FILE_PURPOSES = [
  'fine-tune',
  'fine-tune-results',
  'assistants',
  'assistants_output',
  'batch',
  'batch_output',
  'evals',
  'evals_output',
  'user_data',
  'vision',
] as const;
export type FilePurpose = (typeof FILE_PURPOSES)[number];

/** A stored file: an uploaded input, or a batch's output or errors. */
export interface FileRow {
  readonly id: string;
  /** The blob with its bytes. An uploaded file has a blob of its own id; a produced file has that of the published attempt. */
  readonly blobId: string;
  readonly resourceId: string;
  readonly filename: string;
  readonly purpose: FilePurpose;
  readonly bytes: number;
  /** Lower-case hex. */
  readonly sha256: string;
  /** Unix seconds. */
  readonly createdAt: number;
  /** Unix seconds. Null: it never expires. */
  readonly expiresAt: number | null;
}

/** Each attempt to produce a file has a blob of its own, so that a late attempt replaces nothing that was published. */
export const attemptBlobId = (fileId: string, attempt: string): string => `${fileId}_${attempt}`;

/** Whether this service gives such names to blobs, of files or of parts. */
export const isBlobId = (name: string): boolean =>
  /^(?:file-[0-9a-z-]{1,64}(?:_[0-9a-z-]{1,64})?|part-[0-9a-f]{32})$/.test(name);

/** The file that a blob was written for. */
export const fileIdOf = (blobId: string): string => blobId.replace(/_.*$/, '');
