import { note } from '../terminal/print.ts';

/** What each exit code means. Tests compare `--help` and docs/command-line.md with this table. */
export const EXIT_CODES = {
  ok: { code: 0, meaning: 'everything that was asked for is done' },
  failed: {
    code: 1,
    meaning:
      'the job is over and not all of it succeeded: some requests failed, the service refused, or this machine did',
  },
  usage: { code: 2, meaning: 'the command line or the configuration has a fault; nothing was sent' },
  unreachable: {
    code: 3,
    meaning:
      'the service or the upstream cannot be reached, or the upstream refuses the key; try again later',
  },
  faultyInput: { code: 4, meaning: 'the batch file has faults; no request was sent' },
  interrupted: {
    code: 5,
    meaning: 'the command was stopped before the end; the same command goes on from there',
  },
  noAnswer: {
    code: 6,
    meaning:
      'the upstream accepted no request for as long as `run` waits; the same command goes on from there',
  },
} as const;

type ExitName = keyof typeof EXIT_CODES;
export type ExitCode = (typeof EXIT_CODES)[ExitName]['code'];

export const EXIT: { readonly [Name in ExitName]: (typeof EXIT_CODES)[Name]['code'] } = {
  ok: EXIT_CODES.ok.code,
  failed: EXIT_CODES.failed.code,
  usage: EXIT_CODES.usage.code,
  unreachable: EXIT_CODES.unreachable.code,
  faultyInput: EXIT_CODES.faultyInput.code,
  interrupted: EXIT_CODES.interrupted.code,
  noAnswer: EXIT_CODES.noAnswer.code,
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
  note(`offpeak: ends at once, to lose nothing: ${error instanceof Error ? error.message : String(error)}`);
  process.exit(1);
}
