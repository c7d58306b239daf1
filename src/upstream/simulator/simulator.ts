import { systemClock, type Clock } from '../../core/clock.ts';
import { readAnswer } from '../answer.ts';
import type { Upstream, UpstreamReply } from '../port.ts';
import { toProbe } from '../probe.ts';
import { answerReply } from '../reply.ts';
import { describeRedirect } from '../words.ts';
import { MODELS_ENDPOINT, type Behaviour } from './behaviour.ts';
import { SIMULATED_MODELS } from './models.ts';
import { createPlay, type Played, type PlayRequest } from './play.ts';
import { Script } from './script.ts';
import type { WireAnswer } from './scripted.ts';
import { failed, slept, TIMEOUT_MS, type SimulationOptions } from './simulation.ts';

export interface SimulatorOptions extends SimulationOptions {
  readonly name?: string;
  /** It decides over the requests that its rules match. All simulators that are one server share it. */
  readonly script?: Script | null;
}

/** Answers in the original's shape without a model, for trying things out, for tests, and for what goes wrong in pipelines. */
export function createSimulator(options: SimulatorOptions = {}): Upstream {
  const { clock = systemClock, timeoutMs = TIMEOUT_MS, script = null } = options;
  const play = createPlay(options, script);

  const ask = async (request: PlayRequest, signal: AbortSignal): Promise<UpstreamReply> => {
    const played = await play(request, signal);
    if (played.kind === 'none' && played.how === 'hang')
      return (await slept(clock, timeoutMs, signal)) ? failed('timeout') : failed('aborted');
    return replyTo(request, played, clock);
  };

  const { name = 'simulator', model = '' } = options;
  return {
    name,
    // Each simulator has limits and answers of its own.
    server: `${name} ${model}`,
    model,
    call: ask,
    async probe(signal) {
      if (script === null) return { kind: 'models', ids: [...SIMULATED_MODELS, model] };
      return toProbe(await ask({ endpoint: MODELS_ENDPOINT, body: Buffer.alloc(0) }, signal));
    },
    close: async () => {},
  };
}

export const createScript = (
  behaviour: Behaviour,
  { seed = 1, clock = systemClock }: Pick<SimulationOptions, 'seed' | 'clock'> = {},
): Script => new Script(behaviour, { seed, clock });

function replyTo({ endpoint }: PlayRequest, played: Played, clock: Clock): UpstreamReply {
  switch (played.kind) {
    case 'usual':
      return played.reply;
    case 'models': {
      const text = JSON.stringify({ data: SIMULATED_MODELS.map((id) => ({ id })) });
      return wireReply(
        { status: 200, headers: {}, body: Buffer.from(text), compress: null, cut: false },
        endpoint,
        clock,
      );
    }
    case 'wire':
      return wireReply(played.answer, endpoint, clock);
    case 'none':
      return noReply(played.how);
  }
}

/** Reads the answer as the HTTP client does, save that nothing needs to be decoded. */
function wireReply(
  { status, headers, body, cut }: WireAnswer,
  endpoint: PlayRequest['endpoint'],
  clock: Clock,
): UpstreamReply {
  if (status >= 300 && status < 400) {
    const message = describeRedirect(status, headers['location'], '/', new URL('http://simulator'));
    return { kind: 'failure', reason: 'redirect', message, status };
  }
  if (cut && status < 400) {
    const message = 'the connection was closed in the middle of its answer';
    return { kind: 'failure', reason: 'bad_answer', message, status };
  }
  const asked = endpoint === MODELS_ENDPOINT ? null : endpoint;
  const read = readAnswer(body, { status, endpoint: asked, secret: null });
  if ('reason' in read) return { kind: 'failure', reason: read.reason, message: read.why, status };
  return answerReply(read, { status, headers, clock });
}

function noReply(how: 'refused' | 'reset' | 'close' | 'hang' | 'aborted'): UpstreamReply {
  switch (how) {
    case 'refused':
      return {
        kind: 'failure',
        reason: 'unreachable',
        message: 'nothing listens there (connection refused)',
        status: null,
      };
    case 'reset':
    case 'close':
      return {
        kind: 'failure',
        reason: 'reset',
        message: 'the connection was closed before an answer came',
        status: null,
      };
    case 'hang':
    case 'aborted':
      return failed('aborted');
  }
}
