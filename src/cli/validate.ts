import { createReadStream } from 'node:fs';
import { basename } from 'node:path';
import { inspectInput } from '../batch/validate/inspect.ts';
import { faultsFor } from '../batch/queue/faults.ts';
import type { BatchErrors } from '../contract/batch.ts';
import { toldIn, type Inspection } from '../contract/inspection.ts';
import { reasonOf } from './reason.ts';
import { CliError, EXIT, type ExitCode } from './exit.ts';
import { grouped, oneLine, print, printJson } from './terminal.ts';

export async function validate(
  path: string,
  flags: { readonly exact?: boolean; readonly json?: boolean },
): Promise<ExitCode> {
  const { inspection, bytes } = await inspectChunks(path);
  const errors = faultsIn(inspection);
  const tokens =
    flags.exact && errors === null
      ? await (await import('../batch/validate/exact.ts')).countTokensExactly(createReadStream(path))
      : inspection.tokens;
  const { requests, model, urls } = inspection;
  const url = urls[0]?.url ?? null;
  if (flags.json) {
    printJson({
      file: path,
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
    return errors ? EXIT.failed : EXIT.ok;
  }
  if (errors) {
    print(faultReport(path, inspection));
    return EXIT.failed;
  }
  print(`${basename(path)} is fine.`);
  print(`  requests  ${grouped(requests)}, to ${url ?? 'no url'}`);
  print(`  model     ${oneLine(model ?? 'none')}`);
  print(`  tokens    ${flags.exact ? '' : 'about '}${grouped(tokens)} of input`);
  return EXIT.ok;
}

/** One pass over a file on this machine; `see` gets every chunk as well. */
export async function inspectChunks(
  path: string,
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
    throw new CliError(`${path} cannot be read: ${reasonOf(error)}.`, EXIT.usage, { cause: error });
  }
}

/** As a batch to where its first line goes would be told them. */
export function faultsIn(inspection: Inspection): BatchErrors | null {
  const endpoint = inspection.urls[0]?.url;
  const found =
    endpoint === undefined ? inspection.errors : faultsFor(inspection, { endpoint, dialect: 'azure' });
  return found && toldIn('azure', found);
}

/** Every fault with its place, as `file:line`, which editors can jump to. */
export function faultReport(path: string, inspection: Inspection): string {
  const { requests } = inspection;
  const errors = faultsIn(inspection);
  const lines = (errors?.data ?? []).map(({ line, code, message }) =>
    oneLine(`${path}${line === null ? '' : `:${line}`}: ${code}: ${message.replace(`Line ${line}: `, '')}`),
  );
  const omitted = errors?.omitted ?? 0;
  if (omitted > 0) lines.push(`… and ${grouped(omitted)} more`);
  const faults = (errors?.data.length ?? 0) + omitted;
  lines.push(
    `${grouped(faults)} ${faults === 1 ? 'fault' : 'faults'} in ${grouped(requests)} requests; nothing was sent.`,
  );
  return lines.join('\n');
}
