import { isAccepted, classifyFailure } from '../../src/serving/classify.ts';
import { serverOf, type Job, type Plan } from './plan.ts';
import type { Call, SimServer } from './sim-upstream.ts';

/** A server that is well, and has something to do, is idle for less. */
const IDLE_MAX_MS = 400;
/** So many failures with no success between say nothing of a server or a set-up. */
const SINGLE_FAILURES_MAX = 2;
/** How long a caller may pause that is asked to slow down without a time. */
const PAUSE_MAX_MS = 60_000;

/** A batch that was being sent when a server became idle. */
export interface Sending {
  readonly batchId: string;
  readonly job: Job;
  /** One of its lines was accepted. */
  readonly isProven: boolean;
  /** A line of it was never sent. */
  readonly hasFresh: boolean;
}

interface State {
  inFlight: number;
  idleSinceMs: number;
  /** Since the latest success. */
  failures: number;
  throttledAtMs: number;
}

/**
 * P32: a line that fails by itself holds nobody up. A server that is well is never idle while a batch has fresh lines for it.
 * Only where nothing else can be the reason: one process, and a quiet store.
 */
export class Idleness {
  readonly #plan: Plan;
  readonly #servers = new Map<string, State>();

  constructor(plan: Plan) {
    this.#plan = plan;
  }

  /** The batch that was held up, if any was. `sending`: the batches that were being sent when the server became idle. */
  called(
    call: Call,
    times: { readonly nowMs: number; readonly notBeforeMs: number },
    {
      server,
      sending,
    }: { readonly server: SimServer; readonly sending: (atMs: number) => readonly Sending[] },
  ): { readonly batchId: string; readonly idleMs: number } | null {
    const state = this.#of(call.server);
    state.inFlight += 1;
    const { idleSinceMs, failures, throttledAtMs } = state;
    const idleMs = times.nowMs - Math.max(idleSinceMs, times.notBeforeMs);
    if (state.inFlight > 1 || idleMs <= IDLE_MAX_MS) return null;
    if (failures > SINGLE_FAILURES_MAX || times.nowMs - throttledAtMs < PAUSE_MAX_MS) return null;
    if (server.wasIllWithin(idleSinceMs, times.nowMs)) return null;
    const held = sending(idleSinceMs).find(
      (one) => one.isProven && one.hasFresh && this.#isOnlyFor(one.job, call.server),
    );
    return held === undefined ? null : { batchId: held.batchId, idleMs };
  }

  ended(call: Call, nowMs: number): void {
    const state = this.#of(call.server);
    state.inFlight -= 1;
    state.idleSinceMs = nowMs;
    const { reply } = call;
    if (reply === null || (reply.kind === 'failure' && reply.reason === 'aborted')) return;
    if (isAccepted(reply)) {
      state.failures = 0;
      return;
    }
    state.failures += 1;
    if (classifyFailure(reply).kind === 'throttled') state.throttledAtMs = nowMs;
  }

  #isOnlyFor(job: Job, server: string): boolean {
    const deployment = this.#plan.deployments.find(({ name }) => name === job.deployment)!;
    return deployment.upstreams.every((upstream) => serverOf(this.#plan, upstream) === server);
  }

  #of(server: string): State {
    const state = this.#servers.get(server) ?? {
      inFlight: 0,
      idleSinceMs: 0,
      failures: 0,
      throttledAtMs: Number.NEGATIVE_INFINITY,
    };
    this.#servers.set(server, state);
    return state;
  }
}
