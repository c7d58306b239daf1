import {
  type ClientFlags,
  downloadTo,
  type ListFlags,
  openClient,
  type RemoteFile,
} from '../client/batch-client.ts';
import { withInput } from '../local-files/input.ts';
import { probeTarget, targetAt } from '../local-files/target.ts';
import { EXIT, type ExitCode } from '../process/exit.ts';
import {
  byteSize,
  dateTime,
  note,
  oneLine,
  print,
  printJson,
  printPage,
  printTable,
} from '../terminal/print.ts';

export async function uploadFile(
  path: string,
  flags: ClientFlags & { readonly purpose: string },
): Promise<ExitCode> {
  const file = await withInput(path, async (input) =>
    (await openClient(flags)).client.upload(input, { purpose: flags.purpose }),
  );
  if (flags.json) printJson(file);
  else print(oneLine(file.id));
  return EXIT.ok;
}

export async function listFiles(flags: ListFlags & { readonly purpose?: string }): Promise<ExitCode> {
  const query = { limit: flags.limit, after: flags.after, purpose: flags.purpose };
  const { client } = await openClient(flags);
  printPage(await client.listFiles(query), { json: flags.json, headings: HEADINGS, row: summary });
  return EXIT.ok;
}

export async function getFile(id: string, flags: ClientFlags): Promise<ExitCode> {
  const file = await (await openClient(flags)).client.file(id);
  if (flags.json) printJson(file);
  else printTable(HEADINGS, [summary(file)]);
  return EXIT.ok;
}

export async function downloadFile(
  id: string,
  flags: ClientFlags & { readonly output: string },
): Promise<ExitCode> {
  const target = await targetAt(flags.output);
  await probeTarget(target);
  await downloadTo((await openClient(flags)).client, id, target);
  if (target.kind === 'stdout') return EXIT.ok;
  if (flags.json) printJson({ id, output: flags.output });
  else note(`wrote ${flags.output}`);
  return EXIT.ok;
}

export async function deleteFile(id: string, flags: ClientFlags): Promise<ExitCode> {
  const answer = await (await openClient(flags)).client.deleteFile(id);
  if (flags.json) printJson(answer);
  else print(`${id}  deleted`);
  return EXIT.ok;
}

const HEADINGS = ['id', 'purpose', 'size', 'created (UTC)', 'name'];

const summary = (file: RemoteFile): string[] => [
  oneLine(file.id),
  oneLine(file.purpose ?? ''),
  byteSize(file.bytes ?? 0),
  file.created_at == null ? '' : dateTime(file.created_at),
  oneLine(file.filename ?? ''),
];
