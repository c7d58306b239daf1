import { once } from 'node:events';
import { expect } from 'vitest';
import { requests, scratch, serve, type Server } from '../e2e/offpeak.ts';
import { sendTo, Wire, type WireBatch } from '../e2e/wire.ts';
import { startLedgerUpstream, type LedgerScript } from '../support/ledger-upstream.ts';
import { createTestDatabase } from '../support/postgres.ts';

export const DATABASES = ['SQLite', 'PostgreSQL'] as const;
export type DatabaseName = (typeof DATABASES)[number];

const CONCURRENCY = 32;
/** Requests that a kill may put in doubt (P5): those in flight, and those answered but not yet durable. */
export const DOUBT_MAX = CONCURRENCY + 2 * CONCURRENCY;
const KEY = 'crash-test-key';

/** Runs a real service over a real database, with a model server that records every request. Tests kill the service. */
export class Trial {
  readonly #args: readonly string[];
  readonly #dir: string;
  readonly #close: () => Promise<void>;
  readonly upstream: Awaited<ReturnType<typeof startLedgerUpstream>>;
  #server: Server | undefined;
  readonly wire = new Wire(
    sendTo(
      () => this.#running.url,
      () => KEY,
    ),
  );
  /** For each start, the time until requests were answered. */
  readonly startsMs: number[] = [];
  /** The wall-clock time at which each kill had ended the process. */
  readonly #killedAtMs: number[] = [];

  private constructor(options: {
    args: readonly string[];
    dir: string;
    upstream: Awaited<ReturnType<typeof startLedgerUpstream>>;
    close: () => Promise<void>;
  }) {
    this.#args = options.args;
    this.#dir = options.dir;
    this.upstream = options.upstream;
    this.#close = options.close;
  }

  /** `flags` are added to those that name the database and the model server. */
  static async open(
    database: DatabaseName,
    script: LedgerScript,
    { parent, flags = {} }: { parent?: string; flags?: Readonly<Record<string, string>> } = {},
  ): Promise<Trial> {
    const home = await scratch(parent);
    const upstream = await startLedgerUpstream({ script });
    const postgres = database === 'PostgreSQL' ? await createTestDatabase() : undefined;
    const options = {
      'data-dir': `${home.dir}/data`,
      'api-key': KEY,
      'log-level': 'error',
      upstream: upstream.url,
      deployment: 'llama',
      concurrency: String(CONCURRENCY),
      ...(postgres && { database: postgres.url }),
      ...flags,
    };
    const args = Object.entries(options).flatMap(([name, value]) => [`--${name}`, value]);
    const close = async (): Promise<void> => {
      await upstream.stop();
      await postgres?.drop();
      await home.remove();
    };
    const { dir } = home;
    return new Trial({ args, dir, upstream, close });
  }

  get dataDir(): string {
    return `${this.#dir}/data`;
  }

  async start(env: Readonly<Record<string, string>> = {}): Promise<void> {
    const startedMs = performance.now();
    this.#server = await serve(this.#args, { cwd: this.#dir, env });
    const health = await fetch(`${this.#server.url}/healthz`);
    expect(health.status).toBe(200);
    this.startsMs.push(performance.now() - startedMs);
  }

  /** Kills the process with SIGKILL, unless a failpoint has ended it already. */
  async kill(): Promise<void> {
    this.#running.child.kill('SIGKILL');
    await this.#running.ended;
    this.#killedAtMs.push(Date.now());
  }

  signal(name: 'SIGSTOP' | 'SIGCONT' | 'SIGTERM'): void {
    this.#running.child.kill(name);
  }

  /** Resolves when the service has ended by itself. */
  async death(): Promise<void> {
    const { child } = this.#running;
    if (child.exitCode === null && child.signalCode === null) await once(child, 'exit');
  }

  upload(count: number): Promise<string> {
    return this.wire.upload(requests(count));
  }

  async batches(): Promise<readonly WireBatch[]> {
    return (await this.wire.ask<{ data: WireBatch[] }>('/batches')).data;
  }

  /** The `custom_id`s in the files of results. Failed requests have their error code. */
  async results(
    batch: WireBatch,
  ): Promise<{ readonly output: string[]; readonly errors: [string, string | undefined][] }> {
    const [output, errors] = [
      await this.wire.results(batch.output_file_id),
      await this.wire.results(batch.error_file_id),
    ];
    return {
      output: output.map((line) => line.custom_id),
      errors: errors.map((line) => [line.custom_id, line.error?.code]),
    };
  }

  /** Expects exactly one result for each request, and counts that agree with the files. */
  async expectWhole(batch: WireBatch, count: number): Promise<void> {
    const { output, errors } = await this.results(batch);
    const ids = [...output, ...errors.map(([id]) => id)];
    expect(ids).toHaveLength(count);
    expect(new Set(ids).size).toBe(count);
    expect(batch.request_counts).toEqual({ total: count, completed: output.length, failed: errors.length });
  }

  /** How many requests reached the model server again. */
  async resent(): Promise<number> {
    const { requests: all, distinctKeys } = await this.upstream.stats();
    return all - distinctKeys;
  }

  /** For each kill, how many requests the killed process had sent and a later process sent again. */
  async resentByKill(): Promise<number[]> {
    const { entries } = await this.upstream.ledger();
    const resent = this.#killedAtMs.map(() => 0);
    const lastProcess = new Map<string, number>();
    for (const { key, receivedAtMs } of entries) {
      const before = lastProcess.get(key);
      const process = this.#killedAtMs.filter((atMs) => atMs < receivedAtMs).length;
      if (before !== undefined && before < process) resent[before]! += 1;
      lastProcess.set(key, process);
    }
    return resent;
  }

  async close(): Promise<void> {
    if (this.#server) await this.kill();
    await this.#close();
  }

  get #running(): Server {
    if (this.#server === undefined) throw new Error('the service was not started');
    return this.#server;
  }
}
