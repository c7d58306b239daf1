import type { BatchEndpoint } from '../../contract/batch.ts';
import { systemClock } from '../../core/clock.ts';
import type { UpstreamReply } from '../port.ts';
import { MODELS_ENDPOINT, type DownAs, type Outcome } from './behaviour.ts';
import { isObject } from '../json.ts';
import { SIMULATED_MODELS } from './models.ts';
import type { Script } from './script.ts';
import { scriptedAnswer, type WireAnswer } from './scripted.ts';
import { createSimulation, slept, type SimulationOptions } from './simulation.ts';

export interface PlayRequest {
  readonly endpoint: BatchEndpoint | typeof MODELS_ENDPOINT;
  readonly body: Uint8Array;
  /** The model, when the body names none. */
  readonly deployment?: string | undefined;
  readonly idempotencyKey?: string | undefined;
  readonly customIdJson?: Uint8Array | undefined;
}

export type Played =
  | { readonly kind: 'usual'; readonly reply: UpstreamReply }
  | { readonly kind: 'wire'; readonly answer: WireAnswer }
  | { readonly kind: 'models' }
  /** Nothing comes back. With `hang` the connection stays open. */
  | { readonly kind: 'none'; readonly how: 'refused' | 'reset' | 'close' | 'hang' | 'aborted' };

/** Runs the simulation under a script. Requests that no rule matches get the usual answer. */
export function createPlay(
  options: SimulationOptions,
  script: Script | null,
): (request: PlayRequest, signal: AbortSignal) => Promise<Played> {
  const simulate = createSimulation(options);
  const { clock = systemClock } = options;

  const usual = async (request: PlayRequest, signal: AbortSignal): Promise<Played> => {
    const { endpoint } = request;
    if (endpoint === MODELS_ENDPOINT) return { kind: 'models' };
    return { kind: 'usual', reply: await simulate({ ...request, endpoint }, signal) };
  };

  return async (request, signal) => {
    if (script === null) return usual(request, signal);
    const { endpoint, body, idempotencyKey, customIdJson } = request;
    const model = options.model ?? modelOf(request);
    const customId = customIdJson && String(jsonOf(customIdJson));
    const verdict = script.begin({ endpoint, body, model, idempotencyKey, customId });
    try {
      if (verdict === null) return await usual(request, signal);
      if (verdict.kind === 'down') return whileDown(verdict.as);
      const { outcome } = verdict;
      if (outcome.delay && !(await slept(clock, outcome.delay, signal))) return NOTHING.aborted;
      return await follow(outcome, () => usual(request, signal), endpoint);
    } finally {
      script.end();
    }
  };
}

async function follow(
  outcome: Outcome,
  usual: () => Promise<Played>,
  endpoint: PlayRequest['endpoint'],
): Promise<Played> {
  const { end, down, status, message, body, merge, headers, stream, compress, cut } = outcome;
  if (end !== undefined) return NOTHING[end];
  if (down && status === undefined && body === undefined)
    return whileDown(down.as === 'refused' ? 'reset' : down.as);
  const isUsual = [status, message, body, merge, headers, stream, compress, cut].every(
    (given) => given === undefined,
  );
  if (isUsual) return usual();
  const isErrorOrGiven = body !== undefined || message !== undefined || (status ?? 200) >= 300;
  const base = isErrorOrGiven ? EMPTY : wireOf(await usual());
  if (base === undefined) return NOTHING.aborted;
  return { kind: 'wire', answer: scriptedAnswer(outcome, { endpoint, usual: base }) };
}

/** Returns undefined when there was no usual answer. */
function wireOf(played: Played): Buffer | undefined {
  if (played.kind === 'models') return MODELS_BODY;
  if (played.kind !== 'usual' || played.reply.kind !== 'answer') return undefined;
  return Buffer.from(played.reply.body);
}

const whileDown = (as: DownAs): Played =>
  typeof as === 'string'
    ? NOTHING[as]
    : {
        kind: 'wire',
        answer: scriptedAnswer(
          {
            status: as,
            body: undefined,
            message: '[simulated] The server is down, as the behaviour file asks for.',
          },
          { endpoint: MODELS_ENDPOINT, usual: EMPTY },
        ),
      };

const NOTHING = {
  refused: { kind: 'none', how: 'refused' },
  reset: { kind: 'none', how: 'reset' },
  close: { kind: 'none', how: 'close' },
  hang: { kind: 'none', how: 'hang' },
  aborted: { kind: 'none', how: 'aborted' },
} as const;
const EMPTY = Buffer.from('{}');

function modelOf({ body, deployment }: PlayRequest): string | undefined {
  const parsed = jsonOf(body);
  return isObject(parsed) && typeof parsed['model'] === 'string' ? parsed['model'] : deployment;
}

/** Returns undefined when it is not JSON. */
function jsonOf(bytes: Uint8Array): unknown {
  try {
    return JSON.parse(Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString());
  } catch {
    return undefined; // Such a body is refused, unless a rule decides otherwise.
  }
}

export const MODELS_BODY = Buffer.from(
  JSON.stringify({
    object: 'list',
    data: SIMULATED_MODELS.map((id) => ({ id, object: 'model', created: 0, owned_by: 'simulator' })),
  }),
);
