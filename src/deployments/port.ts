import type { Scope } from '../contract/scope.ts';
import type { Upstream } from '../upstream/port.ts';

/** A name that callers put in `model`, and what serves it. */
export interface Deployment {
  readonly name: string;
  /** Base model, as the portal and headers show it. */
  readonly model: string;
  readonly sku: 'GlobalBatch' | 'DataZoneBatch' | 'GlobalStandard' | 'DataZoneStandard' | 'Standard';
  /** Input tokens of live batches together. */
  readonly enqueuedTokensMax: number;
  /** At least one; the least loaded healthy one takes the next request. */
  readonly upstreams: readonly Upstream[];
  /** Requests in flight at most, over all upstreams. */
  readonly concurrencyMax: number;
}

export interface Deployments {
  find(scope: Scope, name: string): Promise<Deployment | undefined>;
  list(scope: Scope): Promise<Deployment[]>;
}
