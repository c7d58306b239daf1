import { createReadStream } from 'node:fs';
import { type Input, withInput } from '../local-files/input.ts';
import { faultReport, faultsIn, inspectChunks } from '../local-files/inspect.ts';
import { EXIT, type ExitCode } from '../process/exit.ts';
import { grouped, oneLine, print, printFacts, printJson, say } from '../terminal/print.ts';

interface ValidateFlags {
  readonly exact?: boolean;
  /** Print every fault. */
  readonly all?: boolean;
  readonly json?: boolean;
}

export function validate(path: string, flags: ValidateFlags): Promise<ExitCode> {
  return withInput(path, (input) => report(input, flags));
}

async function report(input: Input, flags: ValidateFlags): Promise<ExitCode> {
  const { inspection, bytes } = await inspectChunks(input);
  const errors = faultsIn(inspection);
  const tokens =
    flags.exact && errors === null
      ? await (
          await import('../../batch/validate/exact-tokens.ts')
        ).countTokensExactly(createReadStream(input.path))
      : inspection.tokens;
  const { requests, model, groups } = inspection;
  const url = groups[0]?.url ?? null;
  if (flags.json) {
    printJson({
      file: input.name,
      valid: errors === null,
      bytes,
      requests,
      model,
      url,
      tokens,
      tokens_exact: flags.exact === true && errors === null,
      errors: errors?.data ?? [],
      errors_omitted: errors?.omitted ?? 0,
    });
    return errors ? EXIT.faultyInput : EXIT.ok;
  }
  if (errors) {
    say(faultReport(input.name, inspection, { all: flags.all ?? false }));
    return EXIT.faultyInput;
  }
  print(`${input.isStdin ? 'Standard input' : input.filename} is fine.`);
  printFacts([
    ['  requests', `${grouped(requests)}, to ${url ?? 'no url'}`],
    ['  model', oneLine(model ?? 'none')],
    ['  tokens', `${flags.exact ? '' : 'about '}${grouped(tokens)} of input`],
  ]);
  return EXIT.ok;
}
