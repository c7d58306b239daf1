import { NO_USAGE } from '../../src/upstream/port.ts';
import type {
  Upstream,
  UpstreamAnswer,
  UpstreamFailure,
  UpstreamProbe,
  UpstreamReply,
  UpstreamRequest,
} from '../../src/upstream/port.ts';
import type { Usage } from '../../src/contract/batch.ts';
import type { Rng } from './rng.ts';
import { never } from './scheduler.ts';
import type { Life, Scheduler } from './scheduler.ts';

/** What one attempt of a line meets. `reset` and `bad_answer` are processed, but the answer is lost. */
export type Mishap =
  | { readonly kind: 'status'; readonly status: number; readonly retryAfterMs: number | null }
  | { readonly kind: 'reset' | 'unreachable' | 'timeout' | 'hang' | 'bad_answer' };

/** What the seed has in store for one line: mishaps of its first attempts, then always the same. */
export interface Fate {
  readonly mishaps: readonly Mishap[];
  /** 200, or what this line will get for ever. */
  readonly lastly: number;
  /** How many processes die when they send this line. */
  readonly kills: number;
}

/** A stretch of time in which every call to the upstream fails alike. */
export interface Outage {
  readonly upstream: string;
  readonly fromMs: number;
  readonly toMs: number;
  readonly how: 'unreachable' | 'silent' | '503' | '429' | '401' | '403' | '404';
}

/** One call, as the ledger keeps it. */
export interface Call {
  readonly number: number;
  readonly upstream: string;
  readonly line: string;
  readonly key: string;
  readonly life: Life;
  readonly startMs: number;
  readonly body: Buffer;
  readonly model: string;
  /** Fell into an outage. */
  readonly down: boolean;
  /** Null while it is in flight; a crash leaves it so. */
  reply: UpstreamReply | null;
  endMs: number | null;
  usage: Usage;
}

export interface SimUpstreamOptions {
  readonly name: string;
  readonly rng: Rng;
  readonly scheduler: Scheduler;
  readonly latencyMs: readonly [min: number, max: number];
  /** Calls without an answer are given up after this long, as the HTTP client does. */
  readonly timeoutMs: number;
  readonly fate: (line: string) => Fate;
  readonly outages: readonly Outage[];
  /** Of each line, over all upstreams, outages left out. */
  readonly attempts: Map<string, number>;
  readonly onCall: (call: Call) => void;
  readonly onEnd: (call: Call) => void;
  /** Ends the process; `times` counts how often this line did. */
  readonly kill: (life: Life, times: number) => void;
}

/** Every line of the simulation carries its own name in its body, so that the server knows whom it answers. */
const lineOf = (body: Uint8Array): string => {
  const match = /"line":"([^"]*)"/.exec(Buffer.from(body).toString('utf8'));
  return match?.[1] ?? '?';
};

/** A model server that outlives the processes that call it, keeps a ledger, and does to each line what the seed says. */
export class SimUpstream {
  readonly name: string;
  readonly calls: Call[] = [];
  readonly #options: SimUpstreamOptions;
  readonly #kills = new Map<string, number>();

  constructor(options: SimUpstreamOptions) {
    this.#options = options;
    this.name = options.name;
  }

  /** The client side of one process. */
  clientOf(life: Life): Upstream {
    return {
      name: this.name,
      server: this.name,
      model: '',
      call: (request, signal) => (life.alive ? this.#call(request, signal, life) : never()),
      probe: () => (life.alive ? this.#probe(life) : never()),
      close: () => Promise.resolve(),
    };
  }

  #probe(life: Life): Promise<UpstreamProbe> {
    const { scheduler, rng, latencyMs, timeoutMs } = this.#options;
    const outage = this.#outage();
    const afterMs = outage?.how === 'silent' ? timeoutMs : rng.int(...latencyMs);
    return scheduler.after(afterMs, life, () => this.#probed(outage));
  }

  #probed(outage: Outage | undefined): UpstreamProbe {
    if (outage === undefined) return { kind: 'models', ids: ['m'] };
    const message = `down: ${outage.how}`;
    if (outage.how === 'unreachable') return { kind: 'failure', reason: 'unreachable', message };
    if (outage.how === 'silent') return { kind: 'failure', reason: 'timeout', message };
    return { kind: 'answer', status: Number(outage.how), message };
  }

  async #call(request: UpstreamRequest, signal: AbortSignal, life: Life): Promise<UpstreamReply> {
    const { scheduler, rng, onCall, onEnd, kill, fate } = this.#options;
    const line = lineOf(request.body);
    const outage = this.#outage();
    const call: Call = {
      number: this.calls.length,
      upstream: this.name,
      line,
      key: request.idempotencyKey,
      life,
      startMs: scheduler.nowMs,
      body: Buffer.from(request.body),
      model: Buffer.from(request.body).toString('utf8', request.model.start, request.model.end),
      down: outage !== undefined,
      reply: null,
      endMs: null,
      usage: NO_USAGE,
    };
    this.calls.push(call);
    onCall(call);
    const kills = this.#kills.get(line) ?? 0;
    if (kills < fate(line).kills) {
      this.#kills.set(line, kills + 1);
      return scheduler.after(rng.int(0, 20), life, () => {
        kill(life, kills + 1);
        return never();
      });
    }
    const { reply, afterMs } = this.#decide(call, outage);
    const settled = await Promise.race([
      scheduler.after(afterMs, life, () => reply),
      aborted(signal, life).then(() => scheduler.after(rng.int(0, 50), life, () => abortedReply(this.name))),
    ]);
    call.reply = settled;
    call.endMs = scheduler.nowMs;
    call.usage = settled.kind === 'answer' ? settled.usage : NO_USAGE;
    onEnd(call);
    return settled;
  }

  #outage(): Outage | undefined {
    const { nowMs } = this.#options.scheduler;
    return this.#options.outages.find(
      (outage) => outage.upstream === this.name && outage.fromMs <= nowMs && nowMs < outage.toMs,
    );
  }

  #decide(call: Call, outage: Outage | undefined): { reply: UpstreamReply; afterMs: number } {
    const { rng, latencyMs, timeoutMs, fate, attempts } = this.#options;
    const latency = rng.chance(0.02) ? rng.int(latencyMs[1], latencyMs[1] * 20) : rng.int(...latencyMs);
    if (outage) return this.#down(outage, latency);
    const attempt = attempts.get(call.line) ?? 0;
    attempts.set(call.line, attempt + 1);
    const { mishaps, lastly } = fate(call.line);
    const mishap = mishaps[attempt];
    if (!mishap) return { reply: this.#answer(call, lastly, null), afterMs: latency };
    switch (mishap.kind) {
      case 'status':
        return { reply: this.#answer(call, mishap.status, mishap.retryAfterMs), afterMs: latency };
      case 'reset':
      case 'bad_answer':
        return { reply: failure(this.name, mishap.kind), afterMs: latency };
      case 'unreachable':
        return { reply: failure(this.name, 'unreachable'), afterMs: rng.int(0, 20) };
      case 'timeout':
      case 'hang':
        return { reply: failure(this.name, 'timeout'), afterMs: timeoutMs };
    }
  }

  #down(outage: Outage, latency: number): { reply: UpstreamReply; afterMs: number } {
    const { rng, timeoutMs } = this.#options;
    if (outage.how === 'unreachable')
      return { reply: failure(this.name, 'unreachable'), afterMs: rng.int(0, 20) };
    if (outage.how === 'silent') return { reply: failure(this.name, 'timeout'), afterMs: timeoutMs };
    const status = Number(outage.how);
    const retryAfterMs = status === 429 ? 5_000 : null;
    return {
      reply: errorAnswer(status, retryAfterMs, `down: ${outage.how}`),
      afterMs: Math.min(latency, 200),
    };
  }

  #answer(call: Call, status: number, retryAfterMs: number | null): UpstreamAnswer {
    if (status !== 200) return errorAnswer(status, retryAfterMs, `says ${status} to ${call.line}`);
    const { rng } = this.#options;
    const usage: Usage = {
      inputTokens: rng.int(1, 50),
      cachedTokens: rng.int(0, 5),
      outputTokens: rng.int(1, 50),
      reasoningTokens: rng.int(0, 5),
    };
    const body = { id: `${this.name}/${call.number}`, line: call.line };
    return {
      kind: 'answer',
      status: 200,
      body: Buffer.from(JSON.stringify(body)),
      requestId: `req-${call.number}`,
      retryAfterMs: null,
      usage,
      fault: null,
    };
  }
}

const errorAnswer = (status: number, retryAfterMs: number | null, message: string): UpstreamAnswer => ({
  kind: 'answer',
  status,
  body: Buffer.from(JSON.stringify({ error: { message, code: String(status) } })),
  requestId: null,
  retryAfterMs,
  usage: NO_USAGE,
  fault: null,
});

const failure = (name: string, reason: UpstreamFailure['reason']): UpstreamFailure => ({
  kind: 'failure',
  reason,
  message: `${name}: ${reason}`,
  status: reason === 'bad_answer' ? 200 : null,
});

const abortedReply = (name: string): UpstreamFailure => failure(name, 'aborted');

const aborted = (signal: AbortSignal, life: Life): Promise<void> =>
  new Promise((resolve) => {
    const onAbort = () => {
      if (life.alive) resolve();
    };
    if (signal.aborted) onAbort();
    else signal.addEventListener('abort', onAbort, { once: true });
  });
