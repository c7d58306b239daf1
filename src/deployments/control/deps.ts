import type { ReshareDeps } from '../declared/reshare.ts';
import type { Exclusive } from '../exclusive.ts';
import type { Fleet } from '../fleet/fleet.ts';

export interface ControlPlaneDeps extends ReshareDeps {
  readonly fleet: Fleet;
  readonly digest: (key: string) => string;
  /** Invariant: `applyConfiguration` uses the same one. Otherwise a reload and the API could run at the same time. */
  readonly exclusive: Exclusive;
}
