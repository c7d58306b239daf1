import type { Clock } from '../core/clock.ts';
import type { StateStore } from '../stores/state/ports.ts';
import type { Catalog } from './catalog.ts';
import type { Applied, Declared } from './declared.ts';
import type { Exclusive } from './exclusive.ts';
import type { FleetUpstream } from './fleet.ts';

export interface ApplyDeps {
  readonly store: StateStore;
  /** Of the same configuration as what is declared; neither needs to be in force yet. */
  readonly catalog: Catalog;
  readonly upstreams: readonly FleetUpstream[];
  /** For deployments of models without a quota that name no limit. */
  readonly enqueuedTokensDefault: number;
  readonly digest: (key: string) => string;
  readonly clock: Clock;
  /** The one that the control plane has. */
  readonly exclusive: Exclusive;
}

/**
 * Brings the store to what the configuration declares. Changes nothing when there are faults, and nothing the second time.
 * What was made over the API is never touched.
 */
export async function applyConfiguration(_declared: Declared, _deps: ApplyDeps): Promise<Applied> {
  throw new Error('not there yet');
}
