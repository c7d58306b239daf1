import { isTerminal, type Batch } from '../../contract/batch.ts';
import type { Deployment } from '../../deployments/port.ts';
import { deploymentKey, type DeploymentKey } from '../deployment-key.ts';
import type { QueuePlace } from './room.ts';

/** The enqueued tokens of one deployment. */
interface Tokens {
  /** Held by live batches. */
  held: number;
  /** Null: the deployment is gone. */
  readonly limit: number | null;
  /** The oldest batch is first. */
  waiting: Pick<Batch, 'seq' | 'waitingTokens'>[];
}

/**
 * Which batch waits for room at which place, as the latest pass over the live batches found it. A batch that was created or has
 * started since is counted at once. This is for readers, and decides nothing: the store says which batch starts.
 */
export class AdmissionQueue {
  #byDeployment = new Map<DeploymentKey, Tokens>();
  /** Batches created since the pass under way began, which may not have seen them. */
  #created: { readonly batch: Batch; readonly limit: number; readonly held: number }[] = [];

  /** Call before the live batches are read. Otherwise a batch that is created meanwhile is missing until the next pass. */
  startPass(): void {
    this.#created = [];
  }

  endPass(live: readonly Batch[], deployments: ReadonlyMap<DeploymentKey, Deployment | undefined>): void {
    const batches = Map.groupBy(
      live.filter(({ deployment }) => deployment !== null),
      deploymentKey,
    );
    this.#byDeployment = new Map(
      Array.from(batches, ([key, own]) => [
        key,
        {
          held: sum(own.map(({ enqueuedTokens }) => enqueuedTokens)),
          limit: deployments.get(key)?.enqueuedTokensMax ?? null,
          waiting: own.filter(isWaiting),
        },
      ]),
    );
    for (const created of this.#created) this.#place(created);
  }

  /** A batch was created. `held`: the tokens that all live batches of its deployment hold. */
  add(batch: Batch, { name, enqueuedTokensMax: limit }: Deployment, held: number): void {
    // A repeated create answers with its batch, whatever became of that.
    if (batch.deployment !== name || isTerminal(batch.status)) return;
    this.#created.push({ batch, limit, held });
    this.#place({ batch, limit, held });
  }

  #place({ batch, limit, held }: { batch: Batch; limit: number; held: number }): void {
    const key = deploymentKey(batch);
    const tokens = this.#byDeployment.get(key) ?? { held, limit, waiting: [] };
    tokens.held = held;
    this.#byDeployment.set(key, tokens);
    if (isWaiting(batch) && !tokens.waiting.some(({ seq }) => seq === batch.seq)) tokens.waiting.push(batch);
  }

  /** A batch waits no longer, and holds its tokens. */
  started({ seq, ...batch }: Batch, tokens: number): void {
    this.#created = this.#created.filter((created) => created.batch.seq !== seq);
    const own = this.#byDeployment.get(deploymentKey(batch));
    if (own === undefined) return;
    own.waiting = own.waiting.filter((other) => other.seq !== seq);
    own.held += tokens;
  }

  /** Null: the batch does not wait, or no pass has seen it yet. */
  place(batch: Batch): QueuePlace | null {
    const waiting = this.#byDeployment.get(deploymentKey(batch))?.waiting ?? [];
    const at = isWaiting(batch) ? waiting.findIndex(({ seq }) => seq === batch.seq) : -1;
    if (at === -1) return null;
    return {
      position: at + 1,
      length: waiting.length,
      tokens: batch.waitingTokens ?? 0,
      tokensAhead: sum(waiting.slice(0, at).map(({ waitingTokens }) => waitingTokens ?? 0)),
    };
  }

  /** Undefined: no pass has seen a batch of its deployment yet. */
  tokensOf(batch: Batch): Pick<Tokens, 'held' | 'limit'> | undefined {
    return this.#byDeployment.get(deploymentKey(batch));
  }
}

export const isWaiting = ({ status, waitingTokens }: Batch): boolean =>
  status === 'validating' && waitingTokens !== null;

const sum = (numbers: readonly number[]): number => numbers.reduce((total, one) => total + one, 0);
