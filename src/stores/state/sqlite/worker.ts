import { setImmediate } from 'node:timers/promises';
import { parentPort, workerData } from 'node:worker_threads';

import { assert } from '../../../core/assert.ts';
import { methodsOf, perform } from '../calls.ts';
import type { ResultRow, StateStore } from '../ports.ts';
import { openSqliteInline } from './inline.ts';
import { buffersOf, packRows, unpackResults } from './packing.ts';
import { toWire, type Reply, type Request } from './protocol.ts';

/** The entry of the embedded store's thread. It has the inline store and answers calls on it. */
const port = parentPort;
assert(port, 'the store thread was started without a parent');
const say = (reply: Reply, handedOver: ArrayBuffer[] = []) => port.postMessage(reply, handedOver);

try {
  const { path } = workerData as { path: string };
  const store = await openSqliteInline({ path, breathe: () => setImmediate() });
  port.on('message', (request: Request) => void answer(store, request));
  say({ kind: 'opened', methods: methodsOf(store) });
} catch (error) {
  say({ kind: 'refused', error: toWire(error) });
}

async function answer(store: StateStore, { id, call, packed }: Request): Promise<void> {
  try {
    if (call === 'close') {
      await store.close();
      say({ kind: 'value', id, value: undefined });
      port?.close();
    } else if (packed) {
      say({ kind: 'value', id, value: await store.results.commit(unpackResults(packed)) });
    } else if (call.port === 'results' && call.method === 'page') {
      const rows = packRows((await perform(store, call)) as ResultRow[]);
      say({ kind: 'value', id, value: undefined, packed: rows }, buffersOf(rows));
    } else {
      say({ kind: 'value', id, value: await perform(store, call) });
    }
  } catch (error) {
    say({ kind: 'error', id, error: toWire(error) });
  }
}
