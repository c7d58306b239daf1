import { hash } from 'node:crypto';
import type { BatchEndpoint, Usage } from '../../contract/batch.ts';
import { nowS, systemClock, type Clock } from '../../core/clock.ts';
import { NO_USAGE, type UpstreamReply } from '../port.ts';
import { answer } from './answers.ts';
import { isObject } from '../json.ts';
import { createRandom, type Random } from './random.ts';
import { createRateLimit } from './rate-limit.ts';
import { RequestError } from './request-error.ts';

/** Callers in this process that set no timeout have this one. */
export const TIMEOUT_MS = 600_000;

export interface SimulationOptions {
  /** The answers claim to be from this base model, or from the one that the request names when this is left out. */
  readonly model?: string;
  /** Answers depend on the seed and the request's bytes. Which calls fail depends on the seed and their order. */
  readonly seed?: number;
  /** Time to the first token. A pair is a range. */
  readonly latencyMs?: number | readonly [min: number, max: number];
  readonly tokensPerSecond?: number | null;
  /** This share of the requests gets one of `errorStatuses`, or 500 when these are left out. */
  readonly errorRate?: number;
  readonly errorStatuses?: readonly number[];
  /** This share of the requests is never answered. */
  readonly hangRate?: number;
  /** Beyond these limits it answers 429 with `retry-after`. */
  readonly requestsPerMinute?: number | null;
  readonly tokensPerMinute?: number | null;
  /** How long a caller waits for an answer that never comes. */
  readonly timeoutMs?: number;
  readonly clock?: Clock;
}

interface SimulatedRequest {
  readonly endpoint: BatchEndpoint;
  readonly body: Uint8Array;
  /** The model, when the body names none. */
  readonly deployment?: string | undefined;
}

type Simulation = (request: SimulatedRequest, signal: AbortSignal) => Promise<UpstreamReply>;

/** Decides what the simulator does with one request. The upstream in this process and the server both use it. */
export function createSimulation(options: SimulationOptions): Simulation {
  const { clock = systemClock, seed = 1, hangRate = 0, errorRate = 0, timeoutMs = TIMEOUT_MS } = options;
  const random = createRandom(seed);
  const limit = createRateLimit(options, clock);

  return async (request, signal) => {
    if (signal.aborted) return failed('aborted');
    const digest = hash('sha256', Buffer.concat([Buffer.from(`${seed} `), request.body]));
    const hangs = hangRate > 0 && random() < hangRate;
    const status = errorRate > 0 && random() < errorRate ? pickStatus(options, random) : null;
    if (hangs) return (await slept(clock, timeoutMs, signal)) ? failed('timeout') : failed('aborted');
    const made =
      status === null ? make(request, { digest, nowS: nowS(clock), options }) : scriptedError(status);
    const waitMs = made.status === 200 ? limit(made.usage.inputTokens + made.usage.outputTokens) : 0;
    const reply = waitMs > 0 ? tooManyRequests(waitMs) : made;
    const delayMs = reply.status === 200 ? delayOf(options, reply.usage, random) : 0;
    if (delayMs > 0 && !(await slept(clock, delayMs, signal))) return failed('aborted');
    return { kind: 'answer', ...reply, requestId: toGuid(digest), fault: null };
  };
}

interface Made {
  readonly status: number;
  readonly body: Uint8Array;
  readonly usage: Usage;
  readonly retryAfterMs: number | null;
}

interface MakeContext {
  readonly digest: string;
  readonly nowS: number;
  readonly options: SimulationOptions;
}

function make(request: SimulatedRequest, { digest, nowS, options }: MakeContext): Made {
  try {
    const body = parse(request.body);
    const model =
      options.model ??
      (typeof body['model'] === 'string' ? body['model'] : (request.deployment ?? 'simulator'));
    const answered = answer(request.endpoint, body, { digest, nowS, model });
    return {
      status: 200,
      body: Buffer.from(JSON.stringify(answered.body)),
      usage: answered.usage,
      retryAfterMs: null,
    };
  } catch (error) {
    // A RangeError means that the body nests too deeply for the stack.
    if (!(error instanceof RequestError || error instanceof RangeError)) throw error;
    return refusal(400, error instanceof RequestError ? error.toBody() : TOO_DEEP);
  }
}

const TOO_DEEP = {
  message: 'The body nests too deeply.',
  type: 'invalid_request_error',
  param: null,
  code: 'nesting_too_deep',
};

function parse(bytes: Uint8Array): Readonly<Record<string, unknown>> {
  let body: unknown;
  try {
    body = JSON.parse(Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString());
  } catch {
    body = undefined; // It is refused below, like any other value that is no object.
  }
  if (!isObject(body))
    throw new RequestError('The body is not a JSON object. Send one.', null, 'invalid_json');
  return body;
}

function pickStatus({ errorStatuses = [500] }: SimulationOptions, random: Random): number {
  return errorStatuses[Math.floor(random() * errorStatuses.length)] ?? 500;
}

function scriptedError(status: number): Made {
  const retryAfterMs = status === 429 || status === 503 ? 1_000 : null;
  const message = `[simulated] An error, as the simulator's settings ask for.`;
  return { ...refusal(status, { code: String(status), message }), retryAfterMs };
}

function tooManyRequests(waitMs: number): Made {
  const message = `[simulated] Rate limit is exceeded. Try again in ${Math.ceil(waitMs / 1000)} seconds.`;
  return { ...refusal(429, { code: '429', message }), retryAfterMs: waitMs };
}

const refusal = (status: number, error: object): Made => ({
  status,
  body: Buffer.from(JSON.stringify({ error })),
  usage: NO_USAGE,
  retryAfterMs: null,
});

function delayOf(
  { latencyMs = 0, tokensPerSecond }: SimulationOptions,
  usage: Usage,
  random: Random,
): number {
  const [minMs, maxMs] = typeof latencyMs === 'number' ? [latencyMs, latencyMs] : latencyMs;
  const firstMs = maxMs > minMs ? minMs + random() * (maxMs - minMs) : minMs;
  return firstMs + (tokensPerSecond == null ? 0 : (usage.outputTokens / tokensPerSecond) * 1000);
}

/** Returns false when the wait was aborted. */
export async function slept(clock: Clock, delayMs: number, signal: AbortSignal): Promise<boolean> {
  try {
    await clock.sleep(delayMs, signal);
    return true;
  } catch (error) {
    if (signal.aborted) return false;
    throw error;
  }
}

export const failed = (reason: 'timeout' | 'aborted'): UpstreamReply => ({
  kind: 'failure',
  reason,
  message: reason === 'timeout' ? 'it hangs, as its settings ask for' : 'the call was ended',
  status: null,
});

const toGuid = (digest: string): string =>
  `${digest.slice(0, 8)}-${digest.slice(8, 12)}-${digest.slice(12, 16)}-${digest.slice(16, 20)}-${digest.slice(20, 32)}`;
