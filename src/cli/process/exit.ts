import { note } from '../terminal/print.ts';

export const EXIT = {
  ok: 0,
  failed: 1,
  usage: 2,
  unreachable: 3,
  faultyInput: 4,
  interrupted: 5,
  noAnswer: 6,
} as const;
export type ExitCode = (typeof EXIT)[keyof typeof EXIT];

/** What each exit code means. Tests compare `--help` and docs/command-line.md with this table. */
export const EXIT_MEANINGS: Readonly<Record<ExitCode, string>> = {
  0: 'everything that was asked for is done',
  1: 'the job is over and not all of it succeeded: some requests failed, the service refused, or this machine did',
  2: 'the command line or the configuration has a fault; nothing was sent',
  3: 'the service or the upstream cannot be reached, or the upstream refuses the key; try again later',
  4: 'the batch file has faults; no request was sent',
  5: 'the command was stopped before the end; the same command goes on from there',
  6: 'the upstream accepted no request for as long as `run` waits; the same command goes on from there',
};

/** Ends a command with a message for its user, without a stack. */
export class CliError extends Error {
  override name = 'CliError';
  readonly exitCode: ExitCode;
  constructor(message: string, exitCode: ExitCode, options?: ErrorOptions) {
    super(message, options);
    this.exitCode = exitCode;
  }
}

/** Ends the process when a store can no longer keep a promise. The next start goes on from what is durable. */
export function die(error: unknown): never {
  note(
    `offpeak ends at once, so that nothing is lost: ${error instanceof Error ? error.message : String(error)}`,
  );
  process.exit(1);
}
