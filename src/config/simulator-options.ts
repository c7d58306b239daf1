import { option, type Option } from './option.ts';
import { count, duration, ratio, text } from './values.ts';

const DAY_MS = 24 * 3_600_000;

const simulated = <T, const D extends T | null>(entry: Option<T, D>): Option<T, D> =>
  option({ ...entry, reloads: true, commands: ['serve', 'run', 'simulator'] });

/** These options are part of the table in `options.ts`. */
export const SIMULATOR_OPTIONS = {
  simulatorLatencyMs: simulated({
    flag: 'simulator-latency',
    yaml: 'simulator.latency',
    kind: duration(0, DAY_MS),
    placeholder: 'TIME',
    default: 0,
    help: 'Time to the first token',
  }),
  simulatorTokensPerSecond: simulated({
    flag: 'simulator-tokens-per-second',
    yaml: 'simulator.tokensPerSecond',
    kind: count(1, 1e9),
    placeholder: 'N',
    default: null,
    defaultText: 'as fast as it goes',
    help: 'Speed of each answer',
  }),
  simulatorErrorRate: simulated({
    flag: 'simulator-error-rate',
    yaml: 'simulator.errorRate',
    kind: ratio,
    placeholder: 'RATIO',
    default: 0,
    help: 'Share of the requests that get a 500',
  }),
  simulatorRequestsPerMinute: simulated({
    flag: 'simulator-rpm',
    yaml: 'simulator.requestsPerMinute',
    kind: count(1, 1e9),
    placeholder: 'N',
    default: null,
    defaultText: 'no limit',
    help: 'Requests per minute before it answers 429',
  }),
  simulatorTokensPerMinute: simulated({
    flag: 'simulator-tpm',
    yaml: 'simulator.tokensPerMinute',
    kind: count(1, 1e12),
    placeholder: 'N',
    default: null,
    defaultText: 'no limit',
    help: 'Tokens per minute before it answers 429',
  }),
  simulatorSeed: simulated({
    flag: 'simulator-seed',
    yaml: 'simulator.seed',
    kind: count(0, 2 ** 32 - 1),
    placeholder: 'N',
    default: 1,
    help: 'The same seed gives the same answers',
  }),
  simulatorBehaviour: simulated({
    flag: 'simulator-behaviour',
    yaml: 'simulator.behaviour',
    kind: text,
    placeholder: 'FILE',
    default: null,
    help: 'File of rules that give requests their statuses, delays and bodies (docs/simulator.md)',
  }),
} as const;
