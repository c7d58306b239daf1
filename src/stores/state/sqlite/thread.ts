import { once } from 'node:events';
import { Worker } from 'node:worker_threads';

import { portsOf } from '../calls.ts';
import { StoreError, type Claim, type StateStore } from '../ports.ts';
import { buffersOf, packResults, unpackRows, type Packed } from './packing.ts';
import { fromWire, type Reply, type Request } from './protocol.ts';

export interface SqliteOptions {
  readonly path: string;
  /** Called once when the store cannot be used any more: its thread ended, or the disk failed. */
  readonly onFatal?: (error: Error) => void;
}

/** Opens the embedded store in a thread of its own, so that waiting for the disk holds up nobody else. */
export async function openSqliteStore({ path, onFatal }: SqliteOptions): Promise<StateStore> {
  const extension = import.meta.url.endsWith('.ts') ? 'ts' : 'js';
  const worker = new Worker(new URL(`./worker.${extension}`, import.meta.url), {
    name: 'state store',
    workerData: { path },
  });
  const [opening] = (await once(worker, 'message')) as [Reply];
  if (opening.kind !== 'opened') {
    await worker.terminate();
    throw opening.kind === 'refused' ? fromWire(opening.error) : new StoreError('unexpected reply', 'other');
  }
  const thread = new Thread(worker, onFatal);
  const ports = portsOf(opening.methods, (call) => thread.call(call));
  return {
    ...ports,
    results: {
      ...ports.results,
      commit: (group) =>
        thread.call({ port: 'results', method: 'commit', args: [] }, packResults(group)) as Promise<Claim[]>,
    },
    close: () => thread.close(),
  };
}

/**
 * The owner's end of the store's thread. It is in one of two modes:
 *
 * - Open: a call gets a number and waits in `#waiting` for the reply with that number.
 * - Ended (`#ended` says why): every call rejects with that error. `close` ends it, and calls made before are still
 *   answered. A thread that stops by itself, or an `io` error of the disk, also rejects all calls that wait and calls
 *   `onFatal`: after a failed write nobody knows what is stored.
 */
class Thread {
  readonly #worker: Worker;
  readonly #onFatal: ((error: Error) => void) | undefined;
  readonly #waiting = new Map<number, PromiseWithResolvers<unknown>>();
  #calls = 0;
  #ended: Error | undefined;

  constructor(worker: Worker, onFatal: ((error: Error) => void) | undefined) {
    this.#worker = worker;
    this.#onFatal = onFatal;
    worker.on('message', (reply: Reply) => this.#settle(reply));
    worker.on('error', (error) =>
      this.#fail(new StoreError('The state store failed.', 'other', { cause: error })),
    );
    worker.on('exit', () => this.#fail(new StoreError('The thread of the state store ended.', 'other')));
  }

  /** `packed`: the arguments of `results.commit`. */
  call(call: Request['call'], packed?: Packed): Promise<unknown> {
    if (this.#ended) return Promise.reject(this.#ended);
    const id = ++this.#calls;
    const waiting = Promise.withResolvers<unknown>();
    this.#waiting.set(id, waiting);
    this.#worker.postMessage({ id, call, packed } satisfies Request, packed ? buffersOf(packed) : []);
    return waiting.promise;
  }

  async close(): Promise<void> {
    const exit = once(this.#worker, 'exit');
    const closed = this.call('close');
    // From here on the end of the thread is expected. It may come before the answer.
    this.#ended ??= new StoreError('The state store is closed.', 'other');
    await Promise.race([closed, exit]);
    await exit;
  }

  #settle(reply: Reply): void {
    if (reply.kind !== 'value' && reply.kind !== 'error') return;
    const waiting = this.#waiting.get(reply.id);
    this.#waiting.delete(reply.id);
    if (reply.kind === 'value')
      return waiting?.resolve(reply.packed ? unpackRows(reply.packed) : reply.value);
    const error = fromWire(reply.error);
    waiting?.reject(error);
    if (error instanceof StoreError && error.reason === 'io') this.#fail(error);
  }

  #fail(error: Error): void {
    const isNews = !this.#ended;
    this.#ended ??= error;
    for (const { reject } of this.#waiting.values()) reject(this.#ended);
    this.#waiting.clear();
    if (isNews) this.#onFatal?.(error);
  }
}
