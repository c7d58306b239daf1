import type { Clock } from '../core/clock.ts';
import type { StateStore } from '../stores/state/ports.ts';
import type { Catalog } from './catalog.ts';
import type { ControlPlane } from './control.ts';
import type { Declared } from './declared.ts';
import type { Exclusive } from './exclusive.ts';
import type { Fleet } from './fleet.ts';

export interface ControlPlaneDeps {
  readonly store: StateStore;
  /** The one of the present configuration. */
  readonly catalog: () => Catalog;
  readonly fleet: Fleet;
  /** What the present configuration declares, which is read-only here. */
  readonly declared: () => Declared;
  /** For deployments of models without a quota that name no limit. */
  readonly enqueuedTokensDefault: number;
  readonly makeKey: () => string;
  readonly digest: (key: string) => string;
  readonly clock: Clock;
  /** The one that `applyConfiguration` has. */
  readonly exclusive: Exclusive;
}

export function createControlPlane(_deps: ControlPlaneDeps): ControlPlane {
  throw new Error('not there yet');
}
