/** Results that can be read from the state store before a batch has ended. */
import { isTerminal, type Batch } from '../../contract/batch.ts';
import type { Readable } from 'node:stream';
import { BlobNotFound, type BlobStore } from '../../stores/blobs/port.ts';
import type { ResultRow, StateStore } from '../../stores/state/ports.ts';
import { sliceLines } from './content.ts';

export interface ResultSource {
  readonly state: Pick<StateStore, 'batches' | 'files' | 'results'>;
  readonly blobs: BlobStore;
  readonly batch: Batch;
  /** Whether these are the lines of the output file. If not, they are those of the error file. */
  readonly ok: boolean;
}

const PAGE = { bytesMax: 1024 * 1024, rowsMax: 1_000 };

/** Every result recorded so far, in line order. Lines still in flight are missing. */
export async function* recordedResults(source: ResultSource): AsyncGenerator<Uint8Array> {
  let afterLine = 0;
  for (;;) {
    const rows = await readPage(source, afterLine);
    if (rows === undefined) throw new Error('The batch ended while its results were read: read them again.');
    const last = rows.at(-1);
    if (last === undefined) return;
    yield toLines(rows);
    afterLine = last.line;
  }
}

export interface CertainPart {
  /** How many lines the finished file is certain to start with. */
  readonly lines: number;
  read(skip: number): AsyncGenerator<Uint8Array>;
}

/** The finished file is certain to start with the results up to the first line that has none. */
export async function certainPart(source: ResultSource): Promise<CertainPart> {
  const { results } = source.state;
  const throughLine = await results.completeThrough(source.batch.seq);
  const lines = throughLine === 0 ? 0 : await results.count(source.batch.seq, { throughLine, ok: source.ok });
  return { lines, read: (skip) => readCertain(source, { skip, take: Math.max(0, lines - skip) }) };
}

async function* readCertain(
  source: ResultSource,
  { skip, take }: { skip: number; take: number },
): AsyncGenerator<Uint8Array> {
  let [toSkip, toTake, afterLine] = [skip, take, 0];
  while (toTake > 0) {
    const rows = await readPage(source, afterLine);
    if (rows === undefined) {
      // The batch has ended meanwhile. Its file starts with the same lines.
      yield* sliceLines(await readPublished(source), { skip: skip + take - toTake, take: toTake });
      return;
    }
    const last = rows.at(-1);
    if (last === undefined) return;
    const wanted = rows.slice(toSkip, toSkip + toTake);
    toSkip -= Math.min(toSkip, rows.length);
    toTake -= wanted.length;
    afterLine = last.line;
    if (wanted.length > 0) yield toLines(wanted);
  }
}

/** Returns undefined when the batch has ended: its rows may be half purged, and its files have all results. */
async function readPage(source: ResultSource, afterLine: number): Promise<ResultRow[] | undefined> {
  const { state, batch, ok } = source;
  const rows = await state.results.page(batch.seq, { ...PAGE, afterLine, ok });
  const current = await state.batches.bySeq(batch.seq);
  return current === undefined || isTerminal(current.status) ? undefined : rows;
}

async function readPublished({ state, blobs, batch, ok }: ResultSource): Promise<Readable> {
  const fileId = ok ? batch.outputFileId : batch.errorFileId;
  const file = await state.files.get({ resourceId: batch.resourceId, actor: 'engine' }, fileId);
  if (file === undefined) throw new BlobNotFound(`The file ${fileId} was deleted while it was read.`);
  return blobs.read(file.blobId);
}

const NEWLINE = Buffer.from('\n');

const toLines = (rows: readonly ResultRow[]): Uint8Array =>
  Buffer.concat(rows.flatMap((row) => [row.payload, NEWLINE]));
