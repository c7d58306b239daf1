import type { Sku, WhenFull } from '../contract/control.ts';
import type { Scope } from '../contract/scope.ts';
import type { Upstream } from '../upstream/port.ts';

/** A name that callers put in `model`, and what serves it just now. */
export interface Deployment {
  readonly name: string;
  /** Base model, as the portal and headers show it. */
  readonly model: string;
  /** Null for models of the operator's own that have none. */
  readonly version: string | null;
  readonly sku: Sku;
  /** Says why it takes no batches at present, and what to do. Null: it takes them. */
  readonly unusable: string | null;
  /** Whether lines may have images. If not, they are refused. */
  readonly takesImages: boolean;
  /** Input tokens that its live batches may hold together. */
  readonly enqueuedTokensMax: number;
  /** A batch is also admitted when all live batches of the quota, with it, hold no more tokens. Null: dynamic quota is off. */
  readonly sharedTokensMax: number | null;
  /** Holds for batches that do not say it themselves. */
  readonly whenFull: WhenFull;
  /**
   * The open upstreams. The least loaded one that is healthy takes the next request; batches wait while none is. The objects
   * are the same as long as nothing changes.
   */
  readonly upstreams: readonly Upstream[];
  /** Requests in flight at most, over all upstreams. */
  readonly concurrencyMax: number;
}

/** Answers change while the service runs: deployments are made, changed and deleted; upstreams come and go. */
export interface Deployments {
  find(scope: Scope, name: string): Promise<Deployment | undefined>;
  /** The list is ordered by name. */
  list(scope: Scope): Promise<Deployment[]>;
}
