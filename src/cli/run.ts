import { createHash } from 'node:crypto';
import { createReadStream } from 'node:fs';
import { link, mkdir, readFile, rm, writeFile } from 'node:fs/promises';
import { basename, dirname, join, resolve } from 'node:path';
import type { Readable } from 'node:stream';
import { setTimeout as sleep } from 'node:timers/promises';
import { openLocalCore, type Core } from '../app.ts';
import { resolveConfig, type AppConfig } from '../config/config.ts';
import type { Values } from '../config/sections.ts';
import { INPUT_BYTES_MAX, isTerminal, type Batch, type BatchEndpoint } from '../contract/batch.ts';
import { ApiError } from '../contract/error.ts';
import type { Inspection } from '../contract/inspection.ts';
import { DEFAULT_RESOURCE_ID, type Scope } from '../contract/scope.ts';
import { DataDirError } from '../core/data-dir.ts';
import { createLog, type Log } from '../core/log.ts';
import { configure } from './configure.ts';
import { CliError, EXIT, type ExitCode } from './exit.ts';
import { createFirstAnswerWatch } from './first-answer.ts';
import { probeUpstream } from './probe.ts';
import type { TableFlags } from './program.ts';
import { createProgressView, shortTime, type Progress } from './progress.ts';
import { die, stopSignal } from './stop.ts';
import { byteSize, grouped, note, oneLine, print, printJson } from './terminal.ts';
import { faultReport, faultsIn, inspectChunks } from './validate.ts';
import { writeWhole } from './write-whole.ts';

export interface RunFlags {
  readonly output?: string;
  readonly errors?: string;
  readonly model?: string;
  readonly json?: boolean;
}

/** A run as its flags and its input make it. */
interface Job {
  readonly input: string;
  readonly output: string;
  readonly errors: string;
  /** Beside the output while the run is unfinished; what a killed run goes on from. */
  readonly stateDir: string;
  readonly sha256: string;
  readonly inspection: Inspection;
}

const SCOPE: Scope = { resourceId: DEFAULT_RESOURCE_ID, actor: 'cli' };
const LOOK_EVERY_MS = 200;
const DRAIN_MS = 30_000;

/** A whole batch without a server, on the service's own engine. */
export async function runBatch(input: string, table: TableFlags, flags: RunFlags): Promise<ExitCode> {
  const startedMs = performance.now();
  const { values } = await configure('run', table);
  const job = await prepare(input, flags);
  const errors = faultsIn(job.inspection);
  if (errors) {
    if (flags.json) printJson({ status: 'failed', errors: errors.data });
    note(faultReport(input, job.inspection));
    return EXIT.usage;
  }
  await probeUpstream(values.upstream ?? 'simulator', values.upstreamApiKey);
  await claimStateDir(job);
  const core = await openState(configOf(job, values, flags));
  let batch: Batch | 'stopped';
  try {
    batch = await finish(core, job);
    if (batch !== 'stopped' && batch.status === 'completed') await writeResults(core, job, batch);
  } finally {
    await core.close({ drainMs: DRAIN_MS });
  }
  if (batch === 'stopped') {
    note(`Stopped. The same command goes on from here; what is done is kept in ${job.stateDir}.`);
    return EXIT.failed;
  }
  if (batch.status !== 'completed') throw new CliError(whyNot(batch), EXIT.failed);
  await rm(job.stateDir, { recursive: true });
  tell(job, batch, { json: flags.json ?? false, seconds: (performance.now() - startedMs) / 1000 });
  return batch.counts.failed === 0 ? EXIT.ok : EXIT.failed;
}

async function prepare(input: string, flags: RunFlags): Promise<Job> {
  const output = flags.output ?? join(dirname(input), `${basename(input, '.jsonl')}.output.jsonl`);
  const errors = flags.errors ?? `${output.replace(/(\.output)?\.jsonl$/, '')}.errors.jsonl`;
  if (new Set([input, output, errors].map((path) => resolve(path))).size < 3) {
    throw new CliError('The input, --output and --errors must be three different files.', EXIT.usage);
  }
  const hash = createHash('sha256');
  const { inspection, bytes } = await inspectChunks(input, (chunk) => hash.update(chunk));
  if (bytes > INPUT_BYTES_MAX) {
    const limit = byteSize(INPUT_BYTES_MAX);
    throw new CliError(
      `${input} has ${byteSize(bytes)}; a batch takes at most ${limit}. Split it.`,
      EXIT.usage,
    );
  }
  return { input, output, errors, stateDir: `${output}.offpeak`, sha256: hash.digest('hex'), inspection };
}

/** Binds the directory to the input, so that a run never goes on with the results of another one. */
async function claimStateDir({ stateDir, input, sha256 }: Job): Promise<void> {
  try {
    await mkdir(stateDir, { recursive: true, mode: 0o700 });
    const file = join(stateDir, 'input.sha256');
    const own = `${file}.${process.pid}`;
    await writeFile(own, sha256);
    // A link appears whole, and only once.
    await link(own, file).catch((error: NodeJS.ErrnoException) => {
      if (error.code !== 'EEXIST') throw error;
    });
    await rm(own);
    if ((await readFile(file, 'utf8')) === sha256) return;
  } catch (error) {
    throw new CliError(`${stateDir} cannot be written: ${String(error)}`, EXIT.usage, { cause: error });
  }
  throw new CliError(
    `${stateDir} holds an unfinished run over another input than ${input}. ` +
      'Finish it with that input, name another output with -o, or remove the directory to give it up.',
    EXIT.usage,
  );
}

function configOf({ stateDir, inspection }: Job, values: Values, { model }: RunFlags): AppConfig {
  const name = inspection.model ?? '';
  return resolveConfig({
    ...values,
    dataDir: stateDir,
    database: null,
    // Nobody else has anything to do with the directory.
    adopt: true,
    ballastBytes: 0,
    deployments: [{ name, model: model ?? name }],
  });
}

function openState(config: AppConfig): Promise<Core> {
  return openLocalCore(config, { log: troubleLog, onFatal: die }).catch((error: unknown) => {
    if (!(error instanceof DataDirError)) throw error;
    throw new CliError(error.message, EXIT.failed, { cause: error });
  });
}

/** Until the batch is over or a signal comes. */
async function finish(core: Core, job: Job): Promise<Batch | 'stopped'> {
  const stopping = new AbortController();
  void stopSignal().then(() => stopping.abort());
  const view = createProgressView();
  try {
    const { id } = (await unfinished(core)) ?? (await submit(core, job));
    const isHopeless = createFirstAnswerWatch();
    while (true) {
      const batch = await core.state.batches.get(SCOPE, id);
      if (!batch) throw new CliError(`${job.stateDir} is damaged: its batch is gone.`, EXIT.failed);
      const progress = progressOf(core, batch);
      view.show(progress);
      if (isTerminal(batch.status)) return batch;
      if (isHopeless(progress, performance.now())) {
        const message = `nothing gets an answer. ${progress.waiting ?? ''} The same command goes on from here.`;
        throw new CliError(oneLine(message), EXIT.unreachable);
      }
      await sleep(LOOK_EVERY_MS, undefined, { signal: stopping.signal }).catch(() => {
        // A signal came.
      });
      if (stopping.signal.aborted) return 'stopped';
    }
  } catch (error) {
    if (!(error instanceof ApiError)) throw error;
    throw new CliError(error.message, EXIT.failed, { cause: error });
  } finally {
    view.end();
  }
}

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

async function submit(core: Core, { input, sha256, inspection }: Job): Promise<Batch> {
  const file = await core.uploader.uploadFile(SCOPE, {
    filename: 'input.jsonl',
    purpose: 'batch',
    chunks: createReadStream(input),
    expiresAfterS: null,
  });
  if (file.sha256 !== sha256) {
    throw new CliError(`${input} changed while it was read. Start again when it is complete.`, EXIT.usage);
  }
  await core.state.files.saveInspection(SCOPE, file.id, inspection);
  const { batch } = await core.engine.createBatch(SCOPE, {
    inputFileId: file.id,
    endpoint: endpointOf(inspection),
    dialect: 'azure',
    metadata: null,
    outputExpiresAfterS: null,
  });
  return batch;
}

function endpointOf({ urls }: Inspection): BatchEndpoint {
  const [first] = urls;
  if (first === undefined) throw new CliError('No line of the input has a url.', EXIT.usage);
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
  };
}

/** Errors first: where the output is, everything is. */
async function writeResults(core: Core, { output, errors }: Job, batch: Batch): Promise<void> {
  await writeWhole(errors, await readFileOf(core, batch.errorFileId));
  await writeWhole(output, await readFileOf(core, batch.outputFileId));
}

async function readFileOf({ state, blobs }: Core, fileId: string): Promise<Readable> {
  const file = await state.files.get(SCOPE, fileId);
  if (file === undefined) throw new Error(`the batch has ended without its file ${fileId}`);
  return blobs.read(file.blobId);
}

function whyNot({ status, errors }: Batch): string {
  const faults = (errors?.data ?? []).map(({ message }) => `\n  ${message}`);
  return `the batch is ${status}.${faults.join('')}`;
}

function tell(
  { output, errors }: Job,
  { counts, usage, retries, resent }: Batch,
  { json, seconds }: { json: boolean; seconds: number },
): void {
  if (json) {
    printJson({
      status: 'completed',
      request_counts: counts,
      usage: { input_tokens: usage.inputTokens, output_tokens: usage.outputTokens },
      retries,
      resent_requests: resent,
      output,
      errors,
      seconds: Math.round(seconds * 10) / 10,
    });
    return;
  }
  print(`${grouped(counts.completed)} answered  ${output}`);
  if (counts.failed > 0) print(`${grouped(counts.failed)} failed    ${errors}`);
  const extra = [
    `${shortTime(seconds)}`,
    `${grouped(usage.inputTokens)} tokens in`,
    `${grouped(usage.outputTokens)} out`,
    ...(retries > 0 ? [`${grouped(retries)} calls repeated`] : []),
    ...(resent > 0 ? [`at most ${grouped(resent)} sent again after a stop`] : []),
  ];
  note(extra.join(', '));
}

/** Only what a person at the terminal should know. */
const troubleLog: Log = createLog(({ level, message, fields }) => {
  if (level !== 'warn' && level !== 'error') return;
  note([message, ...fields.map(([, value]) => oneLine(String(value)))].join(': '));
});
