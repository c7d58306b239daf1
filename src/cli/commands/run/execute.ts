import { createReadStream } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Runtime } from '../../../app/runtime.ts';
import { type Batch, type BatchEndpoint, isTerminal } from '../../../contract/batch.ts';
import { ApiError } from '../../../contract/error.ts';
import type { Inspection } from '../../../contract/inspection.ts';
import { DEFAULT_RESOURCE_ID, type Scope } from '../../../contract/scope.ts';
import { CliError, EXIT } from '../../process/exit.ts';
import { grouped, note, oneLine } from '../../terminal/print.ts';
import type { Progress, ProgressView } from '../../terminal/progress.ts';
import type { Job } from './job.ts';
import { createNoAnswerWatch } from './no-answer.ts';
import type { RunRecord } from './record.ts';
import { failedRequests, type Source } from './retry.ts';

export const SCOPE: Scope = { resourceId: DEFAULT_RESOURCE_ID, actor: 'cli' };
const POLL_MS = 200;

interface Watch {
  readonly record: RunRecord;
  readonly view: ProgressView;
  readonly stopping: AbortSignal;
  readonly waitForUpstreamMs: number;
}

/** Runs the batch on the engine until it is over or a signal comes. A run that resumes has its batch already. */
export async function execute(
  runtime: Runtime,
  job: Job,
  { record, view, stopping, waitForUpstreamMs }: Watch,
): Promise<Batch | 'stopped'> {
  try {
    const { id } = (await earlierBatch(runtime)) ?? (await submit(runtime, job, record));
    const hasWaitedTooLong = createNoAnswerWatch(waitForUpstreamMs);
    while (!stopping.aborted) {
      const batch = await runtime.state.batches.get(SCOPE, id);
      if (!batch) throw new CliError(`${job.stateDir} is damaged: its batch is gone.`, EXIT.failed);
      const progress = progressOf(runtime, batch);
      view.show(progress);
      if (isTerminal(batch.status)) return batch;
      if (hasWaitedTooLong(progress, performance.now()))
        throw new CliError(nothingAccepted(progress), EXIT.noAnswer);
      await sleep(POLL_MS, undefined, { signal: stopping }).catch(() => {
        // A signal came.
      });
    }
    return 'stopped';
  } catch (error) {
    if (!(error instanceof ApiError)) throw error;
    throw new CliError(error.message, EXIT.failed, { cause: error });
  }
}

const nothingAccepted = ({ waiting }: Progress): string =>
  `the upstream answers nothing. ${oneLine(waiting ?? '').replace(/([^.!?])$/, '$1.')} ` +
  'No request was lost: the same command goes on from here. --wait-for-upstream TIME waits longer.';

/** The batch of an earlier process of this run. The engine went on with it when it opened the data directory. */
async function earlierBatch(runtime: Runtime): Promise<Batch | undefined> {
  const found = await runtime.state.batches.list(SCOPE, {
    orderBy: { field: 'created_at', direction: 'desc' },
    limit: 1,
  });
  const batch = found === 'unknown_after' ? undefined : found.batches[0];
  if (batch && !isTerminal(batch.status)) {
    const done = batch.counts.completed + batch.counts.failed;
    note(`Going on with an earlier run: ${grouped(done)} of ${grouped(batch.counts.total)} are done.`);
  }
  return batch;
}

async function submit(runtime: Runtime, job: Job, record: RunRecord): Promise<Batch> {
  const source: Source = record.retrying
    ? await failedRequests(job, record)
    : { path: job.input.path, sha256: job.sent.input_sha256, inspection: job.inspection };
  const file = await runtime.uploader.uploadFile(SCOPE, {
    filename: 'input.jsonl',
    purpose: 'batch',
    chunks: createReadStream(source.path),
    expiresAfterS: null,
  });
  if (source.sha256 !== null && file.sha256 !== source.sha256) {
    const message = `${job.input.name} changed while it was read. Start again when it is complete.`;
    throw new CliError(message, EXIT.usage);
  }
  await runtime.state.files.saveInspection(SCOPE, file.id, source.inspection);
  const { batch } = await runtime.engine.createBatch(SCOPE, {
    inputFileId: file.id,
    endpoint: endpointOf(source.inspection),
    dialect: 'azure',
    metadata: null,
    outputExpiresAfterS: null,
  });
  return batch;
}

function endpointOf({ groups }: Inspection): BatchEndpoint {
  const [first] = groups;
  if (first === undefined) throw new CliError('No line of the input has a url.', EXIT.faultyInput);
  return first.url;
}

function progressOf(runtime: Runtime, batch: Batch): Progress {
  const live = runtime.engine.progress(batch);
  return {
    status: batch.status,
    ...batch.counts,
    requestsPerSecond: live?.requestsPerSecond ?? null,
    etaS: live?.etaS ?? null,
    waiting: live?.waiting ?? null,
    endsByItself: live?.endsByItself ?? false,
  };
}
