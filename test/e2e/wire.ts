import { setTimeout as wait } from 'node:timers/promises';
import { lines } from './offpeak.ts';

const ENDED = ['completed', 'failed', 'cancelled', 'expired'];

export interface WireBatch {
  readonly id: string;
  readonly status: string;
  readonly completed_at: number;
  readonly output_file_id: string | null;
  readonly error_file_id: string | null;
  readonly request_counts: { readonly total: number; readonly completed: number; readonly failed: number };
  readonly offpeak: { readonly resent_requests: number };
}

export interface ResultLine {
  readonly custom_id: string;
  readonly response: { readonly body: { readonly choices: [{ message: { content: string } }] } } | null;
  readonly error: { readonly code: string } | null;
}

/** Sends a request to a path below `/v1`. */
type Send = (path: string, init?: RequestInit) => Promise<Response>;

export const sendTo =
  (url: () => string, key: () => string): Send =>
  (path, init = {}) => {
    const headers = new Headers(init.headers);
    headers.set('api-key', key());
    return fetch(`${url()}/v1${path}`, { ...init, headers });
  };

/** Calls the Batch API of a service as a client does, and fails where the answer is not a 2xx. */
export class Wire {
  readonly #send: Send;

  constructor(send: Send) {
    this.#send = send;
  }

  async ask<T extends object>(path: string, init?: RequestInit): Promise<T> {
    return JSON.parse(await this.#read(path, init)) as T;
  }

  async upload(content: string): Promise<string> {
    const form = new FormData();
    form.set('purpose', 'batch');
    form.set('file', new Blob([content]), 'in.jsonl');
    return (await this.ask<{ id: string }>('/files', { method: 'POST', body: form })).id;
  }

  create(fileId: string, headers: Readonly<Record<string, string>> = {}): Promise<WireBatch> {
    const body = { input_file_id: fileId, endpoint: '/v1/chat/completions', completion_window: '24h' };
    return this.ask('/batches', {
      method: 'POST',
      headers: { 'content-type': 'application/json', ...headers },
      body: JSON.stringify(body),
    });
  }

  batch(id: string): Promise<WireBatch> {
    return this.ask(`/batches/${id}`);
  }

  /** Resolves when the batch is over, or after `ms` with the batch as it is then. */
  async untilEnded(id: string, ms = Infinity): Promise<WireBatch> {
    const deadlineMs = performance.now() + ms;
    for (;;) {
      const batch = await this.batch(id);
      if (hasEnded(batch) || performance.now() > deadlineMs) return batch;
      await wait(50);
    }
  }

  /** The lines of a file of results; null: there is no such file. */
  async results(fileId: string | null): Promise<ResultLine[]> {
    return fileId === null ? [] : (lines(await this.#read(`/files/${fileId}/content`)) as ResultLine[]);
  }

  async #read(path: string, init?: RequestInit): Promise<string> {
    const response = await this.#send(path, init);
    const text = await response.text();
    if (response.ok) return text;
    throw new Error(`${init?.method ?? 'GET'} ${path} answers ${response.status}: ${text}`);
  }
}

export const hasEnded = ({ status }: WireBatch): boolean => ENDED.includes(status);
