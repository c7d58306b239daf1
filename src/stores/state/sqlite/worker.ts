import { setImmediate } from 'node:timers/promises';
import { parentPort, workerData } from 'node:worker_threads';

import { assert } from '../../../core/assert.ts';
import type { StateStore } from '../ports.ts';
import { openSqliteInline } from './inline.ts';
import { buffersOf, packRows, unpackResults } from './packing.ts';
import { toWire } from './protocol.ts';
import type { Call, Method, Reply } from './protocol.ts';

/** Entry of the embedded store's thread: hosts the inline store and answers calls on it. */
const port = parentPort;
assert(port, 'the store thread was started without a parent');
const say = (reply: Reply, handedOver: ArrayBuffer[] = []) => port.postMessage(reply, handedOver);

try {
  const { path } = workerData as { path: string };
  const store = await openSqliteInline({ path, breathe: () => setImmediate() });
  port.on('message', (call: Call) => void answer(store, call));
  const methods = (of: object) => Object.keys(of);
  say({
    kind: 'opened',
    methods: {
      installation: methods(store.installation),
      resources: methods(store.resources),
      deployments: methods(store.deployments),
      audit: methods(store.audit),
      files: methods(store.files),
      uploads: methods(store.uploads),
      batches: methods(store.batches),
      work: methods(store.work),
      results: methods(store.results),
      retention: methods(store.retention),
    },
  });
} catch (error) {
  say({ kind: 'refused', error: toWire(error) });
}

async function answer(store: StateStore, { id, port: name, method, args, packed }: Call): Promise<void> {
  try {
    if (packed) {
      say({ kind: 'value', id, value: await store.results.commit(unpackResults(packed)) });
    } else if (name === 'results' && method === 'page') {
      const rows = packRows(await store.results.page(...(args as Parameters<StateStore['results']['page']>)));
      say({ kind: 'value', id, value: undefined, packed: rows }, buffersOf(rows));
    } else if (name) {
      const call = (store[name] as unknown as Record<string, Method>)[method];
      assert(call, `the store has no ${name}.${method}`);
      say({ kind: 'value', id, value: await call(...args) });
    } else {
      await store.close();
      say({ kind: 'value', id, value: undefined });
      port?.close();
    }
  } catch (error) {
    say({ kind: 'error', id, error: toWire(error) });
  }
}
