import { LINE_BYTES_MAX, type Batch } from '../../contract/batch.ts';
import { attemptBlobId, type FileRow } from '../../contract/file.ts';
import { assert } from '../../core/assert.ts';
import { nowS, type Clock } from '../../core/clock.ts';
import type { Failpoint } from '../../core/failpoint.ts';
import type { UuidSource } from '../../core/ids.ts';
import { LineSplitter, type SourceLine, type OversizedLine } from '../../core/lines.ts';
import type { Log } from '../../core/log.ts';
import type { BlobStore, StoredBlob } from '../../stores/blobs/port.ts';
import {
  StoreError,
  type BatchStore,
  type Publication,
  type ResultRow,
  type ResultStore,
} from '../../stores/state/ports.ts';
import { InputDamage, type Inputs } from '../inputs.ts';
import { scanRequestLine } from '../request-line.ts';
import { requestIdStart, UNANSWERED, unansweredLine } from '../results/result-line.ts';

export interface FinalizeDeps {
  readonly batches: BatchStore;
  readonly results: ResultStore;
  readonly blobs: BlobStore;
  readonly clock: Clock;
  readonly uuid: UuidSource;
  readonly failpoint: Failpoint;
  readonly inputs: Pick<Inputs, 'read'>;
  readonly log: Log;
}

/** Some lines of a produced file, in order, without their line ends. */
type LinePage = readonly Uint8Array[];

/** A produced file that is whole and durable. */
interface Written {
  readonly blob: StoredBlob;
  readonly lines: number;
}

const PAGE = { bytesMax: 1024 * 1024, rowsMax: 1_000 };

/**
 * Writes both files in input order, each whole and durable, and then publishes them with the end of the batch in one
 * transaction. A crash before that transaction leaves bytes that nothing names. The next attempt writes others.
 * Returns false when the batch was no longer in `from`: it was cancelled meanwhile, or another process has published it.
 */
export async function finalize(
  batch: Batch,
  ending: Pick<Publication, 'from' | 'to' | 'errors'>,
  deps: FinalizeDeps,
): Promise<boolean> {
  const written: StoredBlob[] = [];
  // Whether rows name the blobs. It is also true while nobody knows, because the answer of the store was lost. Blobs that no row
  // names are deleted below: otherwise attempts on a full disk would fill it further.
  let mayBeNamed = false;
  try {
    // A batch that ended before it was validated has no requests, and so no files.
    if (batch.counts.total === 0) {
      const nothing = { completed: 0, failed: 0, files: [] };
      return await deps.batches.publish(batch.seq, { ...ending, atS: nowS(deps.clock), ...nothing });
    }
    const output = await writeOutput(batch, deps);
    written.push(output.blob);
    deps.failpoint('finalize:after-output');

    const errors = await writeErrors(batch, { ...ending, answered: output.lines }, deps);
    written.push(errors.blob);
    deps.failpoint('finalize:before-publish');

    const atS = nowS(deps.clock);
    const files: FileRow[] = [];
    for (const { blob, lines, ...file } of [
      { id: batch.outputFileId, suffix: 'output', ...output } as const,
      { id: batch.errorFileId, suffix: 'error', ...errors } as const,
    ]) {
      if (lines > 0 || batch.dialect === 'azure') files.push(toFileRow(batch, { ...file, blob, atS }));
      // OpenAI has no files without lines, so no row will name this one.
      else await deps.blobs.delete(blob.id);
    }
    mayBeNamed = true;
    mayBeNamed = await deps.batches.publish(batch.seq, {
      ...ending,
      atS,
      completed: output.lines,
      failed: errors.lines,
      files,
    });
    deps.failpoint('finalize:after-publish');
    return mayBeNamed;
  } catch (error) {
    if (isRolledBack(error)) mayBeNamed = false;
    if (!(error instanceof ResultsMoved)) throw error;
    const now = await deps.batches.bySeq(batch.seq);
    const hasMoved = now?.status !== ending.from || doneOf(now) > doneOf(batch);
    assert(hasMoved, `batch ${batch.id} lacks results that it counts`);
    return false;
  } finally {
    if (!mayBeNamed) for (const { id } of written) await deps.blobs.delete(id);
  }
}

/** The store has said that it did not take the change. */
const isRolledBack = (error: unknown): boolean =>
  error instanceof StoreError && (error.reason === 'busy' || error.reason === 'disk_full');

/** The results changed while they were read: another process has published the batch, or has recorded one more line. */
class ResultsMoved extends Error {
  override name = 'ResultsMoved';
}

async function writeOutput(batch: Batch, { blobs, results, uuid }: FinalizeDeps): Promise<Written> {
  const lines = new Lines(pages(batch, results, { ok: true }), { countMin: batch.counts.completed });
  const blob = await blobs.put(attemptBlobId(batch.outputFileId, uuid()), lines.bytes());
  return { blob, lines: lines.count };
}

/** When the batch was ended early, its requests without a result are in this file, as long as its input can name them. */
async function writeErrors(
  batch: Batch,
  { to, answered }: Pick<Publication, 'to'> & { readonly answered: number },
  deps: FinalizeDeps,
): Promise<Written> {
  const write = async (from: AsyncIterable<LinePage>): Promise<Written> => {
    const lines = new Lines(from, { countMin: batch.counts.failed });
    const blob = await deps.blobs.put(attemptBlobId(batch.errorFileId, deps.uuid()), lines.bytes());
    return { blob, lines: lines.count };
  };
  if (to === 'cancelled' || to === 'expired') {
    try {
      return await write(undone(batch, to, { ...deps, answered }));
    } catch (error) {
      if (!(error instanceof InputDamage)) throw error;
      const { id, resourceId: resource, inputFileId: file } = batch;
      deps.log.event('input.damaged', { batch: id, resource, file, reason: error.message });
    }
  }
  return write(failed(batch, deps.results));
}

const doneOf = ({ counts }: Batch): number => counts.completed + counts.failed;

interface Which {
  readonly ok?: boolean;
}

async function* pages(batch: Batch, results: ResultStore, which: Which): AsyncGenerator<LinePage> {
  for await (const rows of resultPages(batch, results, which)) yield rows.map(({ payload }) => payload);
}

async function* failed(batch: Batch, results: ResultStore): AsyncGenerator<LinePage> {
  if (batch.counts.failed > 0) yield* pages(batch, results, { ok: false });
}

/** Reads input and results side by side. Yields each failed line and, for each request without a result, why it has none. */
async function* undone(
  batch: Batch,
  ending: 'cancelled' | 'expired',
  deps: Pick<FinalizeDeps, 'results' | 'inputs'> & { readonly answered: number },
): AsyncGenerator<LinePage> {
  const idStart = requestIdStart(batch.id);
  const code = ending === 'cancelled' ? 'batch_cancelled' : 'batch_expired';
  const recorded = resultRows(batch, deps.results);
  let next = await recorded.next();
  const seen = { answered: 0, failed: 0 };
  for await (const requests of inputPages(batch, deps.inputs)) {
    const page: Uint8Array[] = [];
    for (const { line, bytes } of requests) {
      assert(next.done || next.value.line >= line, 'a result names a line that is no request');
      if (!next.done && next.value.line === line) {
        seen[next.value.ok ? 'answered' : 'failed'] += 1;
        if (!next.value.ok) page.push(next.value.payload);
        next = await recorded.next();
        continue;
      }
      const customIdJson = customIdOf(bytes, line);
      const name = { customIdJson, batchId: batch.id, idStart, line };
      page.push(unansweredLine(name, { code, message: UNANSWERED[code] }));
    }
    yield page;
  }
  if (seen.answered !== deps.answered || seen.failed < batch.counts.failed)
    throw new ResultsMoved('the results are not those that the output file has');
}

/** The line may differ from the one that was validated: the input of a file that was deleted long ago has no known hash. */
function customIdOf(bytes: Buffer, line: number): Uint8Array {
  try {
    const { customId } = scanRequestLine(bytes);
    return bytes.subarray(customId.start, customId.end);
  } catch (cause) {
    throw new InputDamage(`line ${line} is not the one that was validated`, { kind: 'changed', cause });
  }
}

async function* resultRows(batch: Batch, results: ResultStore): AsyncGenerator<ResultRow, undefined> {
  for await (const rows of resultPages(batch, results)) yield* rows;
  return undefined;
}

/** Reads the next page while the last one is written. */
async function* resultPages(
  batch: Batch,
  results: ResultStore,
  { ok }: Which = {},
): AsyncGenerator<ResultRow[]> {
  const read = (line: number): Promise<ResultRow[]> => {
    const page = results.page(batch.seq, { ...PAGE, afterLine: line, ok });
    page.catch(() => {
      // The loop awaits the page and meets its failure, unless the writer fails first.
    });
    return page;
  };
  let next = read(0);
  for (;;) {
    const page = await next;
    const last = page.at(-1);
    if (last === undefined) return;
    next = read(last.line);
    yield page;
  }
}

type Request = { readonly line: number; readonly bytes: Buffer };

async function* inputPages(batch: Batch, inputs: FinalizeDeps['inputs']): AsyncGenerator<Request[]> {
  const splitter = new LineSplitter({ lineBytesMax: LINE_BYTES_MAX });
  const isWhole = (line: SourceLine | OversizedLine): line is SourceLine => line.bytes !== undefined;
  for await (const chunk of inputs.read(batch.inputBlobId)) {
    yield [...splitter.push(chunk)].filter(isWhole);
  }
  yield [...splitter.end()].filter(isWhole);
}

const NEWLINE = Buffer.from('\n');

/** Makes the bytes of a produced file, a page at a time. `count` is the number of its lines once all bytes are read. */
class Lines {
  count = 0;
  readonly #pages: AsyncIterable<LinePage>;
  readonly #countMin: number;

  constructor(linePages: AsyncIterable<LinePage>, { countMin }: { readonly countMin: number }) {
    this.#pages = linePages;
    this.#countMin = countMin;
  }

  async *bytes(): AsyncGenerator<Uint8Array> {
    for await (const page of this.#pages) {
      this.count += page.length;
      yield Buffer.concat(page.flatMap((line) => [line, NEWLINE]));
    }
    if (this.count < this.#countMin)
      throw new ResultsMoved('results that were counted are not there any more');
  }
}

function toFileRow(
  batch: Batch,
  file: { id: string; suffix: 'output' | 'error'; blob: StoredBlob; atS: number },
): FileRow {
  return {
    id: file.id,
    blobId: file.blob.id,
    resourceId: batch.resourceId,
    filename: `${batch.id}_${file.suffix}.jsonl`,
    purpose: 'batch_output',
    bytes: file.blob.bytes,
    sha256: file.blob.sha256,
    createdAt: file.atS,
    expiresAt: batch.outputExpiresAfterS === null ? null : file.atS + batch.outputExpiresAfterS,
  };
}
