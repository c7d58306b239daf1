/** Rows as the wire shows them. */
import type { LiveProgress } from '../../batch/progress.ts';
import type { QueuePlace } from '../../batch/admission/room.ts';
import { isTerminal, type Batch } from '../../contract/batch.ts';
import type { Dialect } from '../../contract/error.ts';
import type { FileRow } from '../../contract/file.ts';
import type { PartRow, UploadRow } from '../../contract/upload.ts';
import type { WireBatch, WireFile, WireUpload, WireUploadPart } from '../../contract/wire.ts';

export const renderFile = (file: FileRow): WireFile => ({
  id: file.id,
  object: 'file',
  bytes: file.bytes,
  created_at: file.createdAt,
  expires_at: file.expiresAt,
  filename: file.filename,
  purpose: file.purpose,
  // A file has a row only once its bytes are durable, so there is nothing to wait for.
  status: 'processed',
  status_details: null,
});

export const renderUpload = (upload: UploadRow, file: FileRow | null = null): WireUpload => ({
  id: upload.id,
  object: 'upload',
  bytes: upload.bytes,
  created_at: upload.createdAt,
  expires_at: upload.expiresAt,
  filename: upload.filename,
  purpose: upload.purpose,
  status: upload.status,
  file: file === null ? null : renderFile(file),
});

export const renderPart = (part: PartRow, dialect: Dialect): WireUploadPart => ({
  id: part.id,
  object: 'upload.part',
  created_at: part.createdAt,
  upload_id: part.uploadId,
  ...(dialect === 'azure' && { azure_block_id: Buffer.from(part.id).toString('base64') }),
});

export interface BatchView {
  readonly dialect: Dialect;
  readonly live: LiveProgress | undefined;
}

export function renderBatch(batch: Batch, { dialect, live }: BatchView): WireBatch {
  return {
    id: batch.id,
    object: 'batch',
    // Azure answers without `/v1`, and OpenAI with it, whatever was sent.
    endpoint: dialect === 'azure' ? batch.endpoint : `/v1${batch.endpoint}`,
    model: batch.deployment,
    errors: batch.errors === null ? null : { object: 'list', data: [...batch.errors.data] },
    input_file_id: batch.inputFileId,
    completion_window: batch.completionWindow,
    status: batch.status,
    ...renderFileIds(batch, dialect),
    created_at: batch.createdAt,
    in_progress_at: batch.inProgressAt,
    expires_at: batch.expiresAt,
    finalizing_at: batch.finalizingAt,
    completed_at: batch.completedAt,
    failed_at: batch.failedAt,
    expired_at: batch.expiredAt,
    cancelling_at: batch.cancellingAt,
    cancelled_at: batch.cancelledAt,
    request_counts: { ...batch.counts },
    usage: renderUsage(batch),
    metadata: batch.metadata,
    offpeak: renderExtras(batch, { dialect, live }),
  };
}

/** Azure names an error file of 0 bytes where nothing failed. OpenAI has, and names, only files with lines in them. */
function renderFileIds(batch: Batch, dialect: Dialect): Pick<WireBatch, 'output_file_id' | 'error_file_id'> {
  const { total, completed, failed } = batch.counts;
  // A failed batch has files when its input was damaged on the way, and results were recorded before.
  const isKept = batch.status !== 'failed' || completed + failed > 0;
  const exist = isTerminal(batch.status) && isKept && total > 0;
  const hasEmptyOnes = dialect === 'azure' && batch.dialect === 'azure';
  const shown = (lines: number): boolean => exist && (hasEmptyOnes || lines > 0);
  return {
    output_file_id: shown(completed) ? batch.outputFileId : null,
    error_file_id: shown(failed) ? batch.errorFileId : null,
  };
}

function renderUsage({ usage }: Batch): WireBatch['usage'] {
  return {
    input_tokens: usage.inputTokens,
    input_tokens_details: { cached_tokens: usage.cachedTokens },
    output_tokens: usage.outputTokens,
    output_tokens_details: { reasoning_tokens: usage.reasoningTokens },
    total_tokens: usage.inputTokens + usage.outputTokens,
  };
}

function renderExtras(batch: Batch, { dialect, live }: BatchView): WireBatch['offpeak'] {
  const { total, completed, failed } = batch.counts;
  // While the batch runs, these ids read what is recorded. Afterwards a file may be left out.
  const readable = isTerminal(batch.status)
    ? renderFileIds(batch, dialect)
    : { output_file_id: batch.outputFileId, error_file_id: batch.errorFileId };
  return {
    progress: total === 0 ? 0 : (completed + failed) / total,
    requests_per_second: live?.requestsPerSecond ?? 0,
    eta_seconds: live?.etaS ?? null,
    in_flight: live?.inFlight ?? 0,
    retries: batch.retries + (live?.retries ?? 0),
    resent_requests: batch.resent,
    enqueued_tokens: {
      used: batch.waitingTokens === null ? batch.enqueuedTokens : 0,
      held: live?.enqueuedTokens.held ?? null,
      limit: live?.enqueuedTokens.limit ?? null,
    },
    queue: live?.queue ? renderPlace(live.queue) : null,
    waiting: live?.waiting ?? null,
    errors_omitted: batch.errors?.omitted ?? 0,
    ...readable,
  };
}

const renderPlace = ({
  position,
  length,
  tokens,
  tokensAhead,
}: QueuePlace): WireBatch['offpeak']['queue'] => ({
  position,
  length,
  tokens,
  tokens_ahead: tokensAhead,
});
