import { stat } from 'node:fs/promises';
import { openRun } from '../../../app.ts';
import { type AppConfig, resolveConfig } from '../../../config/config.ts';
import type { Values } from '../../../config/sections.ts';
import type { Batch } from '../../../contract/batch.ts';
import { ApiError } from '../../../contract/error.ts';
import { createLog, type Log } from '../../../core/log.ts';
import { withInput } from '../../local-files/input.ts';
import { faultReport, faultsIn } from '../../local-files/inspect.ts';
import { probeTarget, type Target } from '../../local-files/target.ts';
import { configure, type TableFlags } from '../../process/configure.ts';
import { CliError, die, EXIT, type ExitCode } from '../../process/exit.ts';
import { stopSignal } from '../../process/signals.ts';
import { isDiskFull, toCliError } from '../../process/store-error.ts';
import { byteSize, note, oneLine, printJson } from '../../terminal/print.ts';
import { createProgressView, type ProgressView } from '../../terminal/progress.ts';
import { execute } from './execute.ts';
import { dataDirOf, type Job, prepareJob, type RunFlags } from './job.ts';
import { outcomeOf, reportOutcome } from './outcome.ts';
import { readRecord, type RunRecord } from './record.ts';
import { writeResults } from './results.ts';
import { claimDirectory, isTaken, markFinished, type Plan, planOf } from './resume.ts';
import { probeUpstream } from './upstream-probe.ts';

/** Requests in flight are paid for. A person who presses Ctrl-C waits less long than a system that sends SIGTERM. */
const DRAIN_MS = { SIGINT: 5_000, SIGTERM: 30_000 } as const;

/** Runs a whole batch without a service, on the service's own engine. `resume.ts` says how it goes on after a stop. */
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
    // With --force nothing depends on the record, which may be damaged.
    const record = flags.force ? undefined : await readRecord(job.stateDir);
    const plan = await planOf(job, record, flags);
    if (plan.kind === 'finished') {
      return reportOutcome(job, plan.record.finished, { json: flags.json, alreadyFinished: true });
    }
    return runPlan(job, plan, { values, flags }).catch((error: unknown) => {
      throw withNextStep(error, { job, values });
    });
  });
}

const NO_UPSTREAM =
  'run needs an upstream that answers: --upstream URL, such as --upstream http://127.0.0.1:8000/v1. ' +
  'With --upstream simulator the answers are invented.';

async function runPlan(
  job: Job,
  plan: Exclude<Plan, { kind: 'finished' }>,
  { values, flags }: { readonly values: Values; readonly flags: RunFlags },
): Promise<ExitCode> {
  const startedMs = performance.now();
  await probeTarget(job.output);
  await probeTarget(job.errors);
  const { isSimulator, doubt } = await probeUpstream(job, { apiKey: values.upstreamApiKey });
  if (doubt !== null) note(`The upstream ${doubt}`);
  if (isSimulator) note('The answers are simulated: no model is asked.');
  const record = await claimDirectory(job, plan, flags);
  const batch = await runUntilEnded(job, record, values);
  if (batch === 'stopped') {
    note(`Stopped. The same command goes on from here; the answers so far are kept in ${job.stateDir}.`);
    return EXIT.interrupted;
  }
  if (batch.status !== 'completed') throw new CliError(whyNot(batch), EXIT.failed);
  const seconds = (performance.now() - startedMs) / 1000;
  const outcome = {
    ...outcomeOf(batch, { seconds, simulated: isSimulator, earlier: record.finished }),
    output_bytes: await bytesOf(job.output),
  };
  await markFinished(job, { ...record, finished: outcome, retrying: false });
  return reportOutcome(job, outcome, { json: flags.json, alreadyFinished: false });
}

/** A signal lets requests in flight finish, and ends the run. */
async function runUntilEnded(job: Job, record: RunRecord, values: Values): Promise<Batch | 'stopped'> {
  const view = createProgressView();
  const stop = { signal: null as NodeJS.Signals | null };
  const stopping = new AbortController();
  void stopSignal((signal) => {
    stop.signal = signal;
    stopping.abort();
    view.end();
    const seconds = drainMs(signal) / 1000;
    note(`stopping: requests in flight get ${seconds} s to finish; again (Ctrl-C) to end now`);
  }, EXIT.interrupted);
  const { retrying, finished } = record;
  const runtime = await openRun(configOf(job, values), {
    log: troubleLog(view),
    onFatal: die,
    acceptedBefore: retrying && finished !== null && finished.request_counts.completed > 0,
  });
  try {
    const { waitForUpstreamMs } = values;
    const batch = await execute(runtime, job, { record, view, stopping: stopping.signal, waitForUpstreamMs });
    view.end();
    if (batch !== 'stopped' && batch.status === 'completed') {
      await writeResults(runtime, job, { batch, record, signal: stopping.signal });
    }
    return batch;
  } catch (error) {
    if (!stopping.signal.aborted) throw error;
    return 'stopped';
  } finally {
    view.end();
    await runtime.close({ drainMs: drainMs(stop.signal) });
  }
}

const drainMs = (signal: NodeJS.Signals | null): number =>
  signal === 'SIGINT' ? DRAIN_MS.SIGINT : DRAIN_MS.SIGTERM;

function configOf(job: Job, values: Values): AppConfig {
  const name = job.inspection.model ?? '';
  return resolveConfig({
    ...values,
    dataDir: dataDirOf(job),
    database: null,
    // The directory belongs to this run alone.
    adopt: true,
    ballastBytes: 0,
    deployments: [{ name, model: job.sent.model }],
  });
}

/** Warnings and errors alone: a person at the terminal reads them. */
const troubleLog = (view: ProgressView): Log =>
  createLog(({ level, message, fields }) => {
    if (level !== 'warn' && level !== 'error') return;
    view.say([message, ...fields.map(([, value]) => oneLine(String(value)))].join(': '));
  });

function whyNot({ status, errors }: Batch): string {
  const faults = (errors?.data ?? []).map(({ message }) => `\n  ${message}`);
  return `the batch is ${status}.${faults.join('')}\n  --force starts it again from the beginning.`;
}

const bytesOf = async (target: Target): Promise<number | null> =>
  target.kind === 'file' ? (await stat(target.realPath)).size : null;

/** Says what the user can do about a directory that is in use or damaged, or about a full disk. */
function withNextStep(
  error: unknown,
  { job, values }: { readonly job: Job; readonly values: Values },
): unknown {
  const { stateDir } = job;
  if (isTaken(error)) {
    const text = `another run is under way there: ${dataDirOf(job)} is in use. Wait for it, or name another output with -o.`;
    return new CliError(text, EXIT.failed, { cause: error });
  }
  const cause = error instanceof CliError ? error.cause : error;
  if (isDiskFull(cause) || (cause instanceof ApiError && cause.code === 'diskFull')) {
    const text =
      `the disk of ${stateDir} is full, or nearly: ${byteSize(values.diskReserveBytes)} must be free for the answers. ` +
      'Free some space, and give the same command again.';
    return new CliError(text, EXIT.failed, { cause: error });
  }
  const known = toCliError(error);
  if (known === error || !(known instanceof CliError)) return error;
  const text = `${known.message}. Without it, --force sends everything again.`;
  return new CliError(text, known.exitCode, { cause: error });
}
