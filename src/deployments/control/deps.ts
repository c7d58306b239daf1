import type { Offer } from '../../contract/control.ts';
import type { ReshareDeps } from '../declared/reshare.ts';
import type { Exclusive } from '../exclusive.ts';
import type { Fleet } from '../fleet/fleet.ts';

export interface ControlPlaneDeps extends ReshareDeps {
  readonly fleet: Fleet;
  /** Of a resource that is the first one of its subscription. */
  readonly offerDefault: Offer;
  readonly concurrencyDefault: number;
  readonly makeKey: () => string;
  readonly digest: (key: string) => string;
  /** The one that `applyConfiguration` has. */
  readonly exclusive: Exclusive;
}
