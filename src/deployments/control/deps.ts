import type { ReshareDeps } from '../declared/reshare.ts';
import type { Exclusive } from '../exclusive.ts';
import type { Fleet } from '../fleet/fleet.ts';

export interface ControlPlaneDeps extends ReshareDeps {
  readonly fleet: Fleet;
  readonly digest: (key: string) => string;
  /** The one that `applyConfiguration` has. */
  readonly exclusive: Exclusive;
}
