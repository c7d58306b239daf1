import { Worker } from 'node:worker_threads';

import { ApiError } from '../../contract/error.ts';
import type { Inspection } from '../../contract/inspection.ts';
import { BlobNotFound } from '../../stores/blobs/port.ts';
import type { InspectionOrder, InspectionReply } from './inspect-worker.ts';
import type { Inspector } from './port.ts';

export interface InspectorPoolOptions {
  /** Returns where the bytes of a blob lie on this machine. */
  readonly resolvePath: (blobId: string) => string;
  /** How many files are read at a time, at most. */
  readonly threads: number;
  /** When more files than this wait, callers are told to come back later. */
  readonly waitingMax?: number;
  /** The heap of each thread may grow to this size. */
  readonly heapMbMax?: number;
}

export interface InspectorPool {
  readonly inspect: Inspector;
  /** Ends the threads. Inspections that are not done reject. */
  close(): Promise<void>;
}

/** Inspects files in threads of their own, so that a large file never stalls the HTTP loop. The first to come is served first. */
export function createInspectorPool(options: InspectorPoolOptions): InspectorPool {
  return new Pool(options);
}

interface Job {
  readonly blobId: string;
  readonly path: string;
  readonly resolve: (inspection: Inspection) => void;
  readonly reject: (reason: unknown) => void;
}

interface Thread {
  readonly worker: Worker;
  job: Job | undefined;
}

const WAITING_MAX = 1_000;
const RETRY_AFTER_S = 5;
const HEAP_MB_MAX = 256;
const WORKER = new URL(
  import.meta.url.endsWith('.ts') ? './inspect-worker.ts' : './inspect-worker.js',
  import.meta.url,
);

class Pool implements InspectorPool {
  readonly #options: InspectorPoolOptions;
  readonly #threads = new Set<Thread>();
  readonly #waiting: Job[] = [];
  #closed = false;

  constructor(options: InspectorPoolOptions) {
    this.#options = options;
    // One thread is kept, so that a small file need not wait until a thread has started.
    this.#spawn();
  }

  readonly inspect: Inspector = (blobId, signal) =>
    new Promise((resolve, reject) => {
      signal?.throwIfAborted();
      this.#refuseWhenFull();
      const onAbort = () => this.#abort(job, signal?.reason);
      const settled = () => signal?.removeEventListener('abort', onAbort);
      const job: Job = {
        blobId,
        path: this.#options.resolvePath(blobId),
        resolve: (inspection) => {
          settled();
          resolve(inspection);
        },
        reject: (reason) => {
          settled();
          reject(reason);
        },
      };
      signal?.addEventListener('abort', onAbort, { once: true });
      this.#waiting.push(job);
      this.#assign();
    });

  async close(): Promise<void> {
    this.#closed = true;
    const reason = new Error('the inspector pool was closed before the file was read');
    for (const job of this.#waiting.splice(0)) job.reject(reason);
    await Promise.all([...this.#threads].map((thread) => this.#end(thread, reason)));
  }

  #refuseWhenFull(): void {
    const { waitingMax = WAITING_MAX } = this.#options;
    if (this.#closed) throw new Error('the inspector pool is closed');
    if (this.#waiting.length < waitingMax) return;
    throw new ApiError(
      'notReady',
      `${waitingMax} files are waiting to be validated already. Try again in ${RETRY_AFTER_S} seconds.`,
      { retryAfterS: RETRY_AFTER_S },
    );
  }

  /** Gives waiting files to idle threads. */
  #assign(): void {
    while (this.#waiting.length > 0) {
      const thread = this.#freeThread();
      if (!thread) return;
      const job = this.#waiting.shift();
      if (job) give(thread, job);
    }
  }

  /** Returns an idle thread, or a new one while there may be more. */
  #freeThread(): Thread | undefined {
    const idle = [...this.#threads].find((thread) => thread.job === undefined);
    return idle ?? (this.#threads.size < this.#options.threads ? this.#spawn() : undefined);
  }

  #spawn(): Thread {
    const { heapMbMax = HEAP_MB_MAX } = this.#options;
    const worker = new Worker(WORKER, { resourceLimits: { maxOldGenerationSizeMb: heapMbMax } });
    const thread: Thread = { worker, job: undefined };
    let cause: unknown;
    worker.unref();
    worker.on('message', (reply: InspectionReply) => this.#finish(thread, reply));
    worker.on('error', (error) => (cause = error));
    worker.on('exit', () => this.#lose(thread, cause));
    this.#threads.add(thread);
    return thread;
  }

  #finish(thread: Thread, reply: InspectionReply): void {
    const { job } = thread;
    thread.job = undefined;
    thread.worker.unref();
    if (job) settle(job, reply);
    this.#assign();
    // One thread is kept. Others were only for a rush.
    if (!thread.job && this.#threads.size > 1) void this.#end(thread, undefined);
  }

  #abort(job: Job, reason: unknown): void {
    const place = this.#waiting.indexOf(job);
    if (place !== -1) this.#waiting.splice(place, 1);
    job.reject(reason);
    const thread = [...this.#threads].find((one) => one.job === job);
    if (thread) void this.#end(thread, reason);
  }

  async #end(thread: Thread, reason: unknown): Promise<void> {
    this.#threads.delete(thread);
    thread.job?.reject(reason);
    thread.job = undefined;
    await thread.worker.terminate();
    if (!this.#closed) this.#replace();
  }

  /** The thread ended by itself: it was out of memory, or our code has a fault. */
  #lose(thread: Thread, cause: unknown): void {
    if (!this.#threads.delete(thread)) return;
    const { job } = thread;
    job?.reject(new Error(`the thread that validated file ${job.blobId} ended unexpectedly`, { cause }));
    // A thread that ended without work could not start, and neither would the next.
    if (job) this.#replace();
  }

  #replace(): void {
    if (this.#threads.size === 0) this.#spawn();
    this.#assign();
  }
}

function give(thread: Thread, job: Job): void {
  thread.job = job;
  thread.worker.ref();
  thread.worker.postMessage({ path: job.path } satisfies InspectionOrder);
}

function settle(job: Job, reply: InspectionReply): void {
  switch (reply.kind) {
    case 'inspected':
      return job.resolve(reply.inspection);
    case 'absent':
      return job.reject(new BlobNotFound(`there are no bytes of file ${job.blobId}`));
    case 'failed':
      return job.reject(new Error(`file ${job.blobId} could not be validated`, { cause: reply.error }));
  }
}
