import { closeSync, openSync, readSync } from 'node:fs';
import { parentPort } from 'node:worker_threads';

import type { Inspection } from '../../contract/inspection.ts';
import { assert } from '../../core/assert.ts';
import { awaitGrowth } from './growth.ts';
import { inspectInput } from './inspect.ts';

/** The thread of an inspector pool: it is sent a path, and answers with what is in the file. One job at a time. */
export interface InspectionOrder {
  readonly path: string;
  /** Of a file that is still being written: where it is until it is whole, and the memory of its `Growth`. */
  readonly growing?: { readonly path: string; readonly shared: SharedArrayBuffer } | undefined;
}

export type InspectionReply =
  | { readonly kind: 'inspected'; readonly inspection: Inspection }
  | { readonly kind: 'absent' }
  | { readonly kind: 'dropped' }
  | { readonly kind: 'failed'; readonly error: unknown };

const CHUNK_BYTES = 256 * 1024;
const buffer = Buffer.allocUnsafeSlow(CHUNK_BYTES);

parentPort?.on('message', (order: InspectionOrder) => {
  void inspectFile(order).then((reply) => parentPort?.postMessage(reply));
});

async function inspectFile({ path, growing }: InspectionOrder): Promise<InspectionReply> {
  try {
    const chunks = growing ? growingChunksOf([growing.path, path], growing.shared) : chunksOf(path);
    return { kind: 'inspected', inspection: await inspectInput(chunks) };
  } catch (error) {
    if (error === DROPPED) return { kind: 'dropped' };
    const absent = error instanceof Error && 'code' in error && error.code === 'ENOENT';
    return absent ? { kind: 'absent' } : { kind: 'failed', error };
  }
}

const DROPPED = new Error('nobody wants the file inspected any more');

/** Reads in step with the pass and into one buffer: this thread has nothing else to do, and stays small. */
function* chunksOf(path: string): Generator<Buffer> {
  const file = openSync(path, 'r');
  try {
    for (let bytes = 0; (bytes = readSync(file, buffer)) > 0;) yield buffer.subarray(0, bytes);
  } finally {
    closeSync(file);
  }
}

/** One that is renamed just now is at the second path when it is no longer at the first. */
function openEither([first, second]: readonly [string, string]): number {
  try {
    return openSync(first, 'r');
  } catch {
    return openSync(second, 'r');
  }
}

/** As `chunksOf`, in step with the writer too. */
function* growingChunksOf(paths: readonly [string, string], shared: SharedArrayBuffer): Generator<Buffer> {
  const file = openEither(paths);
  try {
    for (let at = 0; ;) {
      const readable = awaitGrowth(shared, at);
      if (readable === undefined) throw DROPPED;
      if (readable.isWhole && at === readable.bytes) return;
      const bytes = readSync(file, buffer, 0, Math.min(CHUNK_BYTES, readable.bytes - at), at);
      assert(bytes > 0, 'bytes were announced that are not in the file');
      at += bytes;
      yield buffer.subarray(0, bytes);
    }
  } finally {
    closeSync(file);
  }
}
