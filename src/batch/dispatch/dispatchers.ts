import type { Batch } from '../../contract/batch.ts';
import type { Scope } from '../../contract/scope.ts';
import type { Deployment, Deployments } from '../../deployments/port.ts';
import { deploymentKey, type DeploymentKey } from '../deployment-key.ts';
import { deploymentIsGone } from '../progress.ts';
import type { FailureOptions } from './failures.ts';
import { Dispatcher, type DispatchDeps } from './dispatcher.ts';

/** How long a dispatcher is kept after its last batch. A server may not ask to be left alone for longer. */
const IDLE_MS = 15 * 60_000;
/** A dispatcher that `of` has returned gets its batch soon. For this time it is refreshed, although it is idle. */
const WANTED_MS = 10_000;

interface Live {
  readonly scope: Scope;
  readonly name: string;
  readonly dispatcher: Dispatcher;
  /** The concurrency of the deployment when it was read last. */
  concurrencyMax: number;
  isGone: boolean;
  /** When it last had work, or was asked for (monotonic ms). */
  usedAtMs: number;
}

/** One dispatcher for each deployment with work. It follows its deployment, waits when that is gone, and is dropped when idle. */
export class Dispatchers {
  readonly #deps: DispatchDeps & { readonly deployments: Deployments };
  readonly #options: FailureOptions;
  readonly #live = new Map<DeploymentKey, Live>();
  /** Deployments are read one after another, so that an older answer never replaces a younger one. */
  #refreshing: Promise<unknown> = Promise.resolve();

  constructor(deps: DispatchDeps & { readonly deployments: Deployments }, options: FailureOptions) {
    this.#deps = deps;
    this.#options = options;
  }

  get(batch: Batch): Dispatcher | undefined {
    return batch.deployment === null ? undefined : this.#live.get(deploymentKey(batch))?.dispatcher;
  }

  /** The dispatcher of the batch's deployment. While the deployment is gone, the dispatcher waits for it. */
  async of(batch: Batch & { readonly deployment: string }): Promise<Dispatcher> {
    const key = deploymentKey(batch);
    return this.#inTurn(async () => {
      const scope = { resourceId: batch.resourceId, actor: 'engine' };
      const deployment = await this.#deps.deployments.find(scope, batch.deployment);
      const live = this.#live.get(key) ?? {
        scope,
        name: batch.deployment,
        dispatcher: new Dispatcher(this.#deps, this.#options),
        concurrencyMax: 1,
        isGone: false,
        usedAtMs: 0,
      };
      this.#live.set(key, live);
      this.#update(live, deployment);
      live.usedAtMs = this.#deps.clock.mono();
      this.#followWindows();
      return live.dispatcher;
    });
  }

  /**
   * Reads all deployments that have work, and those of the batches. When it resolves, every request that is sent from then on
   * goes where they say. Returns what it found.
   */
  async refresh(batches: readonly Batch[]): Promise<ReadonlyMap<DeploymentKey, Deployment | undefined>> {
    return this.#inTurn(async () => {
      this.#dropIdle();
      const wanted = new Map<DeploymentKey, Pick<Live, 'scope' | 'name'>>();
      const wantedSinceMs = this.#deps.clock.mono() - WANTED_MS;
      for (const [key, live] of this.#live) if (live.usedAtMs >= wantedSinceMs) wanted.set(key, live);
      for (const { resourceId, deployment: name } of batches) {
        if (name === null) continue;
        const key = deploymentKey({ resourceId, deployment: name });
        if (!wanted.has(key)) wanted.set(key, { scope: { resourceId, actor: 'engine' }, name });
      }
      const found = await Promise.all(
        Array.from(wanted, async ([key, { scope, name }]) => {
          return [key, await this.#deps.deployments.find(scope, name)] as const;
        }),
      );
      for (const [key, deployment] of found) {
        const live = this.#live.get(key);
        if (live !== undefined) this.#update(live, deployment);
      }
      this.#followWindows();
      return new Map(found);
    });
  }

  /** There may be something to send again: the suspect of another dispatcher may have ended its turn. */
  wake(): void {
    for (const { dispatcher } of this.#live.values()) dispatcher.wake();
  }

  stopAll(graceMs: number): void {
    for (const { dispatcher } of this.#live.values()) dispatcher.stopAll(graceMs);
  }

  #update(live: Live, deployment: Deployment | undefined): void {
    const isGone = deployment === undefined;
    if (isGone && !live.isGone && !live.dispatcher.isIdle)
      this.#deps.log.event('deployment.gone', { deployment: live.name, resource: live.scope.resourceId });
    live.isGone = isGone;
    // The limit of a deployment that is gone stays: its requests in flight count, and it may come back.
    live.concurrencyMax = deployment?.concurrencyMax ?? live.concurrencyMax;
    live.dispatcher.update({
      upstreams: deployment?.upstreams ?? [],
      concurrencyMax: live.concurrencyMax,
      absence: deployment === undefined ? deploymentIsGone(live.name) : unserved(deployment),
    });
  }

  /** The group of results that are committed together grows with the most requests that a deployment may have in flight. */
  #followWindows(): void {
    const widths = Array.from(this.#live.values(), ({ concurrencyMax }) => concurrencyMax);
    this.#deps.recorder.follow(Math.max(0, ...widths));
  }

  #dropIdle(): void {
    const nowMs = this.#deps.clock.mono();
    for (const [key, live] of this.#live) {
      if (!live.dispatcher.isIdle) live.usedAtMs = nowMs;
      else if (nowMs - live.usedAtMs > IDLE_MS) {
        live.dispatcher.detach();
        this.#live.delete(key);
      }
    }
  }

  #inTurn<T>(work: () => Promise<T>): Promise<T> {
    const done = this.#refreshing.then(work);
    this.#refreshing = done.catch(() => undefined);
    return done;
  }
}

const unserved = ({ name, model, sku }: Deployment): string =>
  `No upstream serves the deployment '${name}' (${model}, ${sku}). Add one that serves its model where the SKU allows it; until then its batches wait.`;
