import { isTerminal } from '../../src/contract/batch.ts';
import type { Batch } from '../../src/contract/batch.ts';
import { QUEUE_PASS_S } from '../../src/contract/control.ts';
import type { BatchPlan, BatchStore, NewBatch } from '../../src/stores/state/ports.ts';
import type { DeploymentPlan, Plan } from './plan.ts';

/** The time for steps, inspections and a question to the store, beyond a tick. */
const SETTLING_MS = 2 * 60_000;

type Require = (condition: unknown, promise: string, what: string) => void;
type Created = Awaited<ReturnType<BatchStore['create']>>;
type Planned = Awaited<ReturnType<BatchStore['plan']>>;

/**
 * Judges every answer of the store about room for tokens (P21), by the rule in the words of its port: as a list of
 * batches, one after the other, from what the batches were just before.
 */
export class WaitingRoom {
  readonly #plan: Plan;
  readonly #require: Require;
  readonly #before: () => readonly Batch[];
  /** Since when a batch that waits could start. */
  readonly #readySinceMs = new Map<number, number>();
  /** How often something was seen: a simulation in which nobody waits proves nothing. */
  readonly seen = { waited: 0, admittedAfterWaiting: 0, borrowed: 0, heldBack: 0, refused: 0 };

  constructor(plan: Plan, before: () => readonly Batch[], require: Require) {
    this.#plan = plan;
    this.#before = before;
    this.#require = require;
  }

  /** Called between the effect and the next check of the batches. */
  see(call: string, args: readonly unknown[], value: unknown): void {
    if (call === 'batches.create') this.#created(args[1] as NewBatch, value as Created);
    if (call === 'batches.plan') this.#planned(args[0] as number, args[1] as BatchPlan, value as Planned);
  }

  #created({ deployment: name, enqueuedTokens, ...batch }: NewBatch, outcome: Created): void {
    if (batch.errors !== null || name === null) return;
    if (outcome.kind === 'replayed' || outcome.kind === 'idempotency_mismatch') return;
    const deployment = this.#deployment(name);
    const wanted = { seq: Infinity, tokens: enqueuedTokens, nowS: batch.createdAt };
    const expected = this.#isAdmitted(deployment, wanted, this.seen)
      ? 'admitted'
      : batch.whenFull === 'wait' && enqueuedTokens <= largestRoom(deployment)
        ? 'waiting'
        : 'refused';
    const found =
      outcome.kind === 'token_limit_exceeded'
        ? 'refused'
        : outcome.batch.waitingTokens === null
          ? 'admitted'
          : 'waiting';
    if (found === 'refused') this.seen.refused += 1;
    if (found === 'waiting') this.seen.waited += 1;
    this.#require(
      found === expected,
      'P21',
      `a new batch of ${enqueuedTokens} tokens for ${name} was ${found}, not ${expected}: ${this.#describe(deployment)}`,
    );
  }

  #planned(seq: number, plan: BatchPlan, outcome: Planned): void {
    const batch = this.#before().find((one) => one.seq === seq);
    if (batch?.status !== 'validating')
      return this.#require(outcome === 'stale', 'P6', `${batch?.id}, ${batch?.status}, was ${outcome}`);
    const deployment = this.#deployment(plan.deployment);
    const reserved = batch.deployment === plan.deployment ? batch.enqueuedTokens : 0;
    const isReserved =
      batch.deployment === plan.deployment && batch.waitingTokens === null && plan.enqueuedTokens <= reserved;
    const wanted = { seq, tokens: plan.enqueuedTokens - reserved, nowS: plan.atS };
    const expected =
      isReserved || this.#isAdmitted(deployment, wanted, this.seen)
        ? 'planned'
        : (batch.whenFull ?? plan.whenFull) === 'wait' && plan.enqueuedTokens <= largestRoom(deployment)
          ? 'waiting'
          : 'token_limit_exceeded';
    if (outcome === 'planned' && batch.waitingTokens !== null) this.seen.admittedAfterWaiting += 1;
    if (outcome === 'waiting' && batch.waitingTokens === null) this.seen.waited += 1;
    this.#require(
      outcome === expected,
      'P21',
      `${batch.id} of ${plan.enqueuedTokens} tokens for ${deployment.name} was ${outcome}, not ${expected}: ${this.#describe(deployment)}`,
    );
  }

  #isAdmitted(
    deployment: DeploymentPlan,
    { seq, tokens, nowS }: { seq: number; tokens: number; nowS: number },
    seen?: WaitingRoom['seen'],
  ): boolean {
    const own = deployment.enqueuedTokensMax - this.#held([deployment]);
    const group = this.#plan.deployments;
    const shared =
      deployment.sharedTokensMax === null ? -Infinity : deployment.sharedTokensMax - this.#held(group);
    const older = this.#live(deployment).filter(
      (batch) =>
        batch.seq < seq && batch.waitingTokens !== null && batch.waitingTokens <= largestRoom(deployment),
    );
    for (const { waitingTokens } of older)
      if ((waitingTokens ?? 0) <= own || (waitingTokens ?? 0) <= shared) return false;
    const late = older.filter(({ createdAt }) => nowS - createdAt > QUEUE_PASS_S);
    const isOwn = tokens <= own;
    const isShared = tokens <= shared;
    const isHeldBack = isOwn
      ? late.some(({ waitingTokens }) => (waitingTokens ?? 0) <= deployment.enqueuedTokensMax)
      : late.length > 0;
    if (seen && (isOwn || isShared) && isHeldBack) seen.heldBack += 1;
    if (seen && !isOwn && isShared && !isHeldBack) seen.borrowed += 1;
    return (isOwn || isShared) && !isHeldBack;
  }

  /**
   * No batch that could start waits for long. `isExcused`: something went wrong between two times, or processes knew
   * otherwise.
   */
  checkPrompt(
    { nowMs, nowS }: { nowMs: number; nowS: number },
    isExcused: (fromMs: number, toMs: number) => boolean,
  ): void {
    const limitMs = this.#plan.tuning.tickMs + SETTLING_MS;
    for (const { id, seq, deployment, waitingTokens: tokens } of this.#before()) {
      const isReady =
        tokens !== null &&
        deployment !== null &&
        this.#isAdmitted(this.#deployment(deployment), { seq, tokens, nowS });
      if (!isReady) {
        this.#readySinceMs.delete(seq);
        continue;
      }
      const sinceMs = this.#readySinceMs.get(seq) ?? nowMs;
      this.#readySinceMs.set(seq, sinceMs);
      this.#require(
        nowMs - sinceMs <= limitMs || isExcused(sinceMs, nowMs),
        'P21',
        `${id} of ${tokens} tokens has waited for ${nowMs - sinceMs} ms while there was room: ${this.#describe(this.#deployment(deployment))}`,
      );
    }
  }

  /** What must be so between any two steps. */
  check(): void {
    for (const deployment of this.#plan.deployments) {
      const held = this.#held([deployment]);
      const mostly = deployment.sharedTokensMax ?? deployment.enqueuedTokensMax;
      const max = Math.max(deployment.enqueuedTokensMax, mostly);
      this.#require(held <= max, 'P21', `${deployment.name} holds ${held} tokens of ${max}`);
    }
    for (const { id, status, waitingTokens, enqueuedTokens } of this.#before()) {
      if (waitingTokens === null) continue;
      this.#require(status === 'validating', 'P21', `${id} is ${status} and waits for room`);
      this.#require(enqueuedTokens === 0, 'P21', `${id} waits for room and holds ${enqueuedTokens} tokens`);
    }
  }

  /** What the store should answer, by deployment of one resource. */
  sums(resourceId: string): Map<string, { held: number; waiting: number; waitingBatches: number }> {
    const sums = new Map<string, { held: number; waiting: number; waitingBatches: number }>();
    for (const batch of this.#before()) {
      if (batch.resourceId !== resourceId || batch.deployment === null || isTerminal(batch.status)) continue;
      const sum = sums.get(batch.deployment) ?? { held: 0, waiting: 0, waitingBatches: 0 };
      sums.set(batch.deployment, sum);
      sum.held += batch.enqueuedTokens;
      sum.waiting += batch.waitingTokens ?? 0;
      if (batch.waitingTokens !== null) sum.waitingBatches += 1;
    }
    return sums;
  }

  #held(deployments: readonly DeploymentPlan[]): number {
    const batches = deployments.flatMap((deployment) => this.#live(deployment));
    return batches.reduce((sum, { enqueuedTokens }) => sum + enqueuedTokens, 0);
  }

  #live({ name, resourceId }: DeploymentPlan): Batch[] {
    return this.#before().filter(
      (batch) => batch.resourceId === resourceId && batch.deployment === name && !isTerminal(batch.status),
    );
  }

  #deployment(name: string): DeploymentPlan {
    return this.#plan.deployments.find((one) => one.name === name)!;
  }

  #describe(deployment: DeploymentPlan): string {
    const { enqueuedTokensMax, sharedTokensMax } = deployment;
    const live = this.#live(deployment).map(
      ({ seq, createdAt, enqueuedTokens, waitingTokens }) =>
        `${seq} ${waitingTokens === null ? `holds ${enqueuedTokens}` : `waits for ${waitingTokens} since ${createdAt}`}`,
    );
    return JSON.stringify({
      enqueuedTokensMax,
      sharedTokensMax,
      all: this.#held(this.#plan.deployments),
      live,
    });
  }
}

const largestRoom = ({ enqueuedTokensMax, sharedTokensMax }: DeploymentPlan): number =>
  Math.max(enqueuedTokensMax, sharedTokensMax ?? 0);
