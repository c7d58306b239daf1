import { assert } from '../../core/assert.ts';
import type { StatePorts, StateStore } from './ports.ts';

/**
 * A call of a store as plain data. Whoever must see every call of every port works on these: the thread of the embedded
 * store, the guard against a full disk, the simulation. So the ports are listed in `ports.ts` and `store.ts` alone.
 */
export interface StoreCall {
  readonly port: keyof StatePorts;
  readonly method: string;
  readonly args: readonly unknown[];
}

/** The names of all ports, and of the methods of each. */
export type StoreMethods = ReadonlyMap<keyof StatePorts, readonly string[]>;

export function methodsOf(store: StateStore): StoreMethods {
  const names = Object.keys(store).filter((name): name is keyof StatePorts => name !== 'close');
  return new Map(names.map((port) => [port, Object.keys(store[port])]));
}

/** Makes the call on a store. */
export function perform(store: StatePorts, { port, method, args }: StoreCall): Promise<unknown> {
  const call: unknown = Reflect.get(store[port], method);
  assert(typeof call === 'function', `the store has no ${port}.${method}`);
  return Reflect.apply(call, store[port], args) as Promise<unknown>;
}

/** Ports with these methods. Every call goes to `handle`, whose answer is the answer of the call. */
export function portsOf(methods: StoreMethods, handle: (call: StoreCall) => Promise<unknown>): StatePorts {
  const ports = [...methods].map(([port, names]) => {
    const calls = names.map((method) => [
      method,
      (...args: readonly unknown[]) => handle({ port, method, args }),
    ]);
    return [port, Object.fromEntries(calls)];
  });
  // The names come from a store, so no port and no method is missing.
  return Object.fromEntries(ports) as StatePorts;
}
