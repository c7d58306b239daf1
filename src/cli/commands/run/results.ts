import { Readable } from 'node:stream';
import type { Runtime } from '../../../app/runtime.ts';
import type { Batch } from '../../../contract/batch.ts';
import { UnwrittenError, writeTarget } from '../../local-files/target.ts';
import { CliError, EXIT } from '../../process/exit.ts';
import { SCOPE } from './execute.ts';
import type { Job } from './job.ts';
import type { RunRecord } from './record.ts';
import { mergeAnswers } from './retry.ts';

interface Ended {
  readonly batch: Batch;
  readonly record: RunRecord;
  readonly signal: AbortSignal;
}

/**
 * Writes errors before answers, so that an output means that the errors are there as well. A retry writes the output first,
 * because only the merge finds out that the output was changed.
 */
export async function writeResults(
  runtime: Runtime,
  job: Job,
  { batch, record, signal }: Ended,
): Promise<void> {
  const { output, errors, input, stateDir } = job;
  const options = { signal, partDir: stateDir };
  const partDirOf = (target: Job['errors']) =>
    target.kind === 'file' && `${target.realPath}.offpeak` === stateDir ? options : { signal };
  const failed = () => readFileOf(runtime, batch.errorFileId);
  const answers = () => readFileOf(runtime, batch.outputFileId);
  try {
    if (!record.retrying || output.kind !== 'file') {
      await writeTarget(errors, await failed(), { signal });
      await writeTarget(output, await answers(), partDirOf(output));
      return;
    }
    const merged = mergeAnswers({
      inputPath: input.path,
      outputPath: output.realPath,
      retried: await answers(),
      expected: (record.finished?.request_counts.completed ?? 0) + batch.counts.completed,
    });
    await writeTarget(output, Readable.from(merged), options);
    await writeTarget(errors, await failed(), { signal });
  } catch (error) {
    if (!(error instanceof UnwrittenError) || signal.aborted) throw error;
    const message = `${error.message} Nothing is lost: the same command writes it again and sends nothing.`;
    throw new CliError(message, EXIT.failed, { cause: error });
  }
}

async function readFileOf({ state, blobs }: Runtime, fileId: string): Promise<Readable> {
  const file = await state.files.get(SCOPE, fileId);
  if (file === undefined) throw new Error(`the batch has ended without its file ${fileId}`);
  const { blobId: id, bytes, sha256 } = file;
  await blobs.check({ id, bytes, sha256 });
  return blobs.read(id);
}
