import type { Clock } from '../core/clock.ts';
import type { Log } from '../core/log.ts';

export interface ServingDeps {
  readonly clock: Clock;
  readonly random: () => number;
  readonly log: Log;
}
