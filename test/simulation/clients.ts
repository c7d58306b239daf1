import { ApiError } from '../../src/contract/error.ts';
import type { Batch } from '../../src/contract/batch.ts';
import type { Scope } from '../../src/contract/scope.ts';
import type { Job } from './plan.ts';
import type { Life } from './scheduler.ts';
import type { Process, World } from './world.ts';

/** The server went away before it answered: what it did is not known. */
class ConnectionLost extends Error {
  override name = 'ConnectionLost';
}

const RETRY_MS = 700;

/** The caller of each job: a script with a retry loop, which uploads, creates, and may cancel or delete. */
export function runClients(world: World, life: Life, onDone: () => void): void {
  for (const job of world.plan.jobs) {
    world.scheduler.at(job.atMs, life, () => {
      new Client(world, life, job).run().then(onDone, (error: unknown) => world.failed(error));
    });
  }
}

/** The owner of a batch that waits for a server which accepts none of its lines. */
export function giveUp(world: World, life: Life, batch: Batch): void {
  const job = world.jobOfFile.get(batch.inputFileId);
  if (job === undefined) return;
  new Client(world, life, job).cancel(batch.id, 0).catch((error: unknown) => world.failed(error));
}

class Client {
  readonly #world: World;
  readonly #life: Life;
  readonly #job: Job;
  readonly #scope: Scope;

  constructor(world: World, life: Life, job: Job) {
    this.#world = world;
    this.#life = life;
    this.#job = job;
    this.#scope = { resourceId: job.resourceId, actor: 'client' };
  }

  async run(): Promise<void> {
    const fileId = await this.#upload();
    const acts: Promise<void>[] = [];
    const { deleteInputAfterMs, cancelAfterMs } = this.#job;
    if (deleteInputAfterMs !== null) acts.push(this.#deleteInput(fileId, deleteInputAfterMs));
    const batchId = await this.#create(fileId);
    if (batchId !== null && cancelAfterMs !== null) acts.push(this.cancel(batchId, cancelAfterMs));
    await Promise.all(acts);
  }

  async #upload(): Promise<string> {
    const { oracle, jobOfFile, plan } = this.#world;
    const bytes = Buffer.from(this.#job.text);
    for (;;) {
      const file = await this.#try(({ uploader }) =>
        uploader.uploadFile(this.#scope, {
          filename: 'in.jsonl',
          purpose: 'batch',
          chunks: inPieces(bytes, plan.seed),
          expiresAfterS: null,
        }),
      );
      if (file instanceof Error) {
        await this.#wait(RETRY_MS);
        continue;
      }
      jobOfFile.set(file.id, this.#job);
      oracle.uploaded(file, bytes);
      return file.id;
    }
  }

  /** Null: the service said no. */
  async #create(fileId: string): Promise<string | null> {
    const { oracle } = this.#world;
    const { withIdempotencyKey, name, whenFull, dialect } = this.#job;
    for (;;) {
      const created = await this.#try(({ engine }) =>
        engine.createBatch(this.#scope, {
          inputFileId: fileId,
          endpoint: '/chat/completions',
          dialect,
          metadata: { job: name },
          outputExpiresAfterS: null,
          whenFull: whenFull ?? undefined,
          ...(withIdempotencyKey && { idempotency: { key: name, bodyDigest: fileId } }),
        }),
      );
      if (created instanceof ApiError && created.retryAfterS === null) {
        oracle.refused(this.#job, fileId, created);
        return null;
      }
      if (created instanceof Error) {
        await this.#wait(RETRY_MS);
        continue;
      }
      this.#world.note(`${name} is accepted as ${created.batch.id}`);
      oracle.accepted(this.#job, created.batch);
      return created.batch.id;
    }
  }

  async cancel(batchId: string, afterMs: number): Promise<void> {
    await this.#wait(afterMs);
    const { oracle } = this.#world;
    for (;;) {
      oracle.cancelling(batchId);
      const batch = await this.#try(async ({ state, engine }) => {
        const found = await state.batches.cancel(this.#scope, batchId, Math.floor(this.#world.wallMs / 1000));
        engine.notify();
        return found;
      });
      if (!(batch instanceof Error)) {
        this.#world.note(`cancel of ${batchId} is answered`);
        return oracle.cancelled(batchId, batch);
      }
      await this.#wait(RETRY_MS);
    }
  }

  async #deleteInput(fileId: string, afterMs: number): Promise<void> {
    await this.#wait(afterMs);
    for (;;) {
      this.#world.oracle.deleting(fileId);
      const done = await this.#try(({ uploader }) => uploader.deleteFile(this.#scope, fileId));
      if (!(done instanceof Error)) return;
      await this.#wait(RETRY_MS);
    }
  }

  /** One request. What went wrong is a value: a retry loop decides. */
  async #try<T>(ask: (process: Process) => Promise<T>): Promise<T | Error> {
    while (!this.#world.front) await this.#wait(500);
    const process = this.#world.front;
    const lost = process.died.then(() => new ConnectionLost('the server went away'));
    try {
      return await Promise.race([ask(process), lost]);
    } catch (error) {
      if (!(error instanceof Error)) throw error;
      this.#world.serverError(process, error);
      return error;
    }
  }

  #wait(delayMs: number): Promise<void> {
    return this.#world.scheduler.after(delayMs, this.#life, () => {});
  }
}

/** The bytes as a socket brings them: in pieces that do not end where lines end. */
async function* inPieces(bytes: Buffer, seed: number): AsyncGenerator<Uint8Array> {
  const size = 1 + (seed % 997);
  for (let at = 0; at < bytes.length; at += size) yield bytes.subarray(at, at + size);
}
