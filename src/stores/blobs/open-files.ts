import type { BlobFile } from './fs.ts';

interface Entry {
  readonly file: Promise<BlobFile>;
  users: number;
  forgotten: boolean;
}

/** Files kept open between reads, the least recently used closed first. */
export class OpenFiles {
  readonly #open: (id: string) => Promise<BlobFile>;
  readonly #filesMax: number;
  /** In order of use. */
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
      // An open that failed must not be remembered, and after a failed read a fresh handle is the better start.
      if (this.#entries.get(id) === entry) this.#entries.delete(id);
      entry.forgotten = true;
      throw error;
    } finally {
      entry.users--;
      await closeIfDone(entry);
      await this.#evict();
    }
  }

  /** Closes the file of `id` as soon as nobody reads it; the next read opens what is there then. */
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
  // Only read from, so a failed open or close loses nothing.
  await entry.file.then((file) => file.close()).catch(() => {});
}
