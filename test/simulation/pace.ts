import { isAccepted, classifyFailure } from '../../src/serving/classify.ts';
import type { UpstreamReply } from '../../src/upstream/port.ts';
import type { Life } from './scheduler.ts';
import type { Call } from './sim-upstream.ts';

const RETRY_AFTER_MS_MAX = 10 * 60_000;

/** What one process knows of one endpoint and model of a server. */
interface Known {
  acceptedStartMs: number;
  firstThrottleMs: number;
}

/**
 * P14: who may be called when, after a `Retry-After`. The wait holds for everybody at that server. One exception: a line gets it
 * again while others get through and no other line is told to wait. Then that line alone waits, as long as its segment stays
 * claimed.
 */
export class Pace {
  readonly #known = new Map<Life, Map<string, Known>>();
  readonly #notBeforeMs = new Map<Life, Map<string, number>>();
  /** By process and line: when it failed last, anywhere, and whether it was ever told to slow down. */
  readonly #lines = new Map<Life, Map<string, { failedAtMs: number; isThrottled: boolean }>>();

  notBeforeMs(call: Call): number {
    return this.#notBeforeMs.get(call.life)?.get(call.server) ?? 0;
  }

  ended(call: Call, reply: UpstreamReply, nowMs: number): void {
    const known = this.#of(call);
    const retryAfterMs = reply.kind === 'answer' ? reply.retryAfterMs : null;
    if (isAccepted(reply)) {
      known.acceptedStartMs = Math.max(known.acceptedStartMs, call.startMs);
      return;
    }
    const untilMs = nowMs + Math.min(retryAfterMs ?? 0, RETRY_AFTER_MS_MAX);
    const lines =
      this.#lines.get(call.life) ?? new Map<string, { failedAtMs: number; isThrottled: boolean }>();
    this.#lines.set(call.life, lines);
    const before = lines.get(call.line);
    const failure = classifyFailure(reply);
    const isThrottle = failure.kind === 'throttled';
    const wasThrottled = before?.isThrottled ?? false;
    const isOwn =
      isThrottle &&
      wasThrottled &&
      known.acceptedStartMs > (before?.failedAtMs ?? 0) &&
      known.firstThrottleMs <= (before?.failedAtMs ?? 0);
    if (isThrottle && !wasThrottled) known.firstThrottleMs = nowMs;
    lines.set(call.line, { failedAtMs: nowMs, isThrottled: wasThrottled || isThrottle });
    if (retryAfterMs === null || isOwn || failure.names === 'request') return;
    const ofLife = this.#notBeforeMs.get(call.life) ?? new Map<string, number>();
    this.#notBeforeMs.set(call.life, ofLife);
    ofLife.set(call.server, Math.max(ofLife.get(call.server) ?? 0, untilMs));
  }

  #of({ life, route }: Call): Known {
    const ofLife = this.#known.get(life) ?? new Map<string, Known>();
    this.#known.set(life, ofLife);
    const known = ofLife.get(route) ?? {
      acceptedStartMs: Number.NEGATIVE_INFINITY,
      firstThrottleMs: Number.NEGATIVE_INFINITY,
    };
    ofLife.set(route, known);
    return known;
  }
}
