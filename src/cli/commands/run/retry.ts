import { createReadStream } from 'node:fs';
import { open } from 'node:fs/promises';
import { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { z } from 'zod';
import type { Inspection } from '../../../contract/inspection.ts';
import { LineSplitter } from '../../../core/lines.ts';
import { unreadable } from '../../local-files/input.ts';
import { inspectChunks } from '../../local-files/inspect.ts';
import { CliError, EXIT } from '../../process/exit.ts';
import { tryJson } from '../../process/try-json.ts';
import { grouped } from '../../terminal/print.ts';
import { type Job, retryInputOf } from './job.ts';
import type { RunRecord } from './record.ts';

/** No line of a result is as long as this. */
const LINE_BYTES_MAX = 256 * 1024 * 1024;

const Identified = z.looseObject({ custom_id: z.string() });

interface IdentifiedLine {
  readonly customId: string;
  /** The line with its line end. */
  readonly bytes: Buffer;
}

/** The input of a batch: the whole input of the run, or its lines that failed. */
export interface Source {
  readonly path: string;
  readonly sha256: string | null;
  readonly inspection: Inspection;
}

/** Writes the lines of the input whose requests failed into a file: the input of a retry. */
export async function failedRequests(job: Job, { finished }: RunRecord): Promise<Source> {
  const { errors } = job;
  const expected = finished?.request_counts.failed ?? 0;
  if (errors.kind !== 'file') {
    throw new CliError(`${errors.path} is not a file, so nothing says which requests failed.`, EXIT.usage);
  }
  const ids = await failedIds(errors.realPath).catch((error: unknown) => {
    if (error instanceof CliError) throw error;
    throw unreadable(errors.path, error);
  });
  if (ids.size !== expected) {
    throw new CliError(
      `${errors.path} is not what the run wrote: it has ${grouped(ids.size)} failed requests, and the run had ` +
        `${grouped(expected)}. Put it back, or send every request again with --force.`,
      EXIT.failed,
    );
  }
  const path = retryInputOf(job);
  const handle = await open(path, 'w', 0o600);
  await pipeline(Readable.from(linesToRetry(job.input.path, ids)), handle.createWriteStream());
  const { inspection } = await inspectChunks({ path, name: path });
  return { path, sha256: null, inspection };
}

/** The `custom_id` of every request in the error file of a run. */
async function failedIds(errorsPath: string): Promise<Set<string>> {
  const ids = new Set<string>();
  for await (const { customId } of linesOf(createReadStream(errorsPath), errorsPath)) ids.add(customId);
  return ids;
}

/** The lines of the input whose requests failed, in the input's order. */
async function* linesToRetry(inputPath: string, failed: ReadonlySet<string>): AsyncGenerator<Uint8Array> {
  for await (const line of linesOf(createReadStream(inputPath), inputPath))
    if (failed.has(line.customId)) yield line.bytes;
}

interface Merge {
  readonly inputPath: string;
  readonly outputPath: string;
  readonly retried: AsyncIterable<Uint8Array>;
  /** The number of answers that the output must have in the end. */
  readonly expected: number;
}

/**
 * Merges the earlier and the new answers, which both come in the input's order. A merge that was interrupted can be done
 * again over its own result: a new answer replaces an earlier one to the same request.
 */
export async function* mergeAnswers({
  inputPath,
  outputPath,
  retried,
  expected,
}: Merge): AsyncGenerator<Uint8Array> {
  const earlier = linesOf(createReadStream(outputPath), outputPath);
  const later = linesOf(retried, 'the new answers');
  let [old, fresh] = [await earlier.next(), await later.next()];
  let merged = 0;
  for await (const { customId } of linesOf(createReadStream(inputPath), inputPath)) {
    const isOld = !old.done && old.value.customId === customId;
    const isFresh = !fresh.done && fresh.value.customId === customId;
    if (!isOld && !isFresh) continue;
    const answer = isFresh ? fresh.value : old.value;
    if (answer) yield answer.bytes;
    merged += 1;
    if (isOld) old = await earlier.next();
    if (isFresh) fresh = await later.next();
  }
  if (merged !== expected || !old.done || !fresh.done) {
    throw new CliError(
      `${outputPath} is not what the run wrote: it was changed since. Nothing was replaced. ` +
        'Put it back, or send every request again with --force.',
      EXIT.failed,
    );
  }
}

async function* linesOf(
  chunks: AsyncIterable<Uint8Array>,
  name: string,
): AsyncGenerator<IdentifiedLine, void> {
  const splitter = new LineSplitter({ lineBytesMax: LINE_BYTES_MAX });
  for await (const chunk of chunks)
    for (const { bytes } of splitter.push(chunk)) yield identified(bytes, name);
  for (const { bytes } of splitter.end()) yield identified(bytes, name);
}

function identified(bytes: Buffer | undefined, name: string): IdentifiedLine {
  const { data } = Identified.safeParse(bytes && tryJson(bytes.toString('utf8')));
  if (!bytes || !data) {
    throw new CliError(`${name} has a line that is no result of a run. Put the file back.`, EXIT.failed);
  }
  return { customId: data.custom_id, bytes: Buffer.concat([bytes, NEWLINE]) };
}

const NEWLINE = Buffer.from('\n');
