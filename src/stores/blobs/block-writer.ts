import type { BlobFile } from './fs.ts';
import { onDisk } from './errors.ts';

/** Gathers chunks of any size into blocks. While one block is written, the next one fills. */
export class BlockWriter {
  readonly #file: BlobFile;
  readonly #blockBytes: number;
  #filling: Buffer;
  #spare: Buffer | undefined;
  #used = 0;
  #writing: Promise<void> = Promise.resolve();

  constructor(file: BlobFile, blockBytes: number) {
    this.#file = file;
    this.#blockBytes = blockBytes;
    this.#filling = Buffer.allocUnsafeSlow(blockBytes);
  }

  /** Copies `chunk`: its owner may reuse it afterwards. */
  async add(chunk: Uint8Array): Promise<void> {
    for (let from = 0; from < chunk.byteLength;) {
      const part = chunk.subarray(from, from + this.#blockBytes - this.#used);
      this.#filling.set(part, this.#used);
      this.#used += part.byteLength;
      from += part.byteLength;
      if (this.#used === this.#blockBytes) await this.#startWrite();
    }
  }

  async flush(): Promise<void> {
    if (this.#used > 0) await this.#startWrite();
    await this.#writing;
  }

  /** Resolves when no write is under way, so that the file may be closed. */
  async settle(): Promise<void> {
    await this.#writing.catch(() => {});
  }

  async #startWrite(): Promise<void> {
    await this.#writing;
    const block = this.#filling;
    this.#filling = this.#spare ?? Buffer.allocUnsafeSlow(this.#blockBytes);
    this.#spare = block;
    this.#writing = onDisk('write', this.#file.append(block.subarray(0, this.#used)));
    // The next await meets a failure. Until then the rejection must not count as unhandled.
    this.#writing.catch(() => {});
    this.#used = 0;
  }
}
