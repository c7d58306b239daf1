import type { ColumnDefinitionBuilder, Generated, Insertable, RawBuilder, Selectable } from 'kysely';

import type { BatchEndpoint, BatchStatus } from '../../contract/batch.ts';
import type {
  AuditAction,
  Offer,
  Owner,
  Sku,
  VersionUpgradeOption,
  WhenFull,
} from '../../contract/control.ts';
import type { Dialect } from '../../contract/error.ts';
import type { FilePurpose } from '../../contract/file.ts';
import type { UploadStatus } from '../../contract/upload.ts';

/**
 * The tables as SQL sees them. Portable types only: text, integers (timestamps are Unix seconds, truth values 0 or 1),
 * JSON as text, bytes.
 */
export interface Tables {
  schema_version: { version: number };
  /** Facts of the service as a whole. */
  settings: { name: string; value: string };
  resources: ResourcesTable;
  resource_keys: { digest: string; resource_id: string; slot: 1 | 2; hint: string };
  deployments: DeploymentsTable;
  audit: AuditTable;
  files: FilesTable;
  /** Blobs whose files are deleted, until their bytes are gone too. */
  removals: { blob_id: string; bytes: number; sha256: string };
  uploads: UploadsTable;
  upload_parts: UploadPartsTable;
  inspections: { file_id: string; resource_id: string; facts: string };
  batches: BatchesTable;
  /** All faults of a batch whose row has only the first ones. */
  batch_errors: { batch_seq: number; errors: string };
  idempotency_keys: {
    resource_id: string;
    key: string;
    body_digest: string;
    batch_id: string;
    created_at: number;
  };
  segments: SegmentsTable;
  results: { batch_seq: number; line: number; ok: number; payload: Uint8Array };
}

/** The types that the two databases spell differently. */
export interface ColumnTypes {
  /** Text is compared by bytes, so that both databases order alike. */
  readonly text: 'text' | RawBuilder<unknown>;
  readonly bytes: 'blob' | 'bytea';
  /** A number that is never given twice. */
  readonly identity: (column: ColumnDefinitionBuilder) => ColumnDefinitionBuilder;
}

interface ResourcesTable {
  id: string;
  location: string;
  subscription_id: string;
  resource_group: string;
  offer: Offer;
  key_auth_disabled: number;
  owner: Owner;
  tags: string;
  created_at: number;
}

interface DeploymentsTable {
  resource_id: string;
  name: string;
  model: string;
  version: string | null;
  sku: Sku;
  enqueued_tokens_max: number;
  dynamic_quota: number;
  when_full: WhenFull;
  version_upgrade_option: VersionUpgradeOption;
  content_filter: string | null;
  concurrency_max: number;
  upstreams: string | null;
  owner: Owner;
  tags: string;
  created_at: number;
  updated_at: number;
}

/** Rows are added, never changed. */
interface AuditTable {
  seq: Generated<number>;
  at_s: number;
  resource_id: string | null;
  actor: string;
  action: AuditAction;
  target: string;
  detail: string;
}

interface FilesTable {
  /** Order of arrival, which breaks ties of `created_at`. */
  seq: Generated<number>;
  id: string;
  /** The blob with the bytes. Null: it has the file's id. */
  blob_id: string | null;
  resource_id: string;
  filename: string;
  purpose: FilePurpose;
  bytes: number;
  sha256: string;
  created_at: number;
  expires_at: number | null;
}

interface UploadsTable {
  id: string;
  resource_id: string;
  filename: string;
  purpose: FilePurpose;
  bytes: number;
  status: UploadStatus;
  created_at: number;
  expires_at: number;
  file_expires_after_s: number | null;
  file_id: string | null;
  completed_by: string | null;
  /** How many parts it has, and their bytes. */
  parts: Generated<number>;
  part_bytes: Generated<number>;
}

interface UploadPartsTable {
  id: string;
  blob_id: string;
  upload_id: string;
  resource_id: string;
  bytes: number;
  sha256: string;
  created_at: number;
}

interface BatchesTable {
  seq: Generated<number>;
  id: string;
  resource_id: string;
  status: BatchStatus;
  endpoint: BatchEndpoint;
  dialect: Dialect;
  input_file_id: string;
  /** The blob with the bytes of the input. Null: it has the file's id. */
  input_blob_id: string | null;
  output_file_id: string;
  error_file_id: string;
  deployment: string | null;
  enqueued_tokens: number;
  when_full: WhenFull | null;
  /** The tokens for which the batch waits. Null: it does not wait for room. */
  waiting_tokens: number | null;
  created_at: number;
  expires_at: number;
  in_progress_at: Generated<number | null>;
  finalizing_at: Generated<number | null>;
  completed_at: Generated<number | null>;
  failed_at: number | null;
  expired_at: Generated<number | null>;
  cancelling_at: Generated<number | null>;
  cancelled_at: Generated<number | null>;
  total: Generated<number>;
  completed: Generated<number>;
  failed: Generated<number>;
  input_tokens: Generated<number>;
  cached_tokens: Generated<number>;
  output_tokens: Generated<number>;
  reasoning_tokens: Generated<number>;
  retries: Generated<number>;
  resent: Generated<number>;
  errors: string | null;
  metadata: string | null;
  output_expires_after_s: number | null;
  /** 1 once a terminal batch has neither segments nor results left. */
  purged: number;
}

interface SegmentsTable {
  batch_seq: number;
  index: number;
  first_line: number;
  /** The line before the next segment's first one. Up to here no other segment has a line. */
  last_line: number;
  requests: number;
  byte_start: number;
  byte_length: number;
  /** Requests with a result. */
  done: Generated<number>;
  /** How many of `done` go to the error file. */
  failed: Generated<number>;
  epoch: Generated<number>;
  /** The process that has claimed it. Null: it is free. */
  owner: Generated<string | null>;
  crashes: Generated<number>;
  suspect_line: Generated<number | null>;
  suspect_crashes: Generated<number>;
  /** The epoch in which the suspect was marked. Only a crash in that epoch counts against it. */
  suspect_epoch: Generated<number | null>;
}

export type ResourceRecord = Selectable<ResourcesTable>;
export type DeploymentRecord = Selectable<DeploymentsTable>;
export type AuditRecord = Selectable<AuditTable>;
export type FileRecord = Selectable<FilesTable>;
export type UploadRecord = Selectable<UploadsTable>;
export type PartRecord = Selectable<UploadPartsTable>;
export type BatchRecord = Selectable<BatchesTable>;
export type NewBatchRecord = Insertable<BatchesTable>;
export type SegmentRecord = Selectable<SegmentsTable>;
