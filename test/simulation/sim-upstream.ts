import { NO_USAGE } from '../../src/upstream/port.ts';
import type {
  Upstream,
  UpstreamFailure,
  UpstreamProbe,
  UpstreamReply,
  UpstreamRequest,
} from '../../src/upstream/port.ts';
import type { Usage } from '../../src/contract/batch.ts';
import { errorAnswer, failure, success, type Mishap } from './replies.ts';
import type { Rng } from './rng.ts';
import { never } from './scheduler.ts';
import type { Life, Scheduler } from './scheduler.ts';

/** What the seed has in store for one line: mishaps of its first attempts, then always the same. */
export interface Fate {
  readonly mishaps: readonly Mishap[];
  /** The failure that it gets for ever; null: it is well in the end. */
  readonly lastly: Mishap | null;
  /** How many processes die when they send this line. */
  readonly kills: number;
  /** Whenever it is sent, the server dies. */
  readonly fells: ServerDeath | null;
}

/** How a server dies, for everybody who calls it or has a call under way, and for how long. */
export interface ServerDeath {
  readonly form: 'reset' | '503' | 'silent';
  readonly downMs: number;
}

/** Nothing is wrong with it. */
export const WELL: Fate = { mishaps: [], lastly: null, kills: 0, fells: null };

/** What a server answers when it is asked for its models: all of them, none, others, or a failure. */
export type Listing = 'models' | 'empty' | 'others' | '404' | '500';

/** A time in which every call to the server, or for one of its models, fails in the same way. */
export interface Outage {
  readonly server: string;
  /** Null: whatever is called for. */
  readonly model: string | null;
  readonly fromMs: number;
  readonly toMs: number;
  readonly says: Mishap;
  /** What it says meanwhile when it is asked for its models; null: the same failure. */
  readonly listing: Listing | null;
}

/** One call, as the ledger keeps it. */
export interface Call {
  readonly number: number;
  readonly upstream: string;
  readonly deployment: string;
  /** Shared with other upstreams, perhaps. */
  readonly server: string;
  /** What is asked for there. Upstreams that ask for the same share what is known of it. */
  readonly route: string;
  readonly line: string;
  readonly key: string;
  readonly life: Life;
  readonly startMs: number;
  readonly body: Buffer;
  readonly model: string;
  /** Whether it met an outage, or its server died during the call. */
  down: boolean;
  /** Null while it is in flight; a crash leaves it so. */
  reply: UpstreamReply | null;
  endMs: number | null;
  usage: Usage;
}

/** One address and key, behind one upstream or several. */
export class SimServer {
  readonly name: string;
  readonly listing: Listing;
  readonly models: readonly string[];
  readonly outages: readonly Outage[];
  /** When it died, until when it was dead, and which line it died of. */
  readonly deaths: { readonly atMs: number; readonly toMs: number; readonly line: string }[] = [];
  /** Each time at which it answered a process that asked for its list of models. */
  readonly listed: { readonly life: Life; readonly atMs: number }[] = [];
  #down: { readonly toMs: number; readonly form: ServerDeath['form'] } | null = null;
  readonly #open = new Set<(form: ServerDeath['form']) => void>();

  constructor(
    name: string,
    options: {
      readonly listing: Listing;
      readonly models: readonly string[];
      readonly outages: readonly Outage[];
    },
  ) {
    this.name = name;
    this.listing = options.listing;
    this.models = options.models;
    this.outages = options.outages.filter(({ server }) => server === name);
  }

  /** The times in which something was wrong with it for everybody, or it was dead. */
  wasIllWithin(fromMs: number, toMs: number): boolean {
    return [
      ...this.outages,
      ...this.deaths.map(({ atMs, toMs: endMs }) => ({ fromMs: atMs, toMs: endMs })),
    ].some((trouble) => trouble.fromMs <= toMs && trouble.toMs >= fromMs);
  }

  /** What every caller for the model gets now; undefined: nothing is wrong. */
  trouble(nowMs: number, model: string | null): Pick<Outage, 'says' | 'listing'> | undefined {
    if (this.#down !== null && nowMs < this.#down.toMs) return { says: DEAD[this.#down.form], listing: null };
    return this.outages.find(
      (outage) =>
        (outage.model === null || outage.model === model) && outage.fromMs <= nowMs && nowMs < outage.toMs,
    );
  }

  /** `cut` is called when it dies before the returned function is. */
  open(cut: (form: ServerDeath['form']) => void): () => void {
    this.#open.add(cut);
    return () => this.#open.delete(cut);
  }

  die(
    { form, downMs }: ServerDeath,
    { line, nowMs }: { readonly line: string; readonly nowMs: number },
  ): void {
    this.#down = { toMs: nowMs + downMs, form };
    this.deaths.push({ atMs: nowMs, toMs: nowMs + downMs, line });
    for (const cut of this.#open) cut(form);
    this.#open.clear();
  }
}

/** What comes of a call to a server that is dead. */
const DEAD: Readonly<Record<ServerDeath['form'], Mishap>> = {
  reset: { kind: 'unreachable' },
  '503': { kind: 'status', status: 503, retryAfterMs: null, words: 'no engine' },
  silent: { kind: 'timeout' },
};

export interface SimUpstreamOptions {
  readonly name: string;
  readonly deployment: string;
  readonly server: SimServer;
  /** The model's name there. */
  readonly model: string;
  readonly rng: Rng;
  readonly scheduler: Scheduler;
  readonly latencyMs: readonly [min: number, max: number];
  /** Calls without an answer are given up after this long, as the HTTP client does. */
  readonly timeoutMs: number;
  readonly fate: (line: string) => Fate;
  /** Calls of each line, over all upstreams, without those in outages. */
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
    const { server, model } = this.#options;
    return {
      name: this.name,
      server: server.name,
      model,
      call: (request, signal) => (life.alive ? this.#call(request, signal, life) : never()),
      probe: () => (life.alive ? this.#probe(life) : never()),
      close: () => Promise.resolve(),
    };
  }

  #probe(life: Life): Promise<UpstreamProbe> {
    const { scheduler, rng, latencyMs, timeoutMs, server } = this.#options;
    const trouble = server.trouble(scheduler.nowMs, null);
    const isSilent = trouble?.listing === null && isTimeout(trouble.says);
    const afterMs = isSilent ? timeoutMs : rng.int(...latencyMs);
    return scheduler.after(afterMs, life, () => {
      const probe =
        trouble?.listing === null
          ? this.#refusesToList(trouble.says)
          : this.#list(trouble?.listing ?? server.listing);
      const lives = probe.kind === 'models' || (probe.kind === 'answer' && isAlive(probe.status));
      if (lives) server.listed.push({ life, atMs: scheduler.nowMs });
      return probe;
    });
  }

  #list(listing: Listing): UpstreamProbe {
    if (listing === 'models') return { kind: 'models', ids: this.#options.server.models };
    if (listing === 'empty') return { kind: 'models', ids: [] };
    if (listing === 'others') return { kind: 'models', ids: ['some-other'] };
    return { kind: 'answer', status: Number(listing), message: `no list: ${listing}` };
  }

  #refusesToList(says: Mishap): UpstreamProbe {
    const message = `down: ${says.kind}`;
    if (says.kind === 'status') return { kind: 'answer', status: says.status, message };
    if (says.kind === 'fault') return { kind: 'answer', status: 200, message };
    return { kind: 'failure', reason: says.kind === 'hang' ? 'timeout' : says.kind, message };
  }

  async #call(request: UpstreamRequest, signal: AbortSignal, life: Life): Promise<UpstreamReply> {
    const { scheduler, rng, onCall, onEnd, kill, fate, server, model } = this.#options;
    const line = lineOf(request.body);
    const trouble = server.trouble(scheduler.nowMs, model);
    const call: Call = {
      number: this.calls.length,
      upstream: this.name,
      deployment: this.#options.deployment,
      server: server.name,
      route: `${server.name} ${model}`,
      line,
      key: request.idempotencyKey,
      life,
      startMs: scheduler.nowMs,
      body: Buffer.from(request.body),
      model: Buffer.from(request.body).toString('utf8', request.model.start, request.model.end),
      down: trouble !== undefined,
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
    const { fells } = fate(line);
    const cut = Promise.withResolvers<UpstreamReply>();
    const close = server.open((form) => {
      call.down = true;
      if (form === 'reset') cut.resolve(failure(this.name, 'reset'));
      else this.#meet(call, DEAD[form]).then(cut.resolve, cut.reject);
    });
    const ways = [
      cut.promise,
      aborted(signal, life).then(() => scheduler.after(rng.int(0, 50), life, () => abortedReply(this.name))),
    ];
    if (fells !== null && trouble === undefined)
      scheduler.at(rng.int(0, 20), life, () => server.die(fells, { line, nowMs: scheduler.nowMs }));
    else ways.push(trouble ? this.#meet(call, trouble.says) : this.#decide(call));
    const settled = await Promise.race(ways);
    close();
    call.reply = settled;
    call.endMs = scheduler.nowMs;
    call.usage = settled.kind === 'answer' ? settled.usage : NO_USAGE;
    onEnd(call);
    return settled;
  }

  #decide(call: Call): Promise<UpstreamReply> {
    const { fate, attempts, scheduler } = this.#options;
    const attempt = attempts.get(call.line) ?? 0;
    attempts.set(call.line, attempt + 1);
    const { mishaps, lastly } = fate(call.line);
    const mishap = mishaps[attempt] ?? lastly;
    if (mishap !== null) return this.#meet(call, mishap);
    const { rng } = this.#options;
    const latencyMs = this.#latencyMs();
    const usage: Usage = {
      inputTokens: rng.int(1, 50),
      cachedTokens: rng.int(0, 5),
      outputTokens: rng.int(1, 50),
      reasoningTokens: rng.int(0, 5),
    };
    const reply = { ...success(this.#bodyFor(call), usage), requestId: `req-${call.number}` };
    return scheduler.after(latencyMs, call.life, () => reply);
  }

  #bodyFor({ number, line }: Call): object {
    return { id: `${this.name}/${number}`, line };
  }

  #latencyMs(): number {
    const { rng, latencyMs } = this.#options;
    return rng.chance(0.02) ? rng.int(latencyMs[1], latencyMs[1] * 20) : rng.int(...latencyMs);
  }

  #meet(call: Call, mishap: Mishap): Promise<UpstreamReply> {
    const { rng, timeoutMs, scheduler } = this.#options;
    const latencyMs = this.#latencyMs();
    const afterMs = isTimeout(mishap)
      ? timeoutMs
      : mishap.kind === 'unreachable'
        ? rng.int(0, 20)
        : latencyMs;
    return scheduler.after(afterMs, call.life, () => this.#replyOf(call, mishap));
  }

  #replyOf(call: Call, mishap: Mishap): UpstreamReply {
    switch (mishap.kind) {
      case 'status': {
        const { status, retryAfterMs, words = `says ${status} to ${call.line}` } = mishap;
        return errorAnswer(status, { words, retryAfterMs });
      }
      case 'fault':
        return {
          ...success({ ...this.#bodyFor(call), error: 'the engine failed' }, NO_USAGE),
          fault: { code: null, message: 'the engine failed' },
        };
      case 'hang':
        return failure(this.name, 'timeout');
      case 'reset':
      case 'unreachable':
      case 'timeout':
      case 'bad_answer':
      case 'foreign_answer':
      case 'redirect':
        return failure(this.name, mishap.kind);
    }
  }
}

const isAlive = (status: number): boolean => status <= 501 && ![401, 403, 407, 429].includes(status);

const isTimeout = ({ kind }: Mishap): boolean => kind === 'timeout' || kind === 'hang';

const abortedReply = (name: string): UpstreamFailure => failure(name, 'aborted');

const aborted = (signal: AbortSignal, life: Life): Promise<void> =>
  new Promise((resolve) => {
    const onAbort = () => {
      if (life.alive) resolve();
    };
    if (signal.aborted) onAbort();
    else signal.addEventListener('abort', onAbort, { once: true });
  });
