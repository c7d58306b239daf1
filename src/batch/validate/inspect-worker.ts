import { closeSync, openSync, readSync } from 'node:fs';
import { parentPort } from 'node:worker_threads';

import type { Inspection } from '../../contract/inspection.ts';
import { inspectInput } from './inspect.ts';

/** A thread of an inspector pool is sent the path of a file, and answers with what is in it. It has one job at a time. */
export interface InspectionOrder {
  readonly path: string;
}

export type InspectionReply =
  | { readonly kind: 'inspected'; readonly inspection: Inspection }
  | { readonly kind: 'absent' }
  | { readonly kind: 'failed'; readonly error: unknown };

const CHUNK_BYTES = 256 * 1024;
const buffer = Buffer.allocUnsafeSlow(CHUNK_BYTES);

parentPort?.on('message', (order: InspectionOrder) => {
  void inspectFile(order).then((reply) => parentPort?.postMessage(reply));
});

async function inspectFile({ path }: InspectionOrder): Promise<InspectionReply> {
  try {
    return { kind: 'inspected', inspection: await inspectInput(chunksOf(path)) };
  } catch (error) {
    const absent = error instanceof Error && 'code' in error && error.code === 'ENOENT';
    return absent ? { kind: 'absent' } : { kind: 'failed', error };
  }
}

/** Reads synchronously and into one buffer. The thread has nothing else to do, and so it stays small. */
function* chunksOf(path: string): Generator<Buffer> {
  const file = openSync(path, 'r');
  try {
    for (let bytes = 0; (bytes = readSync(file, buffer)) > 0;) yield buffer.subarray(0, bytes);
  } finally {
    closeSync(file);
  }
}
