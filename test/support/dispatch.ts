/** Dispatchers over a real SQLite file. Model servers answer when the test says so; the clock stands until it is moved. */
import { Dispatcher, type DispatchTarget, type DispatchDeps } from '../../src/batch/dispatch/dispatcher.ts';
import type { FailureOptions } from '../../src/batch/dispatch/failures.ts';
import { Recorder } from '../../src/batch/results/recorder.ts';
import { inspectInput } from '../../src/batch/validate/inspect.ts';
import type { Batch } from '../../src/contract/batch.ts';
import { assert } from '../../src/core/assert.ts';
import { noFailpoints } from '../../src/core/failpoint.ts';
import { silentLog } from '../../src/core/log.ts';
import { RetryStorms } from '../../src/serving/retry-storm.ts';
import { Servers } from '../../src/serving/servers.ts';
import type { ResultStore, StateStore, WorkStore } from '../../src/stores/state/ports.ts';
import type { Upstream, UpstreamReply } from '../../src/upstream/port.ts';
import { ok } from './engine.ts';
import { ManualClock } from './manual-clock.ts';
import { temporarySqlite } from './sqlite.ts';
import { batchBySeq, batchOf, planOf, startBatch } from './state-store.ts';

/** A request that a model server has, and has not answered. */
interface Pending {
  readonly customId: string;
  readonly upstream: string;
  readonly answer: (reply: UpstreamReply) => void;
}

export async function openDispatchBench(): Promise<DispatchBench> {
  const { store, remove } = await temporarySqlite();
  return new DispatchBench(store, remove);
}

export class DispatchBench {
  readonly store: StateStore;
  readonly close: () => Promise<void>;
  readonly clock = new ManualClock();
  hasDiskSpace = true;
  /** Commits of results, and notes of suspects, begin when these resolve. */
  committing: Promise<void> = Promise.resolve();
  noting: Promise<void> = Promise.resolve();
  /** The custom ids of all requests that came, in order. */
  readonly sent: string[] = [];
  pending: Pending[] = [];
  /** Bytes of inputs by the ids of their blobs. */
  readonly inputs = new Map<string, Buffer>();
  #deps: DispatchDeps;
  #workers = 0;

  constructor(store: StateStore, close: () => Promise<void>) {
    this.store = store;
    this.close = close;
    this.#deps = this.#newProcess();
  }

  get workerId(): string {
    return this.#deps.workerId;
  }

  readonly #results: Pick<ResultStore, 'commit'> = {
    commit: async (group) => {
      await this.committing;
      return this.store.results.commit(group);
    },
  };

  readonly #work: WorkStore = {
    claim: (...args) => this.store.work.claim(...args),
    release: (...args) => this.store.work.release(...args),
    reclaim: (...args) => this.store.work.reclaim(...args),
    markSuspect: async (...args) => {
      await this.noting;
      return this.store.work.markSuspect(...args);
    },
  };

  readonly blobs = {
    readBytes: async (id: string, { start, length }: { start: number; length: number }) => {
      const input = this.inputs.get(id);
      assert(input, `there is no input ${id}`);
      return input.subarray(start, start + length);
    },
  };

  /** Of the process that runs now. */
  dispatcher(target: Partial<DispatchTarget> = {}, options: Partial<FailureOptions> = {}): Dispatcher {
    const times = { retriesMax: 2, retryBaseMs: 100, retryCapMs: 100, acceptedBefore: false };
    const dispatcher = new Dispatcher(this.#deps, { ...times, ...options });
    dispatcher.update(this.target(target));
    return dispatcher;
  }

  target(given: Partial<DispatchTarget> = {}): DispatchTarget {
    return { upstreams: [this.upstream('model-server')], concurrencyMax: 4, absence: 'gone', ...given };
  }

  upstream(name: string): Upstream {
    return {
      name,
      server: name,
      model: 'm',
      call: ({ customIdJson }, signal) =>
        new Promise((resolve) => {
          const customId: string = JSON.parse(Buffer.from(customIdJson ?? []).toString());
          this.sent.push(customId);
          const pending: Pending = {
            customId,
            upstream: name,
            answer: (reply) => {
              this.pending = this.pending.filter((other) => other !== pending);
              resolve(reply);
            },
          };
          this.pending.push(pending);
          signal.addEventListener('abort', () =>
            pending.answer({ kind: 'failure', reason: 'aborted', message: 'aborted', status: null }),
          );
        }),
      probe: async () => ({ kind: 'models', ids: ['m'] }),
      close: async () => {},
    };
  }

  /** The process ends at once, with whatever it was doing. The next one takes back what it held. */
  async crash(): Promise<void> {
    this.pending = [];
    this.#deps = this.#newProcess();
    await this.store.work.reclaim(this.workerId);
  }

  /** A batch in progress over this input. */
  async batch(id: string, input: string): Promise<Batch> {
    const { requests, segments } = await inspectInput([Buffer.from(input)]);
    const seq = await startBatch(this.store, id, { ...planOf(0), requests, segments });
    this.inputs.set(batchOf(id).inputBlobId, Buffer.from(input));
    return batchBySeq(this.store, seq);
  }

  /** The state of a batch in the store. */
  stored({ seq }: Batch): Promise<Batch> {
    return batchBySeq(this.store, seq);
  }

  /** Answers the oldest request of a line, or the oldest of all, and lets everything that follows from it happen. */
  async answer(customId: string | null = null, reply: UpstreamReply = ok): Promise<void> {
    const pending = this.pending.find((one) => customId === null || one.customId === customId);
    assert(pending, `no server has a request of ${customId ?? 'any line'}`);
    pending.answer(reply);
    await this.clock.advance();
  }

  /** Answers all that servers have, and whatever comes then, until nothing more comes. */
  async answerAll(reply: UpstreamReply = ok): Promise<void> {
    for (;;) {
      await this.clock.advance();
      if (this.pending.length === 0) return;
      for (const { answer } of this.pending) answer(reply);
    }
  }

  #newProcess(): DispatchDeps {
    const base = { clock: this.clock, random: () => 0, log: silentLog, failpoint: noFailpoints };
    const onFatal = (error: unknown): never => {
      throw error;
    };
    this.#workers += 1;
    return {
      ...base,
      onFatal,
      workerId: `process-${this.#workers}`,
      work: this.#work,
      inputs: this.blobs,
      recorder: new Recorder(
        { ...base, onFatal, results: this.#results },
        { groupMax: null, lingerMs: 0, groupBytesMax: 1e6 },
      ),
      servers: new Servers(base),
      retryStorms: new RetryStorms(base),
      hasDiskSpace: () => this.hasDiskSpace,
      suspectTurn: { line: null },
    };
  }
}
