import type { RemoteFile } from './client.ts';
import { connect, type ClientFlags, type ListFlags } from './batches.ts';
import { EXIT, type ExitCode } from './exit.ts';
import { byteSize, dateTime, note, oneLine, print, printJson, printPage, table } from './terminal.ts';

export async function uploadFile(
  path: string,
  flags: ClientFlags & { readonly purpose: string },
): Promise<ExitCode> {
  const file = await connect(flags).client.upload(path, { purpose: flags.purpose });
  if (flags.json) printJson(file);
  else print(oneLine(file.id));
  return EXIT.ok;
}

export async function listFiles(flags: ListFlags & { readonly purpose?: string }): Promise<ExitCode> {
  const query = { limit: flags.limit, after: flags.after, purpose: flags.purpose };
  printPage(await connect(flags).client.listFiles(query), { json: flags.json ?? false, row: summary });
  return EXIT.ok;
}

export async function getFile(id: string, flags: ClientFlags): Promise<ExitCode> {
  const file = await connect(flags).client.file(id);
  if (flags.json) printJson(file);
  else print(table([summary(file)]));
  return EXIT.ok;
}

export async function downloadFile(
  id: string,
  flags: ClientFlags & { readonly output: string },
): Promise<ExitCode> {
  await connect(flags).client.download(id, flags.output);
  if (flags.output === '-') return EXIT.ok;
  if (flags.json) printJson({ id, output: flags.output });
  else note(`wrote ${flags.output}`);
  return EXIT.ok;
}

export async function deleteFile(id: string, flags: ClientFlags): Promise<ExitCode> {
  const answer = await connect(flags).client.deleteFile(id);
  if (flags.json) printJson(answer);
  else print(`${id}  deleted`);
  return EXIT.ok;
}

const summary = (file: RemoteFile): string[] => [
  oneLine(file.id),
  oneLine(file.purpose ?? ''),
  byteSize(file.bytes ?? 0),
  file.created_at == null ? '' : dateTime(file.created_at),
  oneLine(file.filename ?? ''),
];
