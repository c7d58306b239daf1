import { createHash } from 'node:crypto';
import { homedir } from 'node:os';
import { basename, dirname, join, resolve } from 'node:path';
import { addressText, type UpstreamAddress } from '../../../config/upstream-address.ts';
import { INPUT_BYTES_MAX } from '../../../contract/batch.ts';
import type { Inspection } from '../../../contract/inspection.ts';
import type { Input } from '../../local-files/input.ts';
import { inspectChunks } from '../../local-files/inspect.ts';
import { refuseSameTwice, type Target, targetAt } from '../../local-files/target.ts';
import { CliError, EXIT } from '../../process/exit.ts';
import { byteSize } from '../../terminal/print.ts';
import type { Sent } from './record.ts';

export interface RunFlags {
  readonly output?: string;
  readonly errors?: string;
  readonly model?: string;
  /** Send the failed requests of a finished run again. */
  readonly retryFailed?: boolean;
  /** Send everything again, whatever an earlier run left. */
  readonly force?: boolean;
  readonly all?: boolean;
  readonly json?: boolean;
}

/** What the flags and the input say of a run. */
export interface Job {
  readonly input: Input;
  readonly output: Target;
  readonly errors: Target;
  /** The directory of the run. `resume.ts` says what is in it. */
  readonly stateDir: string;
  readonly upstream: UpstreamAddress;
  readonly sent: Sent;
  readonly inspection: Inspection;
}

export async function prepareJob(input: Input, flags: RunFlags, upstream: UpstreamAddress): Promise<Job> {
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
  const model = flags.model ?? inspection.model ?? '';
  const sent = { input_sha256: sha256, model, upstream: addressText(upstream) };
  return { input, output, errors, stateDir, upstream, sent, inspection };
}

const besideInput = ({ path }: Input, what: string): string =>
  join(dirname(path), `${basename(path, '.jsonl')}.${what}.jsonl`);

function errorsBeside(output: Target, input: Input): string {
  if (output.kind === 'file') return `${output.path.replace(/(\.output)?\.jsonl$/, '')}.errors.jsonl`;
  return input.id === null
    ? `${input.isStdin ? 'stdin' : 'input'}.errors.jsonl`
    : besideInput(input, 'errors');
}

/** It lies beside an output that is a file, and otherwise in the user's own state directory, under the hash of the input. */
function stateDirOf(output: Target, sha256: string): string {
  if (output.kind === 'file') return `${output.realPath}.offpeak`;
  const home = process.env['XDG_STATE_HOME'] || join(homedir(), '.local', 'state');
  return resolve(home, 'offpeak', 'runs', sha256.slice(0, 32));
}

export const dataDirOf = ({ stateDir }: Job): string => join(stateDir, 'data');

/** The failed requests of the input, while they are sent again. */
export const retryInputOf = ({ stateDir }: Job): string => join(stateDir, 'retry.jsonl');
