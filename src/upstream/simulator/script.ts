import { hash } from 'node:crypto';
import type { BatchEndpoint } from '../../contract/batch.ts';
import type { Clock } from '../../core/clock.ts';
import {
  MODELS_ENDPOINT,
  type Behaviour,
  type Conditions,
  type DownAs,
  type Outcome,
  type Range,
  type Rule,
} from './behaviour.ts';
import { createRandom, type Random } from './random.ts';

export interface ScriptedRequest {
  readonly endpoint: BatchEndpoint | typeof MODELS_ENDPOINT;
  readonly body: Uint8Array;
  readonly model: string | undefined;
  /** Every attempt of a line has the same key. */
  readonly idempotencyKey: string | undefined;
  readonly customId: string | undefined;
}

/** What happens to one request: a rule decides, or the server is down. Null stands for the usual answer. */
export type Verdict =
  | { readonly kind: 'rule'; readonly outcome: Outcome }
  | { readonly kind: 'down'; readonly as: DownAs }
  | null;

/**
 * Runs a behaviour. It counts calls, attempts and time, so that what happens depends on the requests, their order and the seed
 * alone.
 */
export class Script {
  readonly #behaviour: Behaviour;
  readonly #clock: Clock;
  readonly #random: Random;
  readonly #left: (number | undefined)[];
  readonly #attempts = new Map<string, number>();
  #calls = 0;
  #inFlight = 0;
  #startedAtMs: number | null = null;
  #down: { readonly as: DownAs; readonly untilMs: number } | null = null;

  constructor(behaviour: Behaviour, { seed, clock }: { readonly seed: number; readonly clock: Clock }) {
    this.#behaviour = behaviour;
    this.#clock = clock;
    this.#random = createRandom(seed);
    this.#left = behaviour.map(({ times }) => times);
  }

  /** Call `end` when the request is over. */
  begin(request: ScriptedRequest): Verdict {
    const nowMs = this.#clock.mono();
    this.#startedAtMs ??= nowMs;
    this.#inFlight += 1;
    const isCall = request.endpoint !== MODELS_ENDPOINT;
    if (isCall) this.#calls += 1;
    const attempt = isCall ? this.#countAttempt(request) : 1;
    const down = this.downAs;
    // A front end that answers for a dead engine still lists its models.
    if (down !== null && (isCall || typeof down === 'string')) return { kind: 'down', as: down };
    const rule = this.#find(request, { attempt, seconds: (nowMs - this.#startedAtMs) / 1_000 });
    if (rule === undefined) return null;
    const { down: outage } = rule.do;
    if (outage)
      this.#down = { as: outage.as, untilMs: nowMs + (rule.do.delay ?? 0) + (outage.for ?? Infinity) };
    return { kind: 'rule', outcome: rule.do };
  }

  end(): void {
    this.#inFlight -= 1;
  }

  /** Returns how the server is down just now, or null when it is up. */
  get downAs(): DownAs | null {
    if (this.#down !== null && this.#clock.mono() >= this.#down.untilMs) this.#down = null;
    return this.#down?.as ?? null;
  }

  /** Resolves when the server is up again. */
  get downForMs(): number {
    return this.downAs === null ? 0 : (this.#down?.untilMs ?? 0) - this.#clock.mono();
  }

  #countAttempt({ idempotencyKey, body }: ScriptedRequest): number {
    const line = idempotencyKey ?? hash('sha256', body);
    const attempt = (this.#attempts.get(line) ?? 0) + 1;
    this.#attempts.set(line, attempt);
    return attempt;
  }

  #find(request: ScriptedRequest, now: { attempt: number; seconds: number }): Rule | undefined {
    const facts = {
      ...request,
      ...now,
      call: this.#calls,
      inFlight: this.#inFlight,
      text: textOf(request.body),
    };
    const index = this.#behaviour.findIndex(({ when: { not, ...when } }, at) => {
      if (this.#left[at] === 0) return false;
      return this.#holds(when, facts) && !(not && this.#holds(not, facts));
    });
    const left = this.#left[index];
    if (left !== undefined) this.#left[index] = left - 1;
    return this.#behaviour[index];
  }

  #holds(when: Conditions, facts: Facts): boolean {
    const { endpoint = CALLS, text, customId, line, model, call, attempt, seconds, inFlight, chance } = when;
    return (
      endpoint.includes(facts.endpoint) &&
      (text?.some((part) => facts.text().includes(part)) ?? true) &&
      (customId?.some((id) => id === facts.customId) ?? true) &&
      (model?.some((name) => name === facts.model) ?? true) &&
      isIn(line, lineOf(facts.idempotencyKey)) &&
      isIn(call, facts.call) &&
      isIn(attempt, facts.attempt) &&
      isIn(seconds, facts.seconds) &&
      isIn(inFlight, facts.inFlight) &&
      // Chance comes last, so that it is drawn only where it decides.
      (chance === undefined || this.#random() < chance)
    );
  }
}

interface Facts extends Omit<ScriptedRequest, 'body'> {
  readonly attempt: number;
  readonly seconds: number;
  readonly call: number;
  readonly inFlight: number;
  readonly text: () => string;
}

/** Only rules that name the list of models change it. */
const CALLS: readonly ScriptedRequest['endpoint'][] = [
  '/chat/completions',
  '/completions',
  '/embeddings',
  '/responses',
];

const isIn = (range: Range | undefined, value: number | undefined): boolean =>
  range === undefined || (value !== undefined && value >= range.from && value <= range.to);

/** The idempotency keys of Offpeak end in the number of the line. */
function lineOf(key: string | undefined): number | undefined {
  const [, number] = /-(\d+)$/.exec(key ?? '') ?? [];
  return number === undefined ? undefined : Number(number);
}

/** The text is decoded once, and only when a rule looks at it. */
function textOf(body: Uint8Array): () => string {
  let text: string | undefined;
  return () => (text ??= Buffer.from(body.buffer, body.byteOffset, body.byteLength).toString());
}
