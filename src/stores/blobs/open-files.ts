import type { BlobFile } from './fs.ts';

interface Entry {
  readonly file: Promise<BlobFile>;
  users: number;
  forgotten: boolean;
}

/** Keeps files open between reads, and closes the least recently used first. */
export class OpenFiles {
  readonly #open: (id: string) => Promise<BlobFile>;
  readonly #filesMax: number;
  /** The order of the entries is that of their last use. */
  readonly #entries = new Map<string, Entry>();

  constructor(open: (id: string) => Promise<BlobFile>, filesMax: number) {
    this.#open = open;
    this.#filesMax = filesMax;
  }

  async use<T>(id: string, work: (file: BlobFile) => Promise<T>): Promise<T> {
    const entry = this.#entries.get(id) ?? { file: this.#open(id), users: 0, forgotten: false };
    this.#entries.delete(id);
    this.#entries.set(id, entry);
    entry.users++;
    try {
      return await work(await entry.file);
    } catch (error) {
      // A failed open must not be remembered, and after a failed read the next one needs a new handle.
      if (this.#entries.get(id) === entry) this.#entries.delete(id);
      entry.forgotten = true;
      throw error;
    } finally {
      entry.users--;
      await closeIfDone(entry);
      await this.#evict();
    }
  }

  /** Closes the file of `id` as soon as nobody reads it. The next read opens the file anew. */
  async forget(id: string): Promise<void> {
    const entry = this.#entries.get(id);
    if (!entry) return;
    this.#entries.delete(id);
    entry.forgotten = true;
    await closeIfDone(entry);
  }

  async close(): Promise<void> {
    for (const id of this.#entries.keys()) await this.forget(id);
  }

  async #evict(): Promise<void> {
    for (const [id, entry] of this.#entries) {
      if (this.#entries.size <= this.#filesMax) return;
      if (entry.users === 0) await this.forget(id);
    }
  }
}

async function closeIfDone(entry: Entry): Promise<void> {
  if (!entry.forgotten || entry.users > 0) return;
  // The file was only read, so a failed open or close loses nothing.
  await entry.file.then((file) => file.close()).catch(() => {});
}
