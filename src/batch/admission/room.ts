/** Sentences about the room that a deployment has for enqueued tokens. */
import type { BatchError } from '../../contract/batch.ts';
import { tokenCount } from '../../core/token-unit.ts';
import type { Deployment } from '../../deployments/port.ts';
import type { Room } from '../../stores/state/ports.ts';

export const roomOf = ({ enqueuedTokensMax, sharedTokensMax }: Deployment): Room => ({
  enqueuedTokensMax,
  sharedTokensMax,
});

/** docs/contract.md §3, the text of the original: limits are abbreviated. What this service adds comes after it. */
export function tokenLimitExceeded(
  { name, enqueuedTokensMax, sharedTokensMax }: Deployment,
  tokens: number,
): BatchError {
  const exceeded = `The number of enqueued tokens has surpassed the configured limit of ${tokenCount(enqueuedTokensMax)} for the deployment '${name}'. Please either increase the limit or try again once the current jobs have finished.`;
  const max = Math.max(enqueuedTokensMax, sharedTokensMax ?? 0);
  const never = ` This batch alone needs ${tokenCount(tokens)}, so it can never start under this limit: increase it, or split the input file.`;
  return {
    code: 'token_limit_exceeded',
    message: tokens > max ? exceeded + never : exceeded,
    param: null,
    line: null,
  };
}

/** A place in the queue of a deployment. */
export interface QueuePlace {
  /** 1: no older batch waits. */
  readonly position: number;
  /** Batches that wait, this one included. */
  readonly length: number;
  /** Tokens that the batch needs. */
  readonly tokens: number;
  /** Tokens that the older ones need together. */
  readonly tokensAhead: number;
}

export function waitsForRoom(
  deployment: string,
  { position, tokens }: QueuePlace,
  quota: { readonly held: number; readonly limit: number | null },
): string {
  const place = `Waits for room: place ${position} in the queue of deployment ${deployment}; needs ${tokenCount(tokens)} tokens`;
  if (quota.limit === null) return `${place}.`;
  const free = Math.max(0, quota.limit - quota.held);
  const kept = free >= tokens && position > 1 ? ', kept for older batches' : '';
  return `${place}, ${tokenCount(free)} of ${tokenCount(quota.limit)} are free${kept}.`;
}
