import { LINE_BYTES_MAX, type Batch } from '../../contract/batch.ts';
import type { FileRow } from '../../contract/file.ts';
import { assert } from '../../core/assert.ts';
import { nowS, type Clock } from '../../core/clock.ts';
import type { Failpoint } from '../../core/failpoint.ts';
import { scanRequestLine } from '../../core/json-scan.ts';
import { LineSplitter } from '../../core/lines.ts';
import type { BlobStore, StoredBlob } from '../../stores/blobs/port.ts';
import type { BatchStore, Publication, ResultRow, ResultStore } from '../../stores/state/ports.ts';
import { UNANSWERED, unansweredLine } from '../results/result-line.ts';

export interface FinalizeDeps {
  readonly batches: BatchStore;
  readonly results: ResultStore;
  readonly blobs: BlobStore;
  readonly clock: Clock;
  readonly failpoint: Failpoint;
}

const PAGE = { bytesMax: 1024 * 1024, rowsMax: 1_000 };
const CHUNK_BYTES = 256 * 1024;

/**
 * Writes both files in input order, each whole and durable, and then publishes them with the end of the batch in one
 * transaction. A crash before that transaction leaves bytes that nothing names; the next attempt writes them again.
 * False: the batch was no longer in `from` (it was cancelled meanwhile).
 */
export async function finalize(
  batch: Batch,
  ending: Pick<Publication, 'from' | 'to'>,
  deps: FinalizeDeps,
): Promise<boolean> {
  const output = counted(outputLines(batch, deps.results));
  const outputBlob = await deps.blobs.put(batch.outputFileId, inChunks(output.lines));
  deps.failpoint('finalize:after-output');

  const errors = counted(
    ending.to === 'completed' ? errorLines(batch, deps.results) : undoneLines(batch, ending.to, deps),
  );
  const errorBlob = await deps.blobs.put(batch.errorFileId, inChunks(errors.lines));
  deps.failpoint('finalize:before-publish');

  const atS = nowS(deps.clock);
  const published = await deps.batches.publish(batch.seq, {
    ...ending,
    atS,
    completed: output.count(),
    failed: errors.count(),
    files: [
      toFileRow(batch, { id: batch.outputFileId, suffix: 'output', blob: outputBlob, atS }),
      toFileRow(batch, { id: batch.errorFileId, suffix: 'error', blob: errorBlob, atS }),
    ],
  });
  deps.failpoint('finalize:after-publish');
  return published;
}

async function* outputLines(batch: Batch, results: ResultStore): AsyncGenerator<Uint8Array> {
  for await (const row of rows(batch, results, true)) yield row.payload;
}

async function* errorLines(batch: Batch, results: ResultStore): AsyncGenerator<Uint8Array> {
  if (batch.counts.failed === 0) return;
  for await (const row of rows(batch, results, false)) yield row.payload;
}

/** The failed lines and, for each request without a result, why it was not executed: input and results side by side. */
async function* undoneLines(
  batch: Batch,
  ending: 'cancelled' | 'expired',
  deps: FinalizeDeps,
): AsyncGenerator<Uint8Array> {
  // A batch that ended before its validation did has no requests yet.
  if (batch.counts.total === 0) return;
  const code = ending === 'cancelled' ? 'batch_cancelled' : 'batch_expired';
  const recorded = rows(batch, deps.results, undefined);
  let next = await recorded.next();
  for await (const source of inputLines(batch, deps.blobs)) {
    assert(next.done || next.value.line >= source.line, 'a result names a line that is no request');
    if (!next.done && next.value.line === source.line) {
      if (!next.value.ok) yield next.value.payload;
      next = await recorded.next();
      continue;
    }
    const { customId } = scanRequestLine(source.bytes);
    const name = {
      customIdJson: source.bytes.subarray(customId.start, customId.end),
      batchId: batch.id,
      line: source.line,
    };
    yield unansweredLine(name, { code, message: UNANSWERED[code] });
  }
}

async function* rows(
  batch: Batch,
  results: ResultStore,
  ok: boolean | undefined,
): AsyncGenerator<ResultRow, undefined> {
  let afterLine = 0;
  for (;;) {
    const page = await results.page(batch.seq, { ...PAGE, afterLine, ok });
    yield* page;
    const last = page.at(-1);
    if (last === undefined) return undefined;
    afterLine = last.line;
  }
}

async function* inputLines(batch: Batch, blobs: BlobStore): AsyncGenerator<{ line: number; bytes: Buffer }> {
  // An input that was lost cannot say which requests are undone; the batch must end all the same.
  if ((await blobs.size(batch.inputFileId)) === undefined) return;
  const splitter = new LineSplitter({ lineBytesMax: LINE_BYTES_MAX });
  for await (const chunk of blobs.read(batch.inputFileId)) {
    for (const { line, bytes } of splitter.push(chunk as Buffer)) if (bytes) yield { line, bytes };
  }
  for (const { line, bytes } of splitter.end()) if (bytes) yield { line, bytes };
}

function counted(lines: AsyncIterable<Uint8Array>): {
  lines: AsyncIterable<Uint8Array>;
  count: () => number;
} {
  let count = 0;
  return {
    count: () => count,
    lines: (async function* () {
      for await (const line of lines) {
        count += 1;
        yield line;
      }
    })(),
  };
}

const NEWLINE = Buffer.from('\n');

/** Lines with their newlines, gathered so that the blob store writes in large pieces. */
async function* inChunks(lines: AsyncIterable<Uint8Array>): AsyncGenerator<Uint8Array> {
  let parts: Uint8Array[] = [];
  let bytes = 0;
  for await (const line of lines) {
    parts.push(line, NEWLINE);
    bytes += line.byteLength + 1;
    if (bytes < CHUNK_BYTES) continue;
    yield Buffer.concat(parts, bytes);
    parts = [];
    bytes = 0;
  }
  if (bytes > 0) yield Buffer.concat(parts, bytes);
}

function toFileRow(
  batch: Batch,
  file: { id: string; suffix: 'output' | 'error'; blob: StoredBlob; atS: number },
): FileRow {
  return {
    id: file.id,
    resourceId: batch.resourceId,
    filename: `${batch.id}_${file.suffix}.jsonl`,
    purpose: 'batch_output',
    bytes: file.blob.bytes,
    sha256: file.blob.sha256,
    createdAt: file.atS,
    expiresAt: batch.outputExpiresAfterS === null ? null : file.atS + batch.outputExpiresAfterS,
  };
}
