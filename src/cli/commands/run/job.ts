import { createHash } from 'node:crypto';
import { open, readdir, rm } from 'node:fs/promises';
import { homedir } from 'node:os';
import { basename, dirname, join, resolve } from 'node:path';
import { INPUT_BYTES_MAX } from '../../../contract/batch.ts';
import type { Inspection } from '../../../contract/inspection.ts';
import { openDataDir } from '../../../core/data-dir.ts';
import type { Input } from '../../local-files/input.ts';
import { inspectChunks } from '../../local-files/inspect.ts';
import { refuseSameTwice, type Target, targetAt } from '../../local-files/target.ts';
import { CliError, EXIT } from '../../process/exit.ts';
import { codeOf } from '../../process/system-error.ts';
import { byteSize, grouped } from '../../terminal/print.ts';
import type { Outcome, RunRecord, Sent } from './record.ts';

export interface RunFlags {
  readonly output?: string;
  readonly errors?: string;
  readonly model?: string;
  /** Send the failed requests of a finished run again. */
  readonly retryFailed?: boolean;
  /** Send everything again, whatever is there. */
  readonly force?: boolean;
  /** Show every fault of the input. */
  readonly all?: boolean;
  readonly json?: boolean;
}

/** A run as its flags and its input make it. */
export interface Job {
  readonly input: Input;
  readonly output: Target;
  readonly errors: Target;
  /** What a killed run goes on from, and what tells a finished one. */
  readonly stateDir: string;
  readonly sent: Sent;
  readonly inspection: Inspection;
}

export async function prepareJob(input: Input, flags: RunFlags, upstream: string): Promise<Job> {
  const outputPath = flags.output ?? (input.isStdin ? '-' : besideInput(input, 'output'));
  const output = await targetAt(outputPath);
  const errors = await targetAt(flags.errors ?? errorsBeside(output, input));
  const hash = createHash('sha256');
  const { inspection, bytes } = await inspectChunks(input, (chunk) => hash.update(chunk));
  if (bytes > INPUT_BYTES_MAX) {
    throw new CliError(
      `${input.name} has ${byteSize(bytes)}; a batch takes at most ${byteSize(INPUT_BYTES_MAX)}. Split it.`,
      EXIT.faultyInput,
    );
  }
  const sha256 = hash.digest('hex');
  const stateDir = stateDirOf(output, sha256);
  refuseSameTwice([
    ...(input.id === null ? [] : ([['The input', { id: input.id }]] as const)),
    ['--output', output],
    ['--errors', errors],
    ['the directory of the run', { id: stateDir }],
  ]);
  const sent = { input_sha256: sha256, model: flags.model ?? inspection.model ?? '', upstream };
  return { input, output, errors, stateDir, sent, inspection };
}

const besideInput = ({ path }: Input, what: string): string =>
  join(dirname(path), `${basename(path, '.jsonl')}.${what}.jsonl`);

function errorsBeside(output: Target, input: Input): string {
  if (output.kind === 'file') return `${output.path.replace(/(\.output)?\.jsonl$/, '')}.errors.jsonl`;
  return input.id === null
    ? `${input.isStdin ? 'stdin' : 'input'}.errors.jsonl`
    : besideInput(input, 'errors');
}

/** Beside the output; where that is no file, below the user's own state, by what the input says. */
function stateDirOf(output: Target, sha256: string): string {
  if (output.kind === 'file') return `${output.realPath}.offpeak`;
  const home = process.env['XDG_STATE_HOME'] || join(homedir(), '.local', 'state');
  return resolve(home, 'offpeak', 'runs', sha256.slice(0, 32));
}

export const dataDirOf = ({ stateDir }: Job): string => join(stateDir, 'data');

export type Plan =
  | { readonly kind: 'start' }
  | { readonly kind: 'resume'; readonly record: RunRecord }
  | { readonly kind: 'finished'; readonly record: RunRecord & { readonly finished: object } }
  | { readonly kind: 'retry'; readonly record: RunRecord & { readonly finished: object } };

/** What is left to do, by what an earlier run left. Writes nothing. */
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
  if (flags.force) return { kind: 'start' };
  const isOutputThere = job.output.kind === 'file' && job.output.there !== null;
  if (record === undefined || (record.finished && !record.retrying && !isOutputThere)) {
    if (flags.retryFailed) throw new CliError(nothingToRetry(job), EXIT.usage);
    await refuseForeignAnswers(job);
    return { kind: 'start' };
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

/** Answers that were paid for, or that nobody knows the run of, are replaced only when asked to. */
async function refuseForeignAnswers({ output }: Job): Promise<void> {
  if (output.kind !== 'file' || !output.there?.bytes) return;
  if (!(await holdsAnswers(output.realPath))) return;
  throw new CliError(
    `${output.path} holds answers already, and nothing tells of which run. Name another output with -o, ` +
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

/** A finished run whose answers are no longer there is not finished for its user. */
function refuseChangedOutput({ output }: Job, { output_bytes: written }: Outcome): void {
  if (output.kind !== 'file' || !output.there || written === null || output.there.bytes === written) return;
  throw new CliError(
    `${output.path} was changed since its run was finished: it has ${grouped(output.there.bytes)} bytes, and had ` +
      `${grouped(written)}. Put it back, remove it to start anew, or send every request again with --force.`,
    EXIT.usage,
  );
}

/** Of `run.json`, the engine's directory, and what is being written. */
const OURS = /^(run\.json(\.\d+)?|data|retry\.jsonl|\.offpeak-[0-9a-f]+\.part)$/;
const OURS_IN_DATA = /^(lock\.db|offpeak\.db|blobs$|pepper|ballast)/;

/** Removes what an earlier run left, unless it is under way, or somebody else's files lie there. */
export async function giveUp(job: Job): Promise<void> {
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
