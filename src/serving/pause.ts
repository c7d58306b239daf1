import { backoffMs } from '../core/backoff.ts';
import type { ServingDeps } from './deps.ts';

/** How long a server or a route is left alone after this many tries that failed: never longer than a minute (P13). */
export const pauseMs = (tries: number, { random }: Pick<ServingDeps, 'random'>): number =>
  backoffMs(tries, { baseMs: 1_000, capMs: 60_000, random });
