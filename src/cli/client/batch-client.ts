import { openAsBlob } from 'node:fs';
import { Readable } from 'node:stream';
import { z } from 'zod';
import { BATCH_STATUSES, isTerminal } from '../../contract/batch.ts';
import { type Input, unreadable } from '../local-files/input.ts';
import { ReaderGone, type Target, writeTarget } from '../local-files/target.ts';
import { CliError, EXIT } from '../process/exit.ts';
import { stopAsked } from '../process/signals.ts';
import type { Page } from '../terminal/print.ts';
import { type Endpoint, type EndpointFlags, resolveEndpoint } from './endpoint.ts';
import { brokenOff, noteService, type Query, send, sendFor } from './http.ts';
import { runningService } from './running-service.ts';

/** The members that commands read. Any service of either style may answer, so all other members are passed on unread. */
const RemoteFile = z.looseObject({
  id: z.string(),
  bytes: z.number().nullish(),
  created_at: z.number().nullish(),
  filename: z.string().nullish(),
  purpose: z.string().nullish(),
});
export type RemoteFile = z.output<typeof RemoteFile>;

const RemoteBatch = z.looseObject({
  id: z.string(),
  /** Early versions of Azure capitalise it. */
  status: z.string().toLowerCase(),
  created_at: z.number().nullish(),
  input_file_id: z.string().nullish(),
  /** Absent, null and empty all mean that there is no such file. */
  output_file_id: z.string().nullish(),
  error_file_id: z.string().nullish(),
  request_counts: z
    .object({ total: z.number().nullish(), completed: z.number().nullish(), failed: z.number().nullish() })
    .nullish(),
  errors: z
    .object({
      data: z.array(
        z.object({ code: z.string().nullish(), message: z.string().nullish(), line: z.number().nullish() }),
      ),
    })
    .nullish(),
  offpeak: z
    .looseObject({
      requests_per_second: z.number().nullish(),
      eta_seconds: z.number().nullish(),
      waiting: z.string().nullish(),
      enqueued_tokens: z
        .looseObject({ used: z.number(), held: z.number().nullish(), limit: z.number().nullish() })
        .nullish(),
      queue: z
        .looseObject({
          position: z.number(),
          length: z.number(),
          tokens: z.number(),
          tokens_ahead: z.number(),
        })
        .nullish(),
    })
    .nullish(),
});
export type RemoteBatch = z.output<typeof RemoteBatch>;

const listOf = <T extends z.ZodType>(item: T) =>
  z.looseObject({ data: z.array(item), has_more: z.boolean().nullish() });

export const isOver = (batch: RemoteBatch): boolean =>
  BATCH_STATUSES.some((status) => status === batch.status && isTerminal(status));

export interface ClientFlags extends EndpointFlags {
  readonly json?: boolean;
  /** Print every fault. */
  readonly all?: boolean;
}

export interface ListFlags extends ClientFlags {
  readonly limit: number;
  readonly after?: string;
}

/** Chooses the service, and prints it before the first request. */
export async function openClient(flags: EndpointFlags): Promise<{ client: Client; endpoint: Endpoint }> {
  const endpoint = resolveEndpoint(flags, process.env, await runningService(process.env));
  noteService(endpoint);
  return { client: new Client(endpoint), endpoint };
}

/** Calls the Batch API of any service, in Azure's or OpenAI's style. */
export class Client {
  readonly #endpoint: Endpoint;

  constructor(endpoint: Endpoint) {
    this.#endpoint = endpoint;
  }

  /** Streams the file from the disk. */
  async upload(
    { path, name, filename }: Pick<Input, 'path' | 'name' | 'filename'>,
    { purpose }: { purpose: string },
  ): Promise<RemoteFile> {
    const form = new FormData();
    form.set('purpose', purpose);
    const blob = await openAsBlob(path, { type: 'application/octet-stream' }).catch((error: unknown) => {
      throw unreadable(name, error);
    });
    form.set('file', blob, filename);
    return sendFor(this.#endpoint, RemoteFile, 'POST', '/files', { body: form, waitMs: null });
  }

  listFiles(query: Query): Promise<Page<RemoteFile>> {
    return this.#list('/files', query, RemoteFile);
  }

  file(id: string): Promise<RemoteFile> {
    return sendFor(this.#endpoint, RemoteFile, 'GET', `/files/${encodeURIComponent(id)}`);
  }

  deleteFile(id: string): Promise<unknown> {
    return sendFor(this.#endpoint, z.looseObject({}), 'DELETE', `/files/${encodeURIComponent(id)}`);
  }

  async download(id: string, target: Target): Promise<void> {
    const response = await send(this.#endpoint, 'GET', `/files/${encodeURIComponent(id)}/content`, {
      waitMs: null,
    });
    const stop = stopAsked();
    try {
      await writeTarget(target, Readable.from(this.#bodyOf(response)), { signal: stop.signal });
    } catch (error) {
      if (stop.signal.aborted) throw new CliError('stopped; nothing was replaced.', EXIT.interrupted);
      throw error;
    } finally {
      stop.forget();
    }
  }

  async *#bodyOf({ body }: Response): AsyncGenerator<Uint8Array> {
    try {
      if (body) yield* body;
    } catch (error) {
      throw brokenOff(this.#endpoint, error);
    }
  }

  /** `queue` says what to do when there is no room. Only Offpeak knows it. */
  createBatch(
    body: Readonly<Record<string, unknown>>,
    { queue }: { readonly queue?: string | undefined } = {},
  ): Promise<RemoteBatch> {
    return sendFor(this.#endpoint, RemoteBatch, 'POST', '/batches', {
      body: JSON.stringify(body),
      ...(queue !== undefined && { headers: { 'offpeak-queue': queue } }),
    });
  }

  batch(id: string): Promise<RemoteBatch> {
    return sendFor(this.#endpoint, RemoteBatch, 'GET', `/batches/${encodeURIComponent(id)}`);
  }

  cancel(id: string): Promise<RemoteBatch> {
    return sendFor(this.#endpoint, RemoteBatch, 'POST', `/batches/${encodeURIComponent(id)}/cancel`);
  }

  listBatches(query: Query): Promise<Page<RemoteBatch>> {
    return this.#list('/batches', query, RemoteBatch);
  }

  async #list<T extends z.ZodType>(path: string, query: Query, item: T): Promise<Page<z.output<T>>> {
    const answer = await sendFor(this.#endpoint, listOf(item), 'GET', path, { query });
    const { data, has_more } = answer;
    return { data, hasMore: has_more === true && data.length > 0, answer };
  }
}

/** Downloads a file. If the reader of a pipe goes away, it does not want the rest, and that is no error. */
export async function downloadTo(client: Client, fileId: string, target: Target): Promise<void> {
  await client.download(fileId, target).catch((error: unknown) => {
    if (!(error instanceof ReaderGone)) throw error;
  });
}
