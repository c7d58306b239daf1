import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { scratch, serve, type Server } from '../e2e/offpeak.ts';
import { sendTo } from '../e2e/wire.ts';
import { startLedgerUpstream, type LedgerUpstream } from '../support/ledger-upstream.ts';

const KEY_LENGTH = 24;
/** How long a model server is down. */
const DOWN_MS = 2_000;

/** Runs the service as a process with two model servers, and disturbs it as operators and networks do. */
export class SoakService {
  readonly dir: string;
  readonly #keep: string;
  readonly #server: Server;
  readonly #upstreams: readonly LedgerUpstream[];
  #keys: readonly string[];
  /** The key that clients use. */
  #key: string;
  #concurrency = 32;
  #turn = 0;
  readonly #did = { reloads: 0, rotations: 0, restarts: 0 };
  #said = '';
  hasEnded = false;

  private constructor(options: {
    dir: string;
    keep: string;
    server: Server;
    upstreams: readonly LedgerUpstream[];
    keys: readonly string[];
  }) {
    this.dir = options.dir;
    this.#keep = options.keep;
    this.#server = options.server;
    this.#upstreams = options.upstreams;
    this.#keys = options.keys;
    this.#key = options.keys[0] ?? '';
    void options.server.ended.then(() => (this.hasEnded = true));
  }

  static async start({ keep }: { readonly keep: string }): Promise<SoakService> {
    const { dir } = await scratch();
    const script = {
      latencyMs: 5,
      jitterMs: 20,
      statusChances: { 500: 0.005, 429: 0.002 },
      retryAfterMs: 50,
    };
    const upstreams = await Promise.all(
      [1, 2].map((seed) => startLedgerUpstream({ script, seed, answerBytes: 400 })),
    );
    const keys = [newKey()];
    await writeFile(join(dir, 'offpeak.yaml'), configuration({ keys, keep, concurrency: 32, upstreams }));
    const server = await serve(['--log-level', 'error', '--admin-key', newKey()], { cwd: dir });
    return new SoakService({ dir, keep, server, upstreams, keys });
  }

  get pid(): number {
    return this.#server.child.pid ?? 0;
  }

  get database(): string {
    return join(this.dir, '.offpeak', 'offpeak.db');
  }

  get dataDir(): string {
    return join(this.dir, '.offpeak');
  }

  fetch(path: string, init: RequestInit = {}, key = this.#key): Promise<Response> {
    return sendTo(
      () => this.#server.url,
      () => key,
    )(path, init);
  }

  /** Causes the next disturbance. */
  async disturb(): Promise<void> {
    const turn = this.#turn++ % 4;
    if (turn === 0) await this.#rotateKey();
    else if (turn === 2) await this.#reloadWith({ concurrency: this.#concurrency === 32 ? 16 : 32 });
    else await this.#restartUpstream(this.#upstreams[(this.#turn >> 1) % 2]);
  }

  /** Lets model servers answer everything, so that running batches can end. */
  async calm(): Promise<void> {
    for (const upstream of this.#upstreams) await upstream.script({ down: false, statusChances: {} });
  }

  summary(): string {
    const { reloads, rotations, restarts } = this.#did;
    return `${rotations} keys rotated, ${reloads} reloads, ${restarts} restarts of a model server`;
  }

  said(): string {
    return this.#said;
  }

  async stop(): Promise<number | null> {
    this.#server.child.kill('SIGTERM');
    const { code, stderr } = await this.#server.ended;
    this.#said = stderr.slice(-2_000);
    for (const upstream of this.#upstreams) await upstream.stop();
    return code;
  }

  /** A resource has two keys, so that clients can change to the new one before the old one is removed. */
  async #rotateKey(): Promise<void> {
    const next = newKey();
    this.#keys = [this.#key, next];
    await this.#reload();
    while (!this.hasEnded && (await this.fetch('/files?limit=1', {}, next)).status === 401)
      await new Promise((resolve) => setTimeout(resolve, 50));
    this.#key = next;
    this.#did.rotations += 1;
  }

  async #reloadWith({ concurrency }: { readonly concurrency: number }): Promise<void> {
    this.#concurrency = concurrency;
    await this.#reload();
    this.#did.reloads += 1;
  }

  async #reload(): Promise<void> {
    const file = configuration({
      keys: this.#keys,
      keep: this.#keep,
      concurrency: this.#concurrency,
      upstreams: this.#upstreams,
    });
    await writeFile(join(this.dir, 'offpeak.yaml'), file);
    this.#server.child.kill('SIGHUP');
  }

  async #restartUpstream(upstream: LedgerUpstream | undefined): Promise<void> {
    await upstream?.script({ down: true });
    await new Promise((resolve) => setTimeout(resolve, DOWN_MS));
    await upstream?.script({ down: false });
    this.#did.restarts += 1;
  }
}

const newKey = (): string => crypto.randomUUID().replaceAll('-', '').slice(0, KEY_LENGTH);

const configuration = (options: {
  readonly keys: readonly string[];
  readonly keep: string;
  readonly concurrency: number;
  readonly upstreams: readonly LedgerUpstream[];
}): string =>
  JSON.stringify({
    concurrency: options.concurrency,
    maxFiles: 100_000,
    keep: { batches: options.keep, files: options.keep, audit: options.keep },
    upstreams: options.upstreams.map(({ url }, index) => ({ name: `m${index}`, url })),
    resources: [{ name: 'default', keys: options.keys, deployments: ['soak=soak'] }],
  });
