/**
 * Keys are stored and looked up as digests. Invariant: a key itself is never logged, compared or stored in the database, or a
 * log or a stolen database would open the service. Only the first keys are in a file, `first-keys.env`, for the operator.
 */
import { createHmac, timingSafeEqual } from 'node:crypto';
import type { Resource } from '../contract/control.ts';
import type { Clock } from '../core/clock.ts';
import type { ResourceStore } from '../stores/state/ports.ts';

/** HMAC-SHA256 in lower-case hex. Without the pepper, a stolen database is no help in guessing keys. */
export const keyDigest = (pepper: string | Uint8Array, key: string): string =>
  createHmac('sha256', pepper).update(key).digest('hex');

/** How long a key that another process changed may still be taken. A change by this process counts at once. */
const MEMORY_MS = 5_000;
const REMEMBERED_MAX = 1_000;

export interface Keys {
  /** The resource that the key belongs to. */
  find(key: string): Promise<{ readonly resource: Resource; readonly slot: 1 | 2 } | undefined>;
  isAdminKey(key: string): Promise<boolean>;
  resource(resourceId: string): Promise<Resource | undefined>;
  /** Whoever changes resources and keys uses this store: every change empties the memory. */
  readonly resources: ResourceStore;
}

export function createKeys(options: {
  readonly resources: ResourceStore;
  readonly pepper: string | Uint8Array;
  readonly clock: Clock;
}): Keys {
  const { resources, pepper, clock } = options;
  const owners = new Memory<NonNullable<Awaited<ReturnType<ResourceStore['findByKeyDigest']>>>>(clock);
  const admin = new Memory<string>(clock);
  const known = new Memory<{ readonly resource: Resource | undefined }>(clock);
  const forget = (): void => {
    owners.clear();
    admin.clear();
    known.clear();
  };

  return {
    async find(key) {
      const digest = keyDigest(pepper, key);
      const owner = await owners.recall(digest, () => resources.findByKeyDigest(digest));
      if (owner === undefined || !sameDigest(owner.key.digest, digest)) return undefined;
      return { resource: owner.resource, slot: owner.key.slot };
    },
    async isAdminKey(key) {
      const digest = keyDigest(pepper, key);
      const stored = await admin.recall('', () => resources.adminKeyDigest());
      return stored !== undefined && sameDigest(stored, digest);
    },
    async resource(resourceId) {
      const found = await known.recall(resourceId, async () => ({
        resource: await resources.get(resourceId),
      }));
      return found?.resource;
    },
    resources: forgetting(resources, forget),
  };
}

function sameDigest(stored: string, presented: string): boolean {
  const [one, other] = [Buffer.from(stored, 'hex'), Buffer.from(presented, 'hex')];
  return one.length === other.length && timingSafeEqual(one, other);
}

/** The memory is emptied also when a change fails: it may have been made, and only its answer lost. */
function forgetting(resources: ResourceStore, forget: () => void): ResourceStore {
  const then = <T>(change: Promise<T>): Promise<T> => change.finally(forget);
  return {
    ...resources,
    put: (resource, change) => then(resources.put(resource, change)),
    delete: (resourceId, change) => then(resources.delete(resourceId, change)),
    putKey: (resourceId, key, change) => then(resources.putKey(resourceId, key, change)),
    deleteKey: (resourceId, slot, change) => then(resources.deleteKey(resourceId, slot, change)),
    setAdminKeyDigest: (digest, change) => then(resources.setAdminKeyDigest(digest, change)),
  };
}

/** Remembers what the store answered a moment ago. An absent entry is not remembered. */
class Memory<T> {
  readonly #clock: Clock;
  readonly #entries = new Map<string, { readonly value: T; readonly untilMs: number }>();
  #generation = 0;
  constructor(clock: Clock) {
    this.#clock = clock;
  }

  async recall(key: string, ask: () => Promise<T | undefined>): Promise<T | undefined> {
    const entry = this.#entries.get(key);
    if (entry !== undefined && entry.untilMs > this.#clock.mono()) return entry.value;
    this.#entries.delete(key);
    const generation = this.#generation;
    const value = await ask();
    // Invariant: an answer from before a change is not kept after it. Otherwise a deleted key would still open.
    if (value === undefined || generation !== this.#generation) return value;
    if (this.#entries.size >= REMEMBERED_MAX) this.#entries.clear();
    this.#entries.set(key, { value, untilMs: this.#clock.mono() + MEMORY_MS });
    return value;
  }

  clear(): void {
    this.#generation += 1;
    this.#entries.clear();
  }
}
