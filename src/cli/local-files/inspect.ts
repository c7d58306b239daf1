import { createReadStream } from 'node:fs';
import { faultsFor } from '../../batch/admission/faults.ts';
import { inspectInput } from '../../batch/validate/inspect.ts';
import type { BatchErrors } from '../../contract/batch.ts';
import { inDialect, type Inspection } from '../../contract/inspection.ts';
import { firstFaults } from '../terminal/fault-lines.ts';
import { grouped, oneLine } from '../terminal/print.ts';
import { type Input, unreadable } from './input.ts';

/** Inspects a file on this machine in one pass. `see` also gets every chunk. */
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
    throw unreadable(name, error);
  }
}

/** The faults that a batch would have whose endpoint is the url of the first line. */
export function faultsIn(inspection: Inspection): BatchErrors | null {
  const endpoint = inspection.groups[0]?.url;
  const found =
    endpoint === undefined ? inspection.errors : faultsFor(inspection, { endpoint, dialect: 'azure' });
  return found && inDialect('azure', found);
}

/** The faults with their places as `file:line`, so that an editor can go there. */
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
    ...firstFaults(lines, { all, omitted }),
    `${grouped(faults)} ${faults === 1 ? 'fault' : 'faults'} in ${grouped(requests)} requests; nothing was sent.`,
  ].join('\n');
}
