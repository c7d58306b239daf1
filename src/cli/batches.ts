import { open } from 'node:fs/promises';
import type { WhenFull } from '../contract/control.ts';
import { Client, type RemoteBatch } from './client.ts';
import { resolveEndpoint, type Endpoint, type EndpointFlags } from './endpoint.ts';
import { CliError, EXIT, type ExitCode } from './exit.ts';
import {
  dateTime,
  grouped,
  note,
  oneLine,
  print,
  printJson,
  printPage,
  table,
  tokenCount,
} from './terminal.ts';
import { countsOf, exitCodeOf, faultLines, watchBatch } from './watch.ts';

export interface ClientFlags extends EndpointFlags {
  readonly json?: boolean;
}

export interface CreateFlags extends ClientFlags {
  readonly file?: string;
  readonly inputFileId?: string;
  readonly url?: string;
  readonly metadata?: readonly string[];
  /** What to do when its deployment has no room for it. */
  readonly queue?: WhenFull;
  readonly watch?: boolean;
  readonly interval?: number;
}

export async function createBatch(flags: CreateFlags): Promise<ExitCode> {
  const { client, endpoint } = connect(flags);
  if ((flags.file === undefined) === (flags.inputFileId === undefined)) {
    throw new CliError('Give the input as --file in.jsonl, or as --input-file-id file-….', EXIT.usage);
  }
  const metadata = parseMetadata(flags.metadata);
  const url = flags.url ?? (flags.file === undefined ? undefined : await firstUrl(flags.file));
  const inputFileId = flags.inputFileId ?? (await client.upload(flags.file ?? '', { purpose: 'batch' })).id;
  const wanted = {
    input_file_id: inputFileId,
    endpoint: url ?? (endpoint.style === 'azure' ? '/chat/completions' : '/v1/chat/completions'),
    completion_window: '24h',
    ...(metadata && { metadata }),
  };
  const created = await client.createBatch(wanted, { queue: flags.queue });
  if (flags.watch) return watchAndTell(client, created.id, flags);
  if (flags.json) printJson(created);
  else print(oneLine(created.id));
  if (created.status !== 'failed') return EXIT.ok;
  tellFaults(created);
  return EXIT.failed;
}

export async function getBatch(id: string, flags: ClientFlags): Promise<ExitCode> {
  const batch = await connect(flags).client.batch(id);
  if (flags.json) printJson(batch);
  else print(describe(batch));
  return EXIT.ok;
}

export interface ListFlags extends ClientFlags {
  readonly limit: number;
  readonly after?: string;
}

export async function listBatches(flags: ListFlags & { readonly filter?: string }): Promise<ExitCode> {
  const query = { limit: flags.limit, after: flags.after, $filter: flags.filter };
  printPage(await connect(flags).client.listBatches(query), { json: flags.json ?? false, row: summary });
  return EXIT.ok;
}

export async function watch(
  id: string,
  flags: ClientFlags & { readonly interval?: number },
): Promise<ExitCode> {
  return watchAndTell(connect(flags).client, id, flags);
}

export async function cancelBatch(id: string, flags: ClientFlags): Promise<ExitCode> {
  const batch = await connect(flags).client.cancel(id);
  if (flags.json) printJson(batch);
  else print(`${oneLine(batch.id)}  ${oneLine(batch.status)}`);
  return EXIT.ok;
}

export interface DownloadFlags extends ClientFlags {
  readonly output?: string;
  readonly errors?: string;
}

/** Writes both files of a batch that is over, each whole or not at all. */
export async function downloadBatch(id: string, flags: DownloadFlags): Promise<ExitCode> {
  const { client } = connect(flags);
  const batch = await client.batch(id);
  const wanted = [
    {
      kind: 'output',
      fileId: batch.output_file_id,
      path: flags.output ?? `${fileName(batch.id)}_output.jsonl`,
    },
    {
      kind: 'errors',
      fileId: batch.error_file_id,
      path: flags.errors ?? `${fileName(batch.id)}_errors.jsonl`,
    },
  ];
  const written: Record<string, string> = {};
  for (const { kind, fileId, path } of wanted) {
    if (!fileId) continue;
    await client.download(fileId, path);
    written[kind] = path;
  }
  if (flags.json) printJson({ id: batch.id, status: batch.status, ...written });
  else for (const path of Object.values(written)) note(`wrote ${path}`);
  if (Object.keys(written).length > 0) return EXIT.ok;
  tellFaults(batch);
  throw new CliError(
    `${oneLine(batch.id)} is ${oneLine(batch.status)} and has no files to download.`,
    EXIT.failed,
  );
}

export function connect(flags: EndpointFlags): { client: Client; endpoint: Endpoint } {
  const endpoint = resolveEndpoint(flags, process.env);
  return { client: new Client(endpoint), endpoint };
}

async function watchAndTell(
  client: Client,
  id: string,
  flags: ClientFlags & { readonly interval?: number },
): Promise<ExitCode> {
  const batch = await watchBatch(client, id, {
    json: flags.json ?? false,
    pollMs: flags.interval === undefined ? undefined : flags.interval * 1000,
  });
  if (!flags.json) {
    print(`${oneLine(batch.id)}  ${oneLine(batch.status)}`);
    tellFaults(batch);
    if (batch.output_file_id) note(`next: offpeak batches download ${oneLine(batch.id)}`);
  }
  return exitCodeOf(batch);
}

function tellFaults(batch: RemoteBatch): void {
  for (const line of faultLines(batch)) note(line);
}

function describe(batch: RemoteBatch): string {
  const { total, completed, failed } = countsOf(batch);
  return table([
    ['id', oneLine(batch.id)],
    ['status', oneLine(batch.status)],
    ...(batch.created_at == null ? [] : [['created', `${dateTime(batch.created_at)} UTC`]]),
    ['requests', `${grouped(completed)} answered, ${grouped(failed)} failed, of ${grouped(total)}`],
    ['input', oneLine(batch.input_file_id ?? '')],
    ...(batch.output_file_id ? [['output', oneLine(batch.output_file_id)]] : []),
    ...(batch.error_file_id ? [['errors', oneLine(batch.error_file_id)]] : []),
    ...tokenRows(batch),
    ...(batch.offpeak?.waiting ? [['waiting', oneLine(batch.offpeak.waiting)]] : []),
    ...faultLines(batch).map((line) => ['fault', line]),
  ]);
}

/** What it takes of its deployment's limit, or its place in the queue for that. */
function tokenRows({ offpeak }: RemoteBatch): string[][] {
  const { queue, enqueued_tokens: tokens } = offpeak ?? {};
  if (queue) {
    const ahead = queue.tokens_ahead > 0 ? `, those before it ${tokenCount(queue.tokens_ahead)}` : '';
    const needs = `needs ${tokenCount(queue.tokens)} tokens${ahead}`;
    return [['queue', `place ${grouped(queue.position)} of ${grouped(queue.length)}; ${needs}`]];
  }
  if (tokens?.held == null || tokens.limit == null) return [];
  return [
    [
      'tokens',
      `${tokenCount(tokens.used)} of this batch, ${tokenCount(tokens.held)} held of ${tokenCount(tokens.limit)}`,
    ],
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

function parseMetadata(pairs: readonly string[] | undefined): Record<string, string> | undefined {
  if (!pairs) return undefined;
  return Object.fromEntries(
    pairs.map((pair) => {
      const at = pair.indexOf('=');
      if (at < 1) throw new CliError(`--metadata '${pair}': expected NAME=VALUE.`, EXIT.usage);
      return [pair.slice(0, at), pair.slice(at + 1)];
    }),
  );
}

const FIRST_LINE_BYTES_MAX = 1024 * 1024;

/** What the first request asks for, so that --url is rarely needed; the service judges the file. */
async function firstUrl(path: string): Promise<string | undefined> {
  const handle = await open(path).catch((error: unknown) => {
    throw new CliError(`${path} cannot be read: ${String(error)}`, EXIT.usage);
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
    return undefined; // A file that is no good gets its faults from the service, all at once.
  } finally {
    await handle.close();
  }
}

/** The service chose the id, so it is kept from naming another directory. */
const fileName = (id: string): string => id.replaceAll(/[^\w.-]/g, '_').replace(/^\.+/, '_');
