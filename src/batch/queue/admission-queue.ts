import { isTerminal, type Batch } from '../../contract/batch.ts';
import { QUEUE_PASS_S } from '../../contract/control.ts';
import type { Deployment } from '../../deployments/port.ts';
import { deploymentKey, type DeploymentKey } from '../deployment-key.ts';
import type { QueuePlace } from './room.ts';

interface Quota {
  /** Undefined: the deployment is gone. */
  readonly deployment: Deployment | undefined;
  /** Held by live batches. */
  held: number;
  /** Oldest first. */
  readonly waiting: Waiting[];
  /** Those of `waiting` for which there seems to be room. */
  readonly next: ReadonlySet<number>;
  /** Changes when it may be worth another try. */
  readonly state: string;
}

interface Waiting {
  readonly seq: number;
  readonly createdAt: number;
  readonly tokens: number;
}

/** A waiting batch is tried this often even when nothing seems to have changed. */
const TRY_AGAIN_S = 60;

/**
 * What the engine's last look at the live batches says of the deployments' enqueued tokens: who waits at which place,
 * and whose turn it is. The store decides who is admitted; this only spares it the questions whose answer is known.
 */
export class AdmissionQueue {
  #byDeployment: ReadonlyMap<DeploymentKey, Quota> = new Map();
  /** Created since the last look began, which may not have seen them. */
  #added: { readonly batch: Batch; readonly deployment: Deployment; readonly held: number }[] = [];
  /** What the quota was like when a waiting batch was last tried. */
  readonly #tried = new Map<number, string>();

  /** Call before the live batches are read. */
  startLook(): void {
    this.#added = [];
  }

  look(
    live: readonly Batch[],
    deployments: ReadonlyMap<DeploymentKey, Deployment | undefined>,
    nowS: number,
  ): void {
    const batches = Map.groupBy(
      live.filter(({ deployment }) => deployment !== null),
      deploymentKey,
    );
    // Of dynamic quota more than the deployment's own tokens decide.
    const heldByAll = sum(live.map(heldBy));
    this.#byDeployment = new Map(
      Array.from(batches, ([key, own]) => [
        key,
        quotaOf(own, { deployment: deployments.get(key), heldByAll, nowS }),
      ]),
    );
    for (const { batch, deployment, held } of this.#added) this.#place(batch, { deployment, held });
    const waiting = new Set(live.filter(isWaiting).map(({ seq }) => seq));
    for (const seq of this.#tried.keys()) if (!waiting.has(seq)) this.#tried.delete(seq);
  }

  /** A batch was created since: it has its place at once. `held`: by all live batches of its deployment. */
  add(batch: Batch, deployment: Deployment, held: number): void {
    // A repeated create answers with its batch, whatever became of that.
    if (batch.deployment !== deployment.name || isTerminal(batch.status)) return;
    this.#added.push({ batch, deployment, held });
    this.#place(batch, { deployment, held });
  }

  #place(batch: Batch, { deployment, held }: { deployment: Deployment; held: number }): void {
    const key = deploymentKey(batch);
    const known = this.#byDeployment.get(key);
    const quota: Quota = known ?? { deployment, held, waiting: [], next: new Set(), state: '' };
    quota.held = held;
    if (isWaiting(batch) && !quota.waiting.some(({ seq }) => seq === batch.seq))
      quota.waiting.push(toWaiting(batch));
    if (known === undefined) this.#byDeployment = new Map([...this.#byDeployment, [key, quota]]);
  }

  /** False: the batch would only be told to wait. */
  hasTurn(batch: Batch): boolean {
    if (batch.status !== 'validating' || batch.deployment === null) return true;
    const quota = this.#byDeployment.get(deploymentKey(batch));
    // Nothing is known of a deployment that was never looked at; one that is gone may come back.
    if (quota === undefined) return !isWaiting(batch);
    if (quota.deployment === undefined) return false;
    return !isWaiting(batch) || (quota.next.has(batch.seq) && this.#tried.get(batch.seq) !== quota.state);
  }

  /** As `hasTurn`; a waiting batch has no other turn until something changes. */
  takeTurn(batch: Batch): boolean {
    if (!this.hasTurn(batch)) return false;
    const quota = this.#byDeployment.get(deploymentKey(batch));
    if (quota !== undefined && isWaiting(batch)) this.#tried.set(batch.seq, quota.state);
    return true;
  }

  /** Null: it does not wait, or was not seen yet. */
  place(batch: Batch): QueuePlace | null {
    const line = this.#byDeployment.get(deploymentKey(batch))?.waiting ?? [];
    const at = isWaiting(batch) ? line.findIndex(({ seq }) => seq === batch.seq) : -1;
    if (at === -1) return null;
    const ahead = line.slice(0, at).map(({ tokens }) => tokens);
    return {
      position: at + 1,
      length: line.length,
      tokens: batch.waitingTokens ?? 0,
      tokensAhead: sum(ahead),
    };
  }

  /** Undefined: not seen yet. `limit` null: the deployment is gone. */
  of(batch: Batch): { readonly held: number; readonly limit: number | null } | undefined {
    const quota = this.#byDeployment.get(deploymentKey(batch));
    return quota && { held: quota.held, limit: quota.deployment?.enqueuedTokensMax ?? null };
  }
}

function quotaOf(
  batches: readonly Batch[],
  { deployment, heldByAll, nowS }: { deployment: Deployment | undefined; heldByAll: number; nowS: number },
): Quota {
  const held = sum(batches.map(heldBy));
  const waiting = batches.filter(isWaiting).map(toWaiting);
  const { enqueuedTokensMax = 0, sharedTokensMax = null } = deployment ?? {};
  return {
    deployment,
    held,
    waiting,
    next: nextOf(waiting, {
      held,
      ownMax: enqueuedTokensMax,
      max: Math.max(enqueuedTokensMax, sharedTokensMax ?? 0),
      nowS,
    }),
    state: [
      enqueuedTokensMax,
      sharedTokensMax,
      sharedTokensMax === null ? held : heldByAll,
      waiting.length,
      sum(waiting.map(({ seq }) => seq)),
      Math.floor(nowS / TRY_AGAIN_S),
    ].join(),
  };
}

/**
 * Oldest first; a small one passes a large one that must wait, unless that has waited long enough. What others leave idle
 * is not known here: one that needs that is tried, and takes no turn from those that may do without.
 */
function nextOf(
  waiting: readonly Waiting[],
  { held, ownMax, max, nowS }: { held: number; ownMax: number; max: number; nowS: number },
): Set<number> {
  const next = new Set<number>();
  let taken = held;
  for (const { seq, tokens, createdAt } of waiting) {
    if (tokens > max) {
      // One that can never start is tried so that it ends.
      next.add(seq);
    } else if (taken + tokens <= max) {
      next.add(seq);
      if (taken + tokens <= ownMax) taken += tokens;
    } else if (tokens <= ownMax && nowS - createdAt > QUEUE_PASS_S) {
      break;
    }
  }
  return next;
}

const isWaiting = ({ status, waitingTokens }: Batch): boolean =>
  status === 'validating' && waitingTokens !== null;
const heldBy = ({ waitingTokens, enqueuedTokens, deployment }: Batch): number =>
  waitingTokens === null && deployment !== null ? enqueuedTokens : 0;
const toWaiting = ({ seq, createdAt, waitingTokens }: Batch): Waiting => ({
  seq,
  createdAt,
  tokens: waitingTokens ?? 0,
});
const sum = (numbers: readonly number[]): number => numbers.reduce((total, one) => total + one, 0);
