import { createReadStream } from 'node:fs';
import { inspectInput } from '../batch/validate/inspect.ts';
import { faultsFor } from '../batch/queue/faults.ts';
import type { BatchErrors } from '../contract/batch.ts';
import { toldIn, type Inspection } from '../contract/inspection.ts';
import { CliError, EXIT, type ExitCode } from './exit.ts';
import { fewLines } from './fault-lines.ts';
import { withInput, type Input } from './input.ts';
import { reasonOf } from './reason.ts';
import { grouped, oneLine, print, printFacts, printJson, say } from './terminal.ts';

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
      ? await (await import('../batch/validate/exact.ts')).countTokensExactly(createReadStream(input.path))
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

/** One pass over a file on this machine; `see` gets every chunk as well. */
export async function inspectChunks(
  { path, name }: Pick<Input, 'path' | 'name'>,
  see: (chunk: Uint8Array) => void = () => {},
): Promise<{ inspection: Inspection; bytes: number }> {
  let bytes = 0;
  async function* chunks(): AsyncGenerator<Uint8Array> {
    for await (const chunk of createReadStream(path, {
      highWaterMark: 1024 * 1024,
    }) as AsyncIterable<Buffer>) {
      bytes += chunk.byteLength;
      see(chunk);
      yield chunk;
    }
  }
  try {
    return { inspection: await inspectInput(chunks()), bytes };
  } catch (error) {
    throw new CliError(`${name} cannot be read: ${reasonOf(error)}.`, EXIT.usage, { cause: error });
  }
}

/** As a batch to where its first line goes would be told them. */
export function faultsIn(inspection: Inspection): BatchErrors | null {
  const endpoint = inspection.groups[0]?.url;
  const found =
    endpoint === undefined ? inspection.errors : faultsFor(inspection, { endpoint, dialect: 'azure' });
  return found && toldIn('azure', found);
}

/** Faults with their places, as `file:line`, which editors can jump to. */
export function faultReport(
  name: string,
  inspection: Inspection,
  { all }: { readonly all: boolean },
): string {
  const { requests } = inspection;
  const errors = faultsIn(inspection);
  const lines = (errors?.data ?? []).map(({ line, code, message }) =>
    oneLine(`${name}${line === null ? '' : `:${line}`}: ${code}: ${message.replace(`Line ${line}: `, '')}`),
  );
  const omitted = errors?.omitted ?? 0;
  const faults = lines.length + omitted;
  return [
    ...fewLines(lines, { all, omitted }),
    `${grouped(faults)} ${faults === 1 ? 'fault' : 'faults'} in ${grouped(requests)} requests; nothing was sent.`,
  ].join('\n');
}
