import type { Change, DeploymentPlan, Plan } from './plan.ts';
import type { Life } from './scheduler.ts';

/** What a deployment offers at one moment; null: it is gone. */
export type Serving = Pick<DeploymentPlan, 'upstreams' | 'concurrencyMax'> | null;

/** What operators change while batches run, and how far each process has followed. */
export class Changes {
  readonly #plan: Plan;
  /** Each process has followed every change before this time. */
  readonly #followedMs = new Map<Life, number>();

  constructor(plan: Plan) {
    this.#plan = plan;
  }

  /** When something changes. */
  get timesMs(): number[] {
    return this.#plan.changes.flatMap(({ fromMs, toMs }) => [fromMs, toMs]);
  }

  followed(life: Life, asOfMs: number): void {
    this.#followedMs.set(life, Math.max(asOfMs, this.#followedMs.get(life) ?? 0));
  }

  at(name: string, atMs: number): Serving {
    const inForce = ({ deployment, fromMs, toMs }: Change) =>
      deployment === name && fromMs <= atMs && atMs < toMs;
    const change = this.#plan.changes.findLast(inForce);
    if (change) return change.serving;
    return this.#plan.deployments.find((one) => one.name === name) ?? null;
  }

  /** What the process may still believe. */
  known(life: Life, name: string, nowMs: number): Serving[] {
    const sinceMs = this.#followedMs.get(life) ?? 0;
    const times = this.timesMs.filter((atMs) => sinceMs < atMs && atMs <= nowMs);
    return [sinceMs, ...times].map((atMs) => this.at(name, atMs));
  }

  wasGone(name: string): boolean {
    return this.#plan.changes.some(({ deployment, serving }) => deployment === name && serving === null);
  }
}
