import { dirname } from 'node:path';
import { onBlob, onFsync } from './errors.ts';
import type { BlobFs } from './fs.ts';

/** Makes directories below `root`. For every caller the promise resolves when the name is durable. */
export class DurableDirs {
  readonly #fs: BlobFs;
  /** A directory that is there at start may not have reached the disk, so every process syncs it once. */
  readonly #made: Map<string, Promise<void>>;

  constructor(fs: BlobFs, root: string) {
    this.#fs = fs;
    this.#made = new Map([[root, Promise.resolve()]]);
  }

  ensure(dir: string): Promise<void> {
    const known = this.#made.get(dir);
    if (known) return known;
    const making = this.#make(dir).catch((error: unknown) => {
      this.#made.delete(dir);
      throw error;
    });
    this.#made.set(dir, making);
    return making;
  }

  /** The directory is removed, or about to be. Whoever needs it makes it again. */
  forget(dir: string): void {
    this.#made.delete(dir);
  }

  async #make(dir: string): Promise<void> {
    await this.ensure(dirname(dir));
    // Another call may remove the directory in between, as it is empty.
    await onBlob('make a blob directory', this.#fs.mkdir(dir));
    await onFsync('fsync of a blob directory', this.#fs.fsyncDir(dirname(dir)));
  }
}
