import type { Batch } from '../../../contract/batch.ts';
import type { Target } from '../../local-files/target.ts';
import { EXIT, type ExitCode } from '../../process/exit.ts';
import { grouped, note, print } from '../../terminal/print.ts';
import { shortTime } from '../../terminal/progress.ts';
import type { Job } from './job.ts';
import type { Outcome } from './record.ts';

/** How the run ended. After a retry it has the sums of `earlier` and of what was sent again. */
export function outcomeOf(
  { counts, usage, retries, resent }: Batch,
  { seconds, simulated, earlier }: { seconds: number; simulated: boolean; earlier: Outcome | null },
): Omit<Outcome, 'output_bytes'> {
  return {
    request_counts: earlier
      ? {
          total: earlier.request_counts.total,
          completed: earlier.request_counts.completed + counts.completed,
          failed: counts.failed,
        }
      : { ...counts },
    usage: {
      input_tokens: usage.inputTokens + (earlier?.usage.input_tokens ?? 0),
      output_tokens: usage.outputTokens + (earlier?.usage.output_tokens ?? 0),
    },
    retries: retries + (earlier?.retries ?? 0),
    resent_requests: resent + (earlier?.resent_requests ?? 0),
    simulated: simulated || (earlier?.simulated ?? false),
    seconds: Math.round(seconds * 10) / 10,
  };
}

/** Says how the run ended, on standard output unless the answers went there. Returns the exit code. */
export function reportOutcome(
  { output, errors }: Job,
  outcome: Outcome,
  {
    json = false,
    alreadyFinished,
  }: { readonly json: boolean | undefined; readonly alreadyFinished: boolean },
): ExitCode {
  const { completed, failed } = outcome.request_counts;
  const exitCode = failed === 0 ? EXIT.ok : EXIT.failed;
  const say = [output, errors].some(({ kind }) => kind === 'stdout') ? note : print;
  if (json) {
    const paths = { output: output.path, errors: errors.path };
    const shown = { status: 'completed', ...outcome, ...paths, already_finished: alreadyFinished };
    say(JSON.stringify(shown, null, process.stdout.isTTY ? 2 : 0));
    return exitCode;
  }
  say(`${grouped(completed)} answered  ${nameOf(output)}`);
  if (failed > 0) say(`${grouped(failed)} failed    ${nameOf(errors)}`);
  if (alreadyFinished) {
    const retry = failed > 0 ? '--retry-failed sends the failed requests again. ' : '';
    note(`Finished before: nothing was sent. ${retry}--force sends everything again.`);
    return exitCode;
  }
  const { usage, retries, resent_requests: resent, seconds, simulated } = outcome;
  const facts = [
    shortTime(seconds),
    `${grouped(usage.input_tokens)} tokens in`,
    `${grouped(usage.output_tokens)} out`,
    ...(retries > 0 ? [`${grouped(retries)} calls repeated`] : []),
    ...(resent > 0 ? [`at most ${grouped(resent)} sent again after a stop`] : []),
  ];
  note(`${facts.join(', ')}${simulated ? '. The answers are simulated' : ''}`);
  return exitCode;
}

const nameOf = (target: Target): string => (target.kind === 'stdout' ? 'standard output' : target.path);
