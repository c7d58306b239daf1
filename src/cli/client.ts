import { openAsBlob } from 'node:fs';
import { basename } from 'node:path';
import { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { z } from 'zod';
import { isTerminal, BATCH_STATUSES } from '../contract/batch.ts';
import type { Endpoint } from './endpoint.ts';
import { CliError, EXIT } from './exit.ts';
import { reasonOf } from './reason.ts';
import { oneLine } from './terminal.ts';
import { writeWhole } from './write-whole.ts';

/** What the commands read of an answer. Any service of either style may give it, so all else is passed on unread. */
const RemoteFile = z.looseObject({
  id: z.string(),
  bytes: z.number().nullish(),
  created_at: z.number().nullish(),
  filename: z.string().nullish(),
  purpose: z.string().nullish(),
  status: z.string().nullish(),
});
export type RemoteFile = z.output<typeof RemoteFile>;

const RemoteBatch = z.looseObject({
  id: z.string(),
  /** Early versions of the original capitalise it. */
  status: z.string().toLowerCase(),
  created_at: z.number().nullish(),
  input_file_id: z.string().nullish(),
  /** Absent, null and empty all mean that there is none. */
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
    })
    .nullish(),
});
export type RemoteBatch = z.output<typeof RemoteBatch>;

const listOf = <T extends z.ZodType>(item: T) =>
  z.looseObject({ data: z.array(item), has_more: z.boolean().nullish(), last_id: z.string().nullish() });

const RemoteError = z.object({
  error: z.object({ code: z.string().nullish(), message: z.string() }),
});

export const isOver = (batch: RemoteBatch): boolean =>
  BATCH_STATUSES.some((status) => status === batch.status && isTerminal(status));

const ANSWER_WAIT_MS = 120_000;

/** The service cannot be reached, or is in trouble: trying again may help. */
export class Unreachable extends CliError {
  override name = 'Unreachable';
}

/** Speaks Batch to any service of Azure's or OpenAI's style. */
export class Client {
  readonly #endpoint: Endpoint;

  constructor(endpoint: Endpoint) {
    this.#endpoint = endpoint;
  }

  /** Streams the file from the disk. */
  async upload(path: string, { purpose }: { purpose: string }): Promise<RemoteFile> {
    const form = new FormData();
    form.set('purpose', purpose);
    const blob = await openAsBlob(path, { type: 'application/octet-stream' }).catch((error: unknown) => {
      throw new CliError(`${path} cannot be read: ${reasonOf(error)}`, EXIT.usage);
    });
    form.set('file', blob, basename(path));
    return RemoteFile.parse(await this.#json('POST', '/files', { body: form, waitMs: null }));
  }

  listFiles(query: Query): Promise<Page<RemoteFile>> {
    return this.#list('/files', query, RemoteFile);
  }

  async file(id: string): Promise<RemoteFile> {
    return RemoteFile.parse(await this.#json('GET', `/files/${encodeURIComponent(id)}`));
  }

  deleteFile(id: string): Promise<unknown> {
    return this.#json('DELETE', `/files/${encodeURIComponent(id)}`);
  }

  /** Into a file that appears whole, or to stdout when `path` is `-`. */
  async download(id: string, path: string): Promise<void> {
    const response = await this.#send('GET', `/files/${encodeURIComponent(id)}/content`, { waitMs: null });
    const body = response.body ? Readable.fromWeb(response.body) : Readable.from([]);
    if (path === '-') return pipeline(body, process.stdout, { end: false });
    return writeWhole(path, body);
  }

  async createBatch(body: Readonly<Record<string, unknown>>): Promise<RemoteBatch> {
    return RemoteBatch.parse(await this.#json('POST', '/batches', { body: JSON.stringify(body) }));
  }

  async batch(id: string): Promise<RemoteBatch> {
    return RemoteBatch.parse(await this.#json('GET', `/batches/${encodeURIComponent(id)}`));
  }

  async cancel(id: string): Promise<RemoteBatch> {
    return RemoteBatch.parse(await this.#json('POST', `/batches/${encodeURIComponent(id)}/cancel`));
  }

  listBatches(query: Query): Promise<Page<RemoteBatch>> {
    return this.#list('/batches', query, RemoteBatch);
  }

  async #list<T extends z.ZodType>(path: string, query: Query, item: T): Promise<Page<z.output<T>>> {
    const { data, has_more } = listOf(item).parse(await this.#json('GET', path, { query }));
    return { data, hasMore: has_more === true && data.length > 0 };
  }

  async #json(method: string, path: string, options: SendOptions = {}): Promise<unknown> {
    const response = await this.#send(method, path, options);
    try {
      return await response.json();
    } catch (error) {
      const message = `${this.#endpoint.baseUrl} answered ${response.status} without JSON. Is it a Batch service?`;
      throw new CliError(message, EXIT.failed, { cause: error });
    }
  }

  async #send(method: string, path: string, options: SendOptions = {}): Promise<Response> {
    const { baseUrl, headers, query } = this.#endpoint;
    const url = new URL(baseUrl + path);
    for (const [name, value] of Object.entries({ ...query, ...options.query })) {
      if (value !== undefined) url.searchParams.set(name, String(value));
    }
    const waitMs = options.waitMs === undefined ? ANSWER_WAIT_MS : options.waitMs;
    const response = await fetch(url, {
      method,
      headers: {
        ...headers,
        ...(typeof options.body === 'string' && { 'content-type': 'application/json' }),
      },
      body: options.body ?? null,
      // A redirect would carry the key to another host.
      redirect: 'error',
      signal: waitMs === null ? null : AbortSignal.timeout(waitMs),
    }).catch((error: unknown) => {
      throw new Unreachable(`Cannot reach ${baseUrl}: ${reasonOf(error)}`, EXIT.unreachable, {
        cause: error,
      });
    });
    if (!response.ok) throw await this.#refusal(response);
    return response;
  }

  async #refusal(response: Response): Promise<CliError> {
    const text = await response.text().catch(() => '');
    const parsed = RemoteError.safeParse(tryJson(text));
    const said = parsed.success
      ? `${parsed.data.error.message}${parsed.data.error.code ? ` (${parsed.data.error.code})` : ''}`
      : text.slice(0, 200);
    const hint = response.status === 401 ? ` ${this.#endpoint.keyHint}` : '';
    const message = `${this.#endpoint.baseUrl} answered ${response.status}: ${oneLine(said)}${hint}`;
    const passing = response.status === 429 || response.status >= 500;
    return passing ? new Unreachable(message, EXIT.failed) : new CliError(message, EXIT.failed);
  }
}

export type Query = Readonly<Record<string, string | number | undefined>>;
export interface Page<T> {
  readonly data: readonly T[];
  readonly hasMore: boolean;
}

interface SendOptions {
  readonly query?: Query;
  readonly body?: string | FormData;
  /** For the head of the answer and its body; null: as long as it takes. */
  readonly waitMs?: number | null;
}

function tryJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined; // Not JSON: the caller shows the text itself.
  }
}
