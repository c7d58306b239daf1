import { methodsOf, perform, portsOf } from '../../src/stores/state/calls.ts';
import type { StateStore, StoreError } from '../../src/stores/state/ports.ts';
import type { Point } from './plan.ts';
import { never } from './scheduler.ts';
import type { Life, Scheduler } from './scheduler.ts';

/** What the world decides about calls of a process. */
export interface Fates {
  /** Counts the call. True: the process has just ended at it. */
  crashHere(point: Point, after: boolean, life: Life): boolean;
  /** Thrown instead of the effect (`before`), or in place of the answer. */
  storeFault(call: string, life: Life): { readonly error: StoreError; readonly after: boolean } | null;
  storeLatencyMs(): number;
  /** The store changed: the checks look again. */
  wrote(): void;
  /** What the store did and answered, whether the answer reaches the process or not. */
  answered(call: string, args: readonly unknown[], value: unknown): void;
}

const READS =
  /\.(get|list|find|live|bySeq|enqueuedTokens|nextToStart|inspection$|existing|page|completeThrough)/;
export const isRead = (call: string): boolean => READS.test(call);

/** Calls after which a batch may look different. */
const CHANGES = /^(batches\.|results\.commit|work\.reclaim)/;
const changesBatches = (call: string): boolean => CHANGES.test(call) && !isRead(call);

/**
 * The state store as one process sees it: calls take time, fail or lose their answer as the world decides, and nothing
 * comes back to a dead process. The calls of all processes go one by one, since they share one file.
 */
export function storeOf(
  life: Life,
  real: StateStore,
  deps: { readonly scheduler: Scheduler; readonly fates: Fates; readonly turn: Turn },
): StateStore {
  const { scheduler, fates, turn } = deps;
  const call = async <T>(name: string, args: readonly unknown[], effect: () => Promise<T>): Promise<T> => {
    if (!life.alive) return never();
    return scheduler
      .after(fates.storeLatencyMs(), life, async (): Promise<T> => {
        if (fates.crashHere('store', false, life)) return never();
        const fault = fates.storeFault(name, life);
        if (fault && !fault.after) throw fault.error;
        const value = await turn(async () => {
          const answer = await effect();
          fates.answered(name, args, answer);
          return answer;
        }).finally(() => changesBatches(name) && fates.wrote());
        if (fates.crashHere('store', true, life)) return never();
        if (fault) throw fault.error;
        return value;
      })
      .then(
        (value) => scheduler.after(fates.storeLatencyMs(), life, () => value),
        (error: unknown) => (life.alive ? Promise.reject(error) : never<T>()),
      );
  };
  const ports = portsOf(methodsOf(real), ({ port, method, args }) => {
    // Arguments are copied, as on the way to the store's own thread: the store does not see what the caller changes later.
    const sent = structuredClone(args);
    return call(`${port}.${method}`, sent, () => perform(real, { port, method, args: sent }));
  });
  return { ...ports, close: () => Promise.resolve() };
}

/** Lets one effect run after the other. */
export type Turn = <T>(effect: () => Promise<T>) => Promise<T>;

export function createTurn(): Turn {
  let last: Promise<unknown> = Promise.resolve();
  return (effect) => {
    const mine = last.then(effect);
    last = mine.catch(() => {
      // The caller gets the error.
    });
    return mine;
  };
}
