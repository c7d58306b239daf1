import type { BlobFile } from './fs.ts';
import { onDisk } from './errors.ts';

const BLOCK_BYTES = 1024 * 1024;

/** Gathers chunks of any size into blocks; while one block is being written the next one fills. */
export class BlockWriter {
  readonly #file: BlobFile;
  #filling: Buffer = Buffer.allocUnsafeSlow(BLOCK_BYTES);
  #spare: Buffer | undefined;
  #used = 0;
  #writing: Promise<void> = Promise.resolve();

  constructor(file: BlobFile) {
    this.#file = file;
  }

  /** Copies `chunk`: its owner may reuse it afterwards. */
  async add(chunk: Uint8Array): Promise<void> {
    for (let from = 0; from < chunk.byteLength;) {
      const part = chunk.subarray(from, from + BLOCK_BYTES - this.#used);
      this.#filling.set(part, this.#used);
      this.#used += part.byteLength;
      from += part.byteLength;
      if (this.#used === BLOCK_BYTES) await this.#startWrite();
    }
  }

  async flush(): Promise<void> {
    if (this.#used > 0) await this.#startWrite();
    await this.#writing;
  }

  /** No write is under way any more, so the file may be closed. */
  async settle(): Promise<void> {
    await this.#writing.catch(() => {});
  }

  async #startWrite(): Promise<void> {
    await this.#writing;
    const block = this.#filling;
    this.#filling = this.#spare ?? Buffer.allocUnsafeSlow(BLOCK_BYTES);
    this.#spare = block;
    this.#writing = onDisk('write', this.#file.append(block.subarray(0, this.#used)));
    // Its failure is met by the next await of it; until then it must not count as unhandled.
    this.#writing.catch(() => {});
    this.#used = 0;
  }
}
