import { open } from 'node:fs/promises';
import type { WhenFull } from '../../contract/control.ts';
import {
  type Client,
  type ClientFlags,
  downloadTo,
  isOver,
  type ListFlags,
  openClient,
  type RemoteBatch,
} from '../client/batch-client.ts';
import { Unreachable } from '../client/http.ts';
import { countsOf, exitCodeOf, faultLines, watchBatch } from '../client/watch-batch.ts';
import { unreadable, withInput } from '../local-files/input.ts';
import { probeTarget, refuseSameTwice, targetAt } from '../local-files/target.ts';
import { nextCommand } from '../process/command-name.ts';
import { CliError, EXIT, type ExitCode } from '../process/exit.ts';
import { nameValues } from '../process/name-values.ts';
import { stopAsked } from '../process/signals.ts';
import { firstFaults } from '../terminal/fault-lines.ts';
import {
  dateTime,
  grouped,
  note,
  oneLine,
  print,
  printFacts,
  printJson,
  printPage,
  tokenCount,
} from '../terminal/print.ts';

export interface CreateFlags extends ClientFlags {
  readonly file?: string;
  readonly inputFileId?: string;
  readonly url?: string;
  readonly metadata?: readonly string[];
  /** What to do when the deployment has no room for the batch. */
  readonly queue?: WhenFull;
  readonly watch?: boolean;
  readonly interval?: number;
}

export async function createBatch(flags: CreateFlags): Promise<ExitCode> {
  if ((flags.file === undefined) === (flags.inputFileId === undefined)) {
    throw new CliError('Give the input as --file in.jsonl, or as --input-file-id file-….', EXIT.usage);
  }
  const metadata = flags.metadata && nameValues(flags.metadata, '--metadata');
  const { client, endpoint } = await openClient(flags);
  const create = async (inputFileId: string, url = flags.url) =>
    client.createBatch(
      {
        input_file_id: inputFileId,
        endpoint: url ?? (endpoint.style === 'azure' ? '/chat/completions' : '/v1/chat/completions'),
        completion_window: '24h',
        ...(metadata && { metadata }),
      },
      { queue: flags.queue },
    );
  const created =
    flags.file === undefined
      ? await create(flags.inputFileId ?? '')
      : await withInput(flags.file, async (input) => {
          const url = flags.url ?? (await firstUrl(input.path));
          const { id } = await client.upload(input, { purpose: 'batch' });
          return create(id, url).catch((error: unknown) => deleteUpload(client, id, error));
        });
  if (flags.watch) return watchUntilOver(client, created.id, flags);
  if (flags.json) printJson(created);
  else print(oneLine(created.id));
  if (created.status !== 'failed') return EXIT.ok;
  if (!flags.json) noteFaults(created, flags);
  const fileId = oneLine(created.input_file_id ?? '');
  if (!flags.json && flags.file !== undefined && fileId !== '') {
    note(`The upload is kept as ${fileId}.`);
    note(`next: ${nextCommand(['files', 'delete', fileId], flags)}`);
  }
  return exitCodeOf(created);
}

/** Deletes the upload of a refused batch. If the batch may exist all the same, the upload stays and is named. */
async function deleteUpload(client: Client, fileId: string, error: unknown): Promise<never> {
  if (!(error instanceof CliError)) throw error;
  const isRefused = !(error instanceof Unreachable);
  const isGone = isRefused && (await client.deleteFile(fileId).then(isTrue, () => false));
  const what = isGone
    ? 'The upload was deleted again.'
    : `The upload is still there, as ${oneLine(fileId)}: use it with --input-file-id, or delete it.`;
  throw new CliError(`${error.message} ${what}`, error.exitCode, { cause: error });
}

const isTrue = (): boolean => true;

export async function getBatch(id: string, flags: ClientFlags): Promise<ExitCode> {
  const batch = await (await openClient(flags)).client.batch(id);
  if (flags.json) printJson(batch);
  else printFacts(describe(batch, flags));
  return EXIT.ok;
}

export async function listBatches(flags: ListFlags & { readonly filter?: string }): Promise<ExitCode> {
  const query = { limit: flags.limit, after: flags.after, $filter: flags.filter };
  const { client } = await openClient(flags);
  const headings = ['id', 'status', 'done', 'created (UTC)'];
  printPage(await client.listBatches(query), { json: flags.json, headings, row: summary });
  return EXIT.ok;
}

export async function watch(
  id: string,
  flags: ClientFlags & { readonly interval?: number },
): Promise<ExitCode> {
  return watchUntilOver((await openClient(flags)).client, id, flags);
}

export async function cancelBatch(id: string, flags: ClientFlags): Promise<ExitCode> {
  const batch = await (await openClient(flags)).client.cancel(id);
  if (flags.json) printJson(batch);
  else print(`${oneLine(batch.id)}  ${oneLine(batch.status)}`);
  return EXIT.ok;
}

export interface DownloadFlags extends ClientFlags {
  readonly output?: string;
  readonly errors?: string;
}

/** Writes both files of a batch that is over. Each appears whole or not at all. */
export async function downloadBatch(id: string, flags: DownloadFlags): Promise<ExitCode> {
  const targets = {
    output: await targetAt(flags.output ?? `${fileName(id)}_output.jsonl`),
    errors: await targetAt(flags.errors ?? `${fileName(id)}_errors.jsonl`),
  };
  refuseSameTwice([
    ['--output', targets.output],
    ['--errors', targets.errors],
  ]);
  for (const target of Object.values(targets)) await probeTarget(target);
  const { client } = await openClient(flags);
  const batch = await client.batch(id);
  const fileIds = { output: batch.output_file_id, errors: batch.error_file_id };
  const written: Record<string, string> = {};
  for (const kind of ['output', 'errors'] as const) {
    const fileId = fileIds[kind];
    if (!fileId) continue;
    await downloadTo(client, fileId, targets[kind]);
    written[kind] = targets[kind].path;
  }
  const isOnStdout = Object.values(targets).some(({ kind }) => kind === 'stdout');
  if (flags.json) {
    const shown = { id: batch.id, status: batch.status, ...written };
    if (isOnStdout) note(JSON.stringify(shown));
    else printJson(shown);
  } else for (const path of Object.values(written)) if (path !== '-') note(`wrote ${path}`);
  if (Object.keys(written).length > 0) return EXIT.ok;
  noteFaults(batch, flags);
  const hint = isOver(batch) ? '' : ` ${nextCommand(['batches', 'watch', id], flags)} waits for them.`;
  throw new CliError(
    `${oneLine(batch.id)} is ${oneLine(batch.status)} and has no files to download.${hint}`,
    EXIT.failed,
  );
}

async function watchUntilOver(
  client: Client,
  id: string,
  flags: ClientFlags & { readonly interval?: number },
): Promise<ExitCode> {
  const stop = stopAsked();
  const batch = await watchBatch(client, id, {
    json: flags.json ?? false,
    pollMs: flags.interval === undefined ? undefined : flags.interval * 1000,
    signal: stop.signal,
  });
  stop.forget();
  if (batch === 'stopped') {
    note('Stopped watching; the batch goes on.');
    note(`next: ${nextCommand(['batches', 'watch', id], flags)}`);
    return EXIT.interrupted;
  }
  if (!flags.json) {
    print(`${oneLine(batch.id)}  ${oneLine(batch.status)}`);
    noteFaults(batch, flags);
    if (batch.output_file_id) note(`next: ${nextCommand(['batches', 'download', batch.id], flags)}`);
  }
  return exitCodeOf(batch);
}

function noteFaults(batch: RemoteBatch, { all = false }: ClientFlags): void {
  for (const line of firstFaults(faultLines(batch), { all })) note(line);
}

function describe(batch: RemoteBatch, { all = false }: ClientFlags): [string, string][] {
  const { total, completed, failed } = countsOf(batch);
  const rows: ([string, string] | null)[] = [
    ['id', oneLine(batch.id)],
    ['status', oneLine(batch.status)],
    batch.created_at == null ? null : ['created', `${dateTime(batch.created_at)} UTC`],
    ['requests', `${grouped(completed)} answered, ${grouped(failed)} failed, of ${grouped(total)}`],
    ['input', oneLine(batch.input_file_id ?? '')],
    batch.output_file_id ? ['output', oneLine(batch.output_file_id)] : null,
    batch.error_file_id ? ['errors', oneLine(batch.error_file_id)] : null,
    tokenRow(batch),
    batch.offpeak?.waiting ? ['waiting', oneLine(batch.offpeak.waiting)] : null,
    ...firstFaults(faultLines(batch), { all }).map((line): [string, string] => ['fault', line]),
  ];
  return rows.filter((row) => row !== null);
}

/** The tokens that the batch holds of its deployment's limit, or its place in the queue for them. */
function tokenRow({ offpeak }: RemoteBatch): [string, string] | null {
  const { queue, enqueued_tokens: tokens } = offpeak ?? {};
  if (queue) {
    const ahead = queue.tokens_ahead > 0 ? `, those before it ${tokenCount(queue.tokens_ahead)}` : '';
    const needs = `needs ${tokenCount(queue.tokens)} tokens${ahead}`;
    return ['queue', `place ${grouped(queue.position)} of ${grouped(queue.length)}; ${needs}`];
  }
  if (tokens?.held == null || tokens.limit == null) return null;
  return [
    'tokens',
    `${tokenCount(tokens.used)} of this batch, ${tokenCount(tokens.held)} held of ${tokenCount(tokens.limit)}`,
  ];
}

function summary(batch: RemoteBatch): string[] {
  const { total, completed, failed } = countsOf(batch);
  return [
    oneLine(batch.id),
    oneLine(batch.status),
    `${completed + failed}/${total}`,
    batch.created_at == null ? '' : dateTime(batch.created_at),
  ];
}

const FIRST_LINE_BYTES_MAX = 1024 * 1024;

/** The url of the first request, so that --url is rarely needed. The service finds faults of the file. */
async function firstUrl(path: string): Promise<string | undefined> {
  const handle = await open(path).catch((error: unknown) => {
    throw unreadable(path, error);
  });
  try {
    const { buffer, bytesRead } = await handle.read({ buffer: Buffer.alloc(FIRST_LINE_BYTES_MAX) });
    const [line = ''] = buffer
      .toString('utf8', 0, bytesRead)
      .replace(/^\uFEFF?\s*/, '')
      .split('\n', 1);
    const request: unknown = JSON.parse(line);
    const url = typeof request === 'object' && request !== null && 'url' in request ? request.url : undefined;
    return typeof url === 'string' ? url : undefined;
  } catch {
    return undefined; // The service reports all faults of the file at once.
  } finally {
    await handle.close();
  }
}

/** The service chose the id. As a file name it must not lead to another directory. */
const fileName = (id: string): string => id.replaceAll(/[^\w.-]/g, '_').replace(/^\.+/, '_');
