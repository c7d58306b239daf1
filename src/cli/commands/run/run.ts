import { createReadStream } from 'node:fs';
import { open, rm, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { setTimeout as sleep } from 'node:timers/promises';
import { type Core, openLocalCore } from '../../../app.ts';
import { type AppConfig, resolveConfig } from '../../../config/config.ts';
import type { Values } from '../../../config/sections.ts';
import { type Batch, type BatchEndpoint, isTerminal } from '../../../contract/batch.ts';
import { ApiError } from '../../../contract/error.ts';
import type { Inspection } from '../../../contract/inspection.ts';
import { DEFAULT_RESOURCE_ID, type Scope } from '../../../contract/scope.ts';
import { DataDirError } from '../../../core/data-dir.ts';
import { createLog, type Log } from '../../../core/log.ts';
import { withInput } from '../../local-files/input.ts';
import { faultReport, faultsIn, inspectChunks } from '../../local-files/inspect.ts';
import { probeTarget, type Target, UnwrittenError, writeTarget } from '../../local-files/target.ts';
import { configure, type TableFlags } from '../../process/configure.ts';
import { CliError, die, EXIT, type ExitCode } from '../../process/exit.ts';
import { stopSignal } from '../../process/signals.ts';
import { isDiskFull, toCliError } from '../../process/store-error.ts';
import { reasonOf } from '../../process/system-error.ts';
import { byteSize, grouped, note, oneLine, printJson } from '../../terminal/print.ts';
import { createProgressView, type Progress, type ProgressView } from '../../terminal/progress.ts';
import { dataDirOf, giveUp, type Job, type Plan, planOf, prepareJob, type RunFlags } from './job.ts';
import { createNoAnswerWatch } from './no-answer.ts';
import { outcomeOf, tellOutcome } from './outcome.ts';
import { createRecord, readRecord, replaceRecord, type RunRecord } from './record.ts';
import { failedIds, linesToRetry, mergeAnswers } from './retry.ts';
import { probeUpstream } from './upstream-probe.ts';

const SCOPE: Scope = { resourceId: DEFAULT_RESOURCE_ID, actor: 'cli' };
const LOOK_EVERY_MS = 200;
/** What is in flight is paid for; a person who presses Ctrl-C waits less long than a system that sends SIGTERM. */
const DRAIN_MS = { SIGINT: 5_000, SIGTERM: 30_000 } as const;

/** A whole batch without a server, on the service's own engine. */
export async function runBatch(path: string, table: TableFlags, flags: RunFlags): Promise<ExitCode> {
  const { values } = await configure('run', table);
  const { upstream } = values;
  if (upstream === null) throw new CliError(NO_UPSTREAM, EXIT.usage);
  return withInput(path, async (input) => {
    const job = await prepareJob(input, flags, upstream);
    const faults = faultsIn(job.inspection);
    if (faults) {
      if (flags.json) {
        printJson({ status: 'failed', errors: faults.data, errors_omitted: faults.omitted });
      }
      note(faultReport(input.name, job.inspection, { all: flags.all ?? false }));
      return EXIT.faultyInput;
    }
    // With --force nothing depends on it, also where it cannot be read.
    const record = flags.force ? undefined : await readRecord(job.stateDir);
    const plan = await planOf(job, record, flags);
    if (plan.kind !== 'finished') {
      return runPlan(job, plan, { values, upstream, flags }).catch((error: unknown) => {
        throw told(error, { job, values });
      });
    }
    const outcome = plan.record.finished;
    tellOutcome(job, outcome, { json: flags.json ?? false, alreadyFinished: true });
    return outcome.request_counts.failed === 0 ? EXIT.ok : EXIT.failed;
  });
}

/** A disk without room, or a directory that was damaged since, in a sentence with the way on. */
function told(
  error: unknown,
  { job: { stateDir }, values }: { readonly job: Job; readonly values: Values },
): unknown {
  const cause = error instanceof CliError ? error.cause : error;
  if (isDiskFull(cause) || (cause instanceof ApiError && cause.code === 'diskFull')) {
    const text =
      `the disk of ${stateDir} is full, or nearly: ${byteSize(values.diskReserveBytes)} must be free for the answers. ` +
      'Make room, and give the same command again.';
    return new CliError(text, EXIT.failed, { cause: error });
  }
  const known = toCliError(error);
  if (known === error || !(known instanceof CliError)) return error;
  const text = `${known.message}. Without it, --force sends everything again.`;
  return new CliError(text, known.exitCode, { cause: error });
}

const NO_UPSTREAM =
  'run needs an upstream that answers: --upstream URL, such as --upstream http://127.0.0.1:8000/v1. ' +
  'With --upstream simulator the answers are invented.';

interface Given {
  readonly values: Values;
  readonly upstream: string;
  readonly flags: RunFlags;
}

async function runPlan(job: Job, plan: Exclude<Plan, { kind: 'finished' }>, given: Given): Promise<ExitCode> {
  const startedMs = performance.now();
  const { values, upstream, flags } = given;
  await probeTarget(job.output);
  await probeTarget(job.errors);
  const { isSimulator, doubt } = await probeUpstream(upstream, {
    apiKey: values.upstreamApiKey,
    model: job.sent.model,
  });
  if (doubt !== null) note(`The upstream ${doubt}`);
  if (isSimulator) note('The answers are simulated: no model is asked.');
  const record = await claim(job, plan, flags);
  const view = createProgressView();
  const stop = { signal: null as NodeJS.Signals | null };
  const stopping = new AbortController();
  void stopSignal({
    exitCode: EXIT.interrupted,
    onFirst: (signal) => {
      stop.signal = signal;
      stopping.abort();
      view.end();
      const seconds = drainMs(signal) / 1000;
      note(`stopping: requests in flight get ${seconds} s to finish; again (Ctrl-C) to end now`);
    },
  });
  const core = await openState(configOf(job, values), { view, record });
  let batch: Batch | 'stopped';
  try {
    batch = await finish(core, job, { record, view, stopping: stopping.signal, values });
    view.end();
    if (batch !== 'stopped' && batch.status === 'completed') {
      await writeResults(core, job, { batch, record, signal: stopping.signal });
    }
  } catch (error) {
    if (!stopping.signal.aborted) throw error;
    batch = 'stopped';
  } finally {
    view.end();
    await core.close({ drainMs: drainMs(stop.signal) });
  }
  if (batch === 'stopped') {
    note(`Stopped. The same command goes on from here; what is done is kept in ${job.stateDir}.`);
    return EXIT.interrupted;
  }
  if (batch.status !== 'completed') throw new CliError(whyNot(batch), EXIT.failed);
  const seconds = (performance.now() - startedMs) / 1000;
  const outcome = {
    ...outcomeOf(batch, { seconds, simulated: isSimulator, earlier: record.finished }),
    output_bytes: await bytesOf(job.output),
  };
  await markFinished(job, { ...record, finished: outcome, retrying: false });
  tellOutcome(job, outcome, { json: flags.json ?? false, alreadyFinished: false });
  return outcome.request_counts.failed === 0 ? EXIT.ok : EXIT.failed;
}

const drainMs = (signal: NodeJS.Signals | null): number =>
  signal === 'SIGINT' ? DRAIN_MS.SIGINT : DRAIN_MS.SIGTERM;

/** From here on the directory belongs to this run, so that it never goes on with the results of another one. */
async function claim(job: Job, plan: Plan, flags: RunFlags): Promise<RunRecord> {
  const { stateDir, sent } = job;
  try {
    if (plan.kind === 'resume') {
      if (plan.record.finished) note('Going on with sending the failed requests again.');
      return plan.record;
    }
    if (plan.kind === 'retry') {
      const record = { ...plan.record, retrying: true };
      await replaceRecord(stateDir, record);
      return record;
    }
    if (flags.force || (await readRecord(stateDir))) await giveUp(job);
    const made = await createRecord(stateDir, { sent, finished: null, retrying: false });
    if (JSON.stringify(made.sent) === JSON.stringify(sent)) return made;
  } catch (error) {
    if (error instanceof CliError) throw error;
    const taken = error instanceof DataDirError ? takenText(error, dataDirOf(job)) : null;
    if (taken !== null) throw new CliError(taken, EXIT.failed, { cause: error });
    const reason = error instanceof DataDirError ? error.message : reasonOf(error);
    throw new CliError(`${stateDir} cannot be written: ${reason}`, EXIT.usage, { cause: error });
  }
  throw new CliError(`${stateDir} was just taken by another run.`, EXIT.usage);
}

const bytesOf = async (target: Target): Promise<number | null> =>
  target.kind === 'file' ? (await stat(target.realPath)).size : null;

/** Where the output is a file, the directory stays beside it and tells that nothing is left to send. */
async function markFinished(job: Job, record: RunRecord): Promise<void> {
  if (job.output.kind !== 'file') return rm(job.stateDir, { recursive: true });
  await replaceRecord(job.stateDir, record);
  await rm(dataDirOf(job), { recursive: true });
  await rm(retryInputOf(job), { force: true });
}

const retryInputOf = ({ stateDir }: Job): string => join(stateDir, 'retry.jsonl');

function configOf(job: Job, values: Values): AppConfig {
  const name = job.inspection.model ?? '';
  return resolveConfig({
    ...values,
    dataDir: dataDirOf(job),
    database: null,
    // Nobody else has anything to do with the directory.
    adopt: true,
    ballastBytes: 0,
    deployments: [{ name, model: job.sent.model }],
  });
}

async function openState(
  config: AppConfig,
  { view, record: { retrying, finished } }: { readonly view: ProgressView; readonly record: RunRecord },
): Promise<Core> {
  const acceptedBefore = retrying && finished !== null && finished.request_counts.completed > 0;
  try {
    return await openLocalCore(config, { log: troubleLog(view), onFatal: die, acceptedBefore });
  } catch (error) {
    const taken = error instanceof DataDirError ? takenText(error, config.dataDir) : null;
    throw taken === null ? error : new CliError(taken, EXIT.failed, { cause: error });
  }
}

const takenText = ({ message }: DataDirError, dir: string): string | null =>
  message.includes('is using the data directory')
    ? `another run is under way there: ${dir} is in use. Wait for it, or name another output with -o.`
    : null;

interface Watch {
  readonly record: RunRecord;
  readonly view: ProgressView;
  readonly stopping: AbortSignal;
  readonly values: Values;
}

/** Until the batch is over or a signal comes. */
async function finish(
  core: Core,
  job: Job,
  { record, view, stopping, values }: Watch,
): Promise<Batch | 'stopped'> {
  try {
    const { id } = (await unfinished(core)) ?? (await submit(core, job, record));
    const isHopeless = createNoAnswerWatch(values.waitForUpstreamMs);
    while (!stopping.aborted) {
      const batch = await core.state.batches.get(SCOPE, id);
      if (!batch) throw new CliError(`${job.stateDir} is damaged: its batch is gone.`, EXIT.failed);
      const progress = progressOf(core, batch);
      view.show(progress);
      if (isTerminal(batch.status)) return batch;
      if (isHopeless(progress, performance.now()))
        throw new CliError(nothingAccepted(progress), EXIT.noAnswer);
      await sleep(LOOK_EVERY_MS, undefined, { signal: stopping }).catch(() => {
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

/** What an earlier process of the same run left; the engine is at it already. */
async function unfinished(core: Core): Promise<Batch | undefined> {
  const found = await core.state.batches.list(SCOPE, {
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

interface Source {
  readonly path: string;
  readonly sha256: string | null;
  readonly inspection: Inspection;
}

async function submit(core: Core, job: Job, record: RunRecord): Promise<Batch> {
  const source: Source = record.retrying
    ? await failedRequests(job, record)
    : { path: job.input.path, sha256: job.sent.input_sha256, inspection: job.inspection };
  const file = await core.uploader.uploadFile(SCOPE, {
    filename: 'input.jsonl',
    purpose: 'batch',
    chunks: createReadStream(source.path),
    expiresAfterS: null,
  });
  if (source.sha256 !== null && file.sha256 !== source.sha256) {
    const message = `${job.input.name} changed while it was read. Start again when it is complete.`;
    throw new CliError(message, EXIT.usage);
  }
  await core.state.files.saveInspection(SCOPE, file.id, source.inspection);
  const { batch } = await core.engine.createBatch(SCOPE, {
    inputFileId: file.id,
    endpoint: endpointOf(source.inspection),
    dialect: 'azure',
    metadata: null,
    outputExpiresAfterS: null,
  });
  return batch;
}

/** The lines of the input whose requests failed, as an input of its own. */
async function failedRequests(job: Job, { finished }: RunRecord): Promise<Source> {
  const { errors } = job;
  const expected = finished?.request_counts.failed ?? 0;
  if (errors.kind !== 'file') {
    throw new CliError(`${errors.path} is no file, so it does not tell what failed.`, EXIT.usage);
  }
  const ids = await failedIds(errors.realPath).catch((error: unknown) => {
    if (error instanceof CliError) throw error;
    throw new CliError(`${errors.path} cannot be read: ${reasonOf(error)}.`, EXIT.usage, { cause: error });
  });
  if (ids.size !== expected) {
    throw new CliError(
      `${errors.path} is not what the run wrote: it tells ${grouped(ids.size)} failed requests, and there were ` +
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

function endpointOf({ groups }: Inspection): BatchEndpoint {
  const [first] = groups;
  if (first === undefined) throw new CliError('No line of the input has a url.', EXIT.faultyInput);
  return first.url;
}

function progressOf(core: Core, { status, counts, ...batch }: Batch): Progress {
  const live = core.engine.progress({ status, counts, ...batch });
  return {
    status,
    ...counts,
    requestsPerSecond: live?.requestsPerSecond ?? null,
    etaS: live?.etaS ?? null,
    waiting: live?.waiting ?? null,
    endsByItself: live?.endsByItself ?? false,
  };
}

interface Ended {
  readonly batch: Batch;
  readonly record: RunRecord;
  readonly signal: AbortSignal;
}

/** Errors before answers: where the output is, everything is. A retry first proves that it may replace the output. */
async function writeResults(core: Core, job: Job, { batch, record, signal }: Ended): Promise<void> {
  const { output, errors, input, stateDir } = job;
  const options = { signal, partDir: stateDir };
  const partDirOf = (target: Job['errors']) =>
    target.kind === 'file' && `${target.realPath}.offpeak` === stateDir ? options : { signal };
  const failed = () => readFileOf(core, batch.errorFileId);
  const answers = () => readFileOf(core, batch.outputFileId);
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

async function readFileOf({ state, blobs }: Core, fileId: string): Promise<Readable> {
  const file = await state.files.get(SCOPE, fileId);
  if (file === undefined) throw new Error(`the batch has ended without its file ${fileId}`);
  const { blobId: id, bytes, sha256 } = file;
  await blobs.check({ id, bytes, sha256 });
  return blobs.read(id);
}

function whyNot({ status, errors }: Batch): string {
  const faults = (errors?.data ?? []).map(({ message }) => `\n  ${message}`);
  return `the batch is ${status}.${faults.join('')}\n  --force starts it again from the beginning.`;
}

/** Only what a person at the terminal should know. */
const troubleLog = (view: ProgressView): Log =>
  createLog(({ level, message, fields }) => {
    if (level !== 'warn' && level !== 'error') return;
    view.say([message, ...fields.map(([, value]) => oneLine(String(value)))].join(': '));
  });
