import { deployment, type DeploymentEntry } from './deployment.ts';
import {
  bytes,
  count,
  databaseUrl,
  duration,
  flag,
  listOf,
  oneOf,
  port,
  ratio,
  secret,
  text,
  upstreamUrl,
  type Kind,
} from './values.ts';

/** Commands that take options of this table. */
export type OptionCommand = 'serve' | 'run' | 'simulator';

export interface Option<T, D> {
  /** `--flag`, `OFFPEAK_FLAG`, and, unless `yaml` says otherwise, `flag` in camel case in the file. */
  readonly flag: string;
  /** Dotted path in the file; null: not in the file. */
  readonly yaml?: string | null;
  readonly kind: Kind<T>;
  /** Stands for the value in `--help`; null: a switch. */
  readonly placeholder: string | null;
  /** The flag may be given several times. */
  readonly repeatable?: boolean;
  readonly default: D;
  /** How the default reads where its value says too little. */
  readonly defaultText?: string;
  readonly help: string;
  readonly commands: readonly OptionCommand[];
}

const option = <T, const D extends T | null>(entry: Option<T, D>): Option<T, D> => entry;

const DAY_MS = 24 * 3_600_000;
const MiB = 2 ** 20;

/**
 * Every option, once. Flags, `OFFPEAK_*`, the file's keys, `--help` and docs/configuration.md are made from this table.
 * The key is the property of the loaded configuration.
 */
export const OPTIONS = {
  host: option({
    flag: 'host',
    kind: text,
    placeholder: 'HOST',
    default: '127.0.0.1',
    help: 'Address to listen on. 0.0.0.0 lets other machines in.',
    commands: ['serve'],
  }),
  port: option({
    flag: 'port',
    kind: port,
    placeholder: 'PORT',
    default: 8080,
    help: 'Port to listen on; 0 takes a free one.',
    commands: ['serve'],
  }),
  dataDir: option({
    flag: 'data-dir',
    kind: text,
    placeholder: 'DIR',
    default: './.offpeak',
    help: 'Where files, results and the embedded database live.',
    commands: ['serve'],
  }),
  configPath: option({
    flag: 'config',
    yaml: null,
    kind: text,
    placeholder: 'FILE',
    default: null,
    defaultText: 'offpeak.yaml, when there is one',
    help: 'Configuration file.',
    commands: ['serve'],
  }),
  apiKey: option({
    flag: 'api-key',
    kind: secret,
    placeholder: 'KEY',
    default: null,
    defaultText: 'made at first start and shown once',
    help: 'Key that callers send, as `api-key` or as a bearer token.',
    commands: ['serve'],
  }),
  upstream: option({
    flag: 'upstream',
    kind: upstreamUrl,
    placeholder: 'URL',
    default: 'simulator',
    help: 'Model server that answers: base URL of an OpenAI-compatible API, or `simulator`.',
    commands: ['serve', 'run'],
  }),
  upstreamApiKey: option({
    flag: 'upstream-api-key',
    kind: secret,
    placeholder: 'KEY',
    default: null,
    help: 'Key for the upstream.',
    commands: ['serve', 'run'],
  }),
  deployments: option<readonly DeploymentEntry[], null>({
    flag: 'deployment',
    yaml: 'deployments',
    kind: listOf(deployment),
    placeholder: 'NAME[=MODEL]',
    repeatable: true,
    default: null,
    defaultText: 'gpt-4o-batch-deployment=gpt-4o, with the simulator',
    help: 'Name that callers put in `model`, and the model to ask the upstream for. May be repeated.',
    commands: ['serve'],
  }),
  enqueuedTokensMax: option({
    flag: 'enqueued-tokens',
    kind: count(1, 1e15),
    placeholder: 'TOKENS',
    default: 5e9,
    defaultText: '5B',
    help: 'Input tokens that the live batches of one deployment may hold together.',
    commands: ['serve'],
  }),
  database: option({
    flag: 'database',
    kind: databaseUrl,
    placeholder: 'URL',
    default: null,
    defaultText: 'SQLite in the data directory',
    help: 'PostgreSQL to keep the state in, instead of the embedded database.',
    commands: ['serve'],
  }),
  logLevel: option({
    flag: 'log-level',
    kind: oneOf('debug', 'info', 'warn', 'error', 'silent'),
    placeholder: 'LEVEL',
    default: 'info',
    help: 'debug, info, warn, error or silent.',
    commands: ['serve'],
  }),
  location: option({
    flag: 'location',
    kind: text,
    placeholder: 'REGION',
    default: 'koreacentral',
    help: 'Region that the service reports in `x-ms-region`.',
    commands: ['serve'],
  }),
  concurrencyMax: option({
    flag: 'concurrency',
    kind: count(1, 10_000),
    placeholder: 'N',
    default: 32,
    help: 'Requests that one deployment may have in flight.',
    commands: ['serve', 'run'],
  }),
  retriesMax: option({
    flag: 'max-retries',
    kind: count(0, 100),
    placeholder: 'N',
    default: 5,
    help: 'Calls after the first that a line gets when the upstream fails it.',
    commands: ['serve', 'run'],
  }),
  requestTimeoutMs: option({
    flag: 'request-timeout',
    kind: duration(1, DAY_MS),
    placeholder: 'TIME',
    default: 600_000,
    defaultText: '10m',
    help: 'How long the upstream may take over one request.',
    commands: ['serve', 'run'],
  }),
  strictWindow: option({
    flag: 'strict-window',
    kind: flag,
    placeholder: null,
    default: false,
    help: 'End a batch as `expired` when its 24 hours are over. Otherwise it runs on, as the original does.',
    commands: ['serve'],
  }),
  importHosts: option({
    flag: 'import-host',
    yaml: 'importHosts',
    kind: listOf(text),
    placeholder: 'HOST',
    repeatable: true,
    default: [],
    defaultText: 'none: imports are off',
    help: 'Host that `POST /files/import` may fetch from. May be repeated.',
    commands: ['serve'],
  }),
  filesMax: option({
    flag: 'max-files',
    kind: count(1, 1e6),
    placeholder: 'N',
    default: 500,
    help: 'Input files without an expiry that a resource may hold.',
    commands: ['serve'],
  }),
  expiringFilesMax: option({
    flag: 'max-expiring-files',
    kind: count(1, 1e6),
    placeholder: 'N',
    default: 10_000,
    help: 'Input files with an expiry that a resource may hold.',
    commands: ['serve'],
  }),
  diskReserveBytes: option({
    flag: 'disk-reserve',
    kind: bytes,
    placeholder: 'SIZE',
    default: 256 * MiB,
    defaultText: '256MiB',
    help: 'Free space below which uploads are refused and no more requests are sent.',
    commands: ['serve'],
  }),
  ballastBytes: option({
    flag: 'ballast',
    kind: bytes,
    placeholder: 'SIZE',
    default: 64 * MiB,
    defaultText: '64MiB',
    help: 'File kept in the data directory, and given up when the disk is full so that the service can go on answering.',
    commands: ['serve'],
  }),
  simulatorLatencyMs: option({
    flag: 'simulator-latency',
    yaml: 'simulator.latency',
    kind: duration(0, DAY_MS),
    placeholder: 'TIME',
    default: 0,
    defaultText: '0',
    help: 'Simulator: time to the first token.',
    commands: ['serve', 'run', 'simulator'],
  }),
  simulatorTokensPerSecond: option({
    flag: 'simulator-tokens-per-second',
    yaml: 'simulator.tokensPerSecond',
    kind: count(1, 1e9),
    placeholder: 'N',
    default: null,
    defaultText: 'as fast as it goes',
    help: 'Simulator: speed of each answer.',
    commands: ['serve', 'run', 'simulator'],
  }),
  simulatorErrorRate: option({
    flag: 'simulator-error-rate',
    yaml: 'simulator.errorRate',
    kind: ratio,
    placeholder: 'RATIO',
    default: 0,
    help: 'Simulator: share of the requests that get a 500.',
    commands: ['serve', 'run', 'simulator'],
  }),
  simulatorRequestsPerMinute: option({
    flag: 'simulator-rpm',
    yaml: 'simulator.requestsPerMinute',
    kind: count(1, 1e9),
    placeholder: 'N',
    default: null,
    defaultText: 'no limit',
    help: 'Simulator: requests per minute before it answers 429.',
    commands: ['serve', 'run', 'simulator'],
  }),
  simulatorTokensPerMinute: option({
    flag: 'simulator-tpm',
    yaml: 'simulator.tokensPerMinute',
    kind: count(1, 1e12),
    placeholder: 'N',
    default: null,
    defaultText: 'no limit',
    help: 'Simulator: tokens per minute before it answers 429.',
    commands: ['serve', 'run', 'simulator'],
  }),
  simulatorSeed: option({
    flag: 'simulator-seed',
    yaml: 'simulator.seed',
    kind: count(0, 2 ** 32 - 1),
    placeholder: 'N',
    default: 1,
    help: 'Simulator: the same seed gives the same answers.',
    commands: ['serve', 'run', 'simulator'],
  }),
} as const satisfies Record<string, Option<unknown, unknown>>;

export type OptionName = keyof typeof OPTIONS;

/** A value for every option. */
export type OptionValues = {
  readonly [Name in OptionName]: (typeof OPTIONS)[Name] extends Option<infer T, infer D>
    ? Widen<T, D>
    : never;
};
type Widen<T, D> = null extends D ? T | null : T;

export const OPTION_NAMES = Object.keys(OPTIONS) as OptionName[];

export const defaults = (): OptionValues =>
  // Each option's default is of its own type.
  Object.fromEntries(OPTION_NAMES.map((name) => [name, OPTIONS[name].default])) as unknown as OptionValues;

export const envName = (name: OptionName): string =>
  `OFFPEAK_${OPTIONS[name].flag.replaceAll('-', '_').toUpperCase()}`;

/** Path of keys in the file; undefined: the option is not in the file. */
export function yamlPath(name: OptionName): string[] | undefined {
  const { flag, yaml }: { flag: string; yaml?: string | null } = OPTIONS[name];
  if (yaml === null) return undefined;
  return yaml ? yaml.split('.') : [flag.replaceAll(/-(.)/g, (_, letter: string) => letter.toUpperCase())];
}

export const optionsOf = (command: OptionCommand): OptionName[] =>
  OPTION_NAMES.filter((name) => (OPTIONS[name].commands as readonly OptionCommand[]).includes(command));
