/**
 * How `run` resumes. Beside its output a run has a directory, `OUTPUT.offpeak`. In it is the record, `run.json`: which
 * input, model and upstream, and how the run ended. While the run is unfinished, the engine's data directory is there
 * too. `planOf` compares the record with what the user asks for now:
 *
 * - No record: the run is fresh, unless the output already holds answers.
 * - An unfinished record, as a crash or Ctrl-C leaves it: resume. The engine finds its batch in the data directory and sends
 *   only the requests that have no recorded result. If they all have one, it only writes the output.
 * - A finished record, and the output is as it was written: finished. Nothing is sent.
 * - The same with --retry-failed: retry. A second batch sends the failed requests, and its answers are merged into the
 *   output. When a retry is interrupted, the next command resumes it, with or without the flag.
 * - A finished record, and the output was removed: the run is fresh.
 * - The input, the model or the upstream is another one, or the output was changed: refused.
 * - --force: the run is fresh, whatever is there. It is refused only if the directory holds files that no run made.
 *
 * Invariant: `claimDirectory` writes the record before the first request is sent. Without that, a later command could go on
 * with the results of another input.
 */
import { open, readdir, rm } from 'node:fs/promises';
import { DataDirError, openDataDir } from '../../../core/data-dir.ts';
import { CliError, EXIT } from '../../process/exit.ts';
import { codeOf, reasonOf } from '../../process/system-error.ts';
import { grouped, note } from '../../terminal/print.ts';
import { dataDirOf, type Job, retryInputOf, type RunFlags } from './job.ts';
import { createRecord, type Outcome, readRecord, replaceRecord, type RunRecord } from './record.ts';

export type Plan =
  | { readonly kind: 'fresh' }
  | { readonly kind: 'resume'; readonly record: RunRecord }
  | { readonly kind: 'finished'; readonly record: RunRecord & { readonly finished: object } }
  | { readonly kind: 'retry'; readonly record: RunRecord & { readonly finished: object } };

/** Says what is to be done, and writes nothing. */
export async function planOf(
  job: Job,
  record: RunRecord | undefined,
  flags: Pick<RunFlags, 'force' | 'retryFailed'>,
): Promise<Plan> {
  if (flags.force && flags.retryFailed)
    throw new CliError(
      '--retry-failed sends what failed, and --force sends everything: give one of them.',
      EXIT.usage,
    );
  if (flags.force) return { kind: 'fresh' };
  const isOutputThere = job.output.kind === 'file' && job.output.there !== null;
  if (record === undefined || (record.finished && !record.retrying && !isOutputThere)) {
    if (flags.retryFailed) throw new CliError(nothingToRetry(job), EXIT.usage);
    await refuseForeignAnswers(job);
    return { kind: 'fresh' };
  }
  refuseChanges(job, record);
  const { finished } = record;
  if (finished === null || record.retrying) return { kind: 'resume', record };
  refuseChangedOutput(job, finished);
  const isRetry = flags.retryFailed === true && finished.request_counts.failed > 0;
  return { kind: isRetry ? 'retry' : 'finished', record: { ...record, finished } };
}

const nothingToRetry = ({ output }: Job): string =>
  output.kind === 'file'
    ? `there is no finished run at ${output.path} whose failed requests could be sent again.`
    : '--retry-failed needs the output and the errors of the earlier run as files.';

/** Answers of a run that is not known were paid for. They are replaced only when the user says --force. */
async function refuseForeignAnswers({ output }: Job): Promise<void> {
  if (output.kind !== 'file' || !output.there?.bytes) return;
  if (!(await holdsAnswers(output.realPath))) return;
  throw new CliError(
    `${output.path} holds answers already, and no record says of which run. Name another output with -o, ` +
      'or replace it with --force.',
    EXIT.usage,
  );
}

const HEAD_BYTES = 4096;

async function holdsAnswers(path: string): Promise<boolean> {
  const handle = await open(path);
  try {
    const { buffer, bytesRead } = await handle.read({ buffer: Buffer.alloc(HEAD_BYTES) });
    return /^\s*\{[^\n]*"custom_id"\s*:[^\n]*"(response|error)"\s*:/.test(
      buffer.toString('utf8', 0, bytesRead),
    );
  } finally {
    await handle.close();
  }
}

function refuseChanges({ sent, output, input, stateDir }: Job, record: RunRecord): void {
  const name = output.kind === 'file' ? output.path : stateDir;
  const what = record.finished === null ? 'an unfinished run' : 'the answers of a run';
  const change =
    sent.input_sha256 !== record.sent.input_sha256
      ? `over another input than ${input.name}`
      : sent.model !== record.sent.model
        ? `with model '${record.sent.model}', not '${sent.model}'`
        : sent.upstream !== record.sent.upstream
          ? `with upstream ${record.sent.upstream}, not ${sent.upstream}`
          : null;
  if (change === null) return;
  throw new CliError(
    `${name} holds ${what} ${change}. Give the same command again, name another output with -o, ` +
      'or give up what is there with --force.',
    EXIT.usage,
  );
}

/** A run whose output was cut or emptied since is not finished for its user. */
function refuseChangedOutput({ output }: Job, { output_bytes: written }: Outcome): void {
  if (output.kind !== 'file' || !output.there || written === null || output.there.bytes === written) return;
  throw new CliError(
    `${output.path} was changed since its run was finished: it has ${grouped(output.there.bytes)} bytes, and had ` +
      `${grouped(written)}. Put it back, remove it to start again, or send every request again with --force.`,
    EXIT.usage,
  );
}

/** Writes the record: now the directory belongs to this run. A fresh run first removes what an earlier one left. */
export async function claimDirectory(job: Job, plan: Plan, flags: RunFlags): Promise<RunRecord> {
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
    if (flags.force || (await readRecord(stateDir))) await discardEarlierRun(job);
    const made = await createRecord(stateDir, { sent, finished: null, retrying: false });
    if (JSON.stringify(made.sent) === JSON.stringify(sent)) return made;
  } catch (error) {
    if (error instanceof CliError || isTaken(error)) throw error;
    const reason = error instanceof DataDirError ? error.message : reasonOf(error);
    throw new CliError(`${stateDir} cannot be written: ${reason}`, EXIT.usage, { cause: error });
  }
  throw new CliError(`${stateDir} was just taken by another run.`, EXIT.usage);
}

/** Whether another process has the data directory of the run. */
export const isTaken = (error: unknown): boolean =>
  error instanceof DataDirError && error.message.includes('is using the data directory');

/** Names that a run makes in its directory: the record, the engine's data, and files that are being written. */
const OURS = /^(run\.json(\.\d+)?|data|retry\.jsonl|\.offpeak-[0-9a-f]+\.part)$/;
const OURS_IN_DATA = /^(lock\.db|offpeak\.db|blobs$|pepper|ballast)/;

/** Removes what an earlier run left. Refuses while that run goes on, or if files lie there that no run made. */
async function discardEarlierRun(job: Job): Promise<void> {
  const foreign = [
    ...(await namesIn(job.stateDir)).filter((name) => !OURS.test(name)),
    ...(await namesIn(dataDirOf(job))).filter((name) => !OURS_IN_DATA.test(name)),
  ];
  if (foreign.length > 0) {
    throw new CliError(
      `${job.stateDir} holds files that are not of a run, such as '${foreign[0]}', and --force would remove them. ` +
        'Move them away, or name another output with -o.',
      EXIT.usage,
    );
  }
  const held = await openDataDir(dataDirOf(job));
  held.close();
  await rm(job.stateDir, { recursive: true });
}

const namesIn = (dir: string): Promise<string[]> =>
  readdir(dir).catch((error: unknown) => {
    if (codeOf(error) === 'ENOENT') return [];
    throw error;
  });

/** The record stays beside an output that is a file, and says that nothing is left to send. Everything else is removed. */
export async function markFinished(job: Job, record: RunRecord): Promise<void> {
  if (job.output.kind !== 'file') return rm(job.stateDir, { recursive: true });
  await replaceRecord(job.stateDir, record);
  await rm(dataDirOf(job), { recursive: true });
  await rm(retryInputOf(job), { force: true });
}
