import { CONCURRENCY_MAX, ENQUEUED_TOKENS_MAX, OFFERS } from '../contract/control.ts';
import { deployment, type DeploymentEntry } from './deployment.ts';
import { option, type Option, type OptionCommand } from './option.ts';
import { subscription } from './resource.ts';
import { SIMULATOR_OPTIONS } from './simulator-options.ts';
import {
  age,
  bytes,
  count,
  databaseUrl,
  domain,
  duration,
  flag,
  ipRange,
  listOf,
  oneOf,
  port,
  region,
  secret,
  text,
} from './values.ts';
import { upstreamAddress } from './upstream-address.ts';

const DAY_MS = 24 * 3_600_000;
const MiB = 2 ** 20;

/** What has ended is kept for ever, unless the operator says for how long. */
const keep = (what: string, help: string) =>
  option({
    flag: `keep-${what}`,
    yaml: `keep.${what}`,
    kind: age,
    placeholder: 'AGE',
    default: null,
    defaultText: 'for ever',
    help,
  });

/**
 * The table of options. Flags, `OFFPEAK_*`, the file's keys, `--help` and docs/configuration.md are made from it. Each key
 * is the property of the loaded configuration.
 */
export const OPTIONS = {
  host: option({
    flag: 'host',
    kind: text,
    placeholder: 'HOST',
    default: '127.0.0.1',
    help: 'Address to listen on. 0.0.0.0 lets other machines in',
  }),
  port: option({
    flag: 'port',
    kind: port,
    placeholder: 'PORT',
    default: 8080,
    help: 'Port to listen on; 0 takes a free one',
  }),
  tlsCertPath: option({
    flag: 'tls-cert',
    kind: text,
    placeholder: 'FILE',
    default: null,
    defaultText: 'plain HTTP',
    help: 'Certificate (PEM, with its chain) for HTTPS',
  }),
  tlsKeyPath: option({
    flag: 'tls-key',
    kind: text,
    placeholder: 'FILE',
    default: null,
    help: 'Private key (PEM) of the certificate',
  }),
  tlsSelfSigned: option({
    flag: 'tls-self-signed',
    kind: flag,
    default: false,
    help: 'Speak HTTPS with a certificate for this machine, made at the first start and kept in the data directory',
  }),
  resourceDomains: option({
    flag: 'resource-domain',
    yaml: 'resourceDomains',
    kind: listOf(domain),
    placeholder: 'DOMAIN',
    repeatable: true,
    default: ['localhost', 'openai.azure.com', 'cognitiveservices.azure.com', 'services.ai.azure.com'],
    help: "Domain that follows a resource's name in the host that callers address. May be repeated",
  }),
  connectionsPerAddressMax: option({
    flag: 'max-connections-per-address',
    kind: count(1, 1e6),
    placeholder: 'N',
    default: 100,
    help: 'Connections that one address may have open. Behind a trusted proxy, requests under way are counted instead. Callers on this machine are not limited',
  }),
  trustedProxies: option({
    flag: 'trusted-proxy',
    yaml: 'trustedProxies',
    kind: listOf(ipRange),
    placeholder: 'RANGE',
    repeatable: true,
    default: [],
    defaultText: 'none',
    help: 'Addresses (10.0.0.0/8, ::1) of trusted proxies: their `X-Forwarded-For` and `Forwarded` say where a request comes from. May be repeated',
  }),
  configPath: option({
    flag: 'config',
    yaml: null,
    kind: text,
    placeholder: 'FILE',
    default: null,
    defaultText: 'offpeak.yaml, when there is one',
    help: 'Configuration file',
    commands: ['serve', 'verify'],
  }),
  dataDir: option({
    flag: 'data-dir',
    kind: text,
    placeholder: 'DIR',
    default: './.offpeak',
    help: 'Directory of files, results and the embedded database',
    commands: ['serve', 'verify'],
  }),
  database: option({
    flag: 'database',
    kind: databaseUrl,
    placeholder: 'URL',
    default: null,
    defaultText: 'SQLite in the data directory',
    help: 'PostgreSQL to keep the state in, instead of the embedded database',
    commands: ['serve', 'verify'],
  }),
  adopt: option({
    flag: 'adopt',
    yaml: null,
    kind: flag,
    default: false,
    help: 'Treat the data directory and the database as one installation, although their ids differ. Give it for one start',
  }),
  diskReserveBytes: option({
    flag: 'disk-reserve',
    kind: bytes,
    placeholder: 'SIZE',
    default: 256 * MiB,
    defaultText: '256MiB',
    help: 'Free space below which uploads are refused and no more requests are sent',
  }),
  ballastBytes: option({
    flag: 'ballast',
    kind: bytes,
    placeholder: 'SIZE',
    default: 64 * MiB,
    defaultText: '64MiB',
    help: 'Spare file in the data directory. The service removes it when the disk is full, so that it can go on answering',
  }),
  apiKey: option({
    flag: 'api-key',
    kind: secret,
    placeholder: 'KEY',
    default: null,
    defaultText: 'made at first start and shown once',
    help: 'Key of the default resource, which callers send as `api-key` or as a bearer token',
    reloads: true,
  }),
  adminKey: option({
    flag: 'admin-key',
    kind: secret,
    placeholder: 'KEY',
    default: null,
    defaultText: 'made at first start and shown once',
    help: 'Key that opens the control plane: resources, deployments, quota, audit',
    reloads: true,
  }),
  location: option({
    flag: 'location',
    kind: region,
    placeholder: 'REGION',
    default: 'koreacentral',
    help: 'Region of the default resource, reported in `x-ms-region`, and of upstreams that name none',
  }),
  offer: option({
    flag: 'offer',
    kind: oneOf(...OFFERS),
    placeholder: 'OFFER',
    default: 'enterprise',
    help: `Subscription offer, which decides the quota: ${OFFERS.join(', ')}`,
    reloads: true,
  }),
  subscription: option({
    flag: 'subscription',
    kind: subscription,
    placeholder: 'ID',
    default: '00000000-0000-0000-0000-000000000000',
    help: 'Subscription of the default resource, and of others that name none',
  }),
  upstream: option({
    flag: 'upstream',
    kind: upstreamAddress,
    placeholder: 'URL',
    default: null,
    defaultText: 'the simulator, unless the file has `upstreams`',
    forRun: { defaultText: 'none; one is needed' },
    help: 'Model server that answers: base URL of an OpenAI-compatible API, or `simulator`',
    reloads: true,
    commands: ['serve', 'run'],
  }),
  upstreamApiKey: option({
    flag: 'upstream-api-key',
    kind: secret,
    placeholder: 'KEY',
    default: null,
    help: 'Key for the upstream',
    reloads: true,
    commands: ['serve', 'run'],
  }),
  concurrencyMax: option({
    flag: 'concurrency',
    kind: count(1, CONCURRENCY_MAX),
    placeholder: 'N',
    default: 32,
    help: 'Requests that one deployment may have in flight',
    forRun: { help: 'Requests that may be in flight' },
    reloads: true,
    commands: ['serve', 'run'],
  }),
  retriesMax: option({
    flag: 'max-retries',
    kind: count(0, 100),
    placeholder: 'N',
    default: 5,
    help: 'How often a failed line is sent again. An upstream that is down or overloaded gets more tries',
    commands: ['serve', 'run'],
  }),
  requestTimeoutMs: option({
    flag: 'request-timeout',
    kind: duration(1, DAY_MS),
    placeholder: 'TIME',
    default: 600_000,
    defaultText: '10m',
    help: 'Time that the upstream may take for one request',
    reloads: true,
    commands: ['serve', 'run'],
  }),
  waitForUpstreamMs: option({
    flag: 'wait-for-upstream',
    yaml: null,
    kind: duration(0, 30 * DAY_MS),
    placeholder: 'TIME',
    default: 60_000,
    defaultText: '60s',
    help: 'Time to wait for an upstream that has not answered yet. Once it has answered, the wait has no limit',
    commands: ['run'],
  }),
  deployments: option<readonly DeploymentEntry[], null>({
    flag: 'deployment',
    yaml: 'deployments',
    kind: listOf(deployment),
    placeholder: 'NAME[=MODEL]',
    repeatable: true,
    default: null,
    defaultText: 'gpt-4o-batch-deployment=gpt-4o, with the simulator',
    help: 'Name that callers put in `model`, and the model to ask the upstream for. May be repeated',
    reloads: true,
  }),
  enqueuedTokensMax: option({
    flag: 'enqueued-tokens',
    kind: count(1, ENQUEUED_TOKENS_MAX),
    placeholder: 'TOKENS',
    default: null,
    defaultText: "an equal share of the model's quota, or 5B without one",
    help: 'Input tokens that the live batches of one deployment may hold together',
    reloads: true,
  }),
  strictWindow: option({
    flag: 'strict-window',
    kind: flag,
    default: false,
    help: 'End a batch as `expired` when its 24 hours are over. Otherwise it runs on, as in Azure',
  }),
  importHosts: option({
    flag: 'import-host',
    yaml: 'importHosts',
    kind: listOf(text),
    placeholder: 'HOST',
    repeatable: true,
    default: [],
    defaultText: 'none: imports are off',
    help: 'Host that `POST /files/import` may fetch from. May be repeated',
  }),
  filesMax: option({
    flag: 'max-files',
    kind: count(1, 1e6),
    placeholder: 'N',
    default: 500,
    help: 'Input files without an expiry that a resource may hold',
  }),
  expiringFilesMax: option({
    flag: 'max-expiring-files',
    kind: count(1, 1e6),
    placeholder: 'N',
    default: 10_000,
    help: 'Input files with an expiry that a resource may hold',
  }),
  keepBatchesMs: keep(
    'batches',
    'Remove batches, with their output and error files, this long after their end',
  ),
  keepFilesMs: keep(
    'files',
    'Remove files this long after their upload, unless a live batch reads them or they have an expiry of their own',
  ),
  keepAuditMs: keep('audit', 'Remove entries of the audit log this long after they were written'),
  logLevel: option({
    flag: 'log-level',
    kind: oneOf('debug', 'info', 'warn', 'error', 'silent'),
    placeholder: 'LEVEL',
    default: 'info',
    help: 'Lowest level that is logged: debug, info, warn, error or silent',
  }),
  logFormat: option({
    flag: 'log-format',
    kind: oneOf('auto', 'pretty', 'json'),
    placeholder: 'FORMAT',
    default: 'auto',
    help: 'Log lines for people (pretty) or for machines (json). auto: pretty on a terminal, json elsewhere',
  }),
  ...SIMULATOR_OPTIONS,
} as const satisfies Record<string, Option<unknown, unknown>>;

export type OptionName = keyof typeof OPTIONS;

/** It has a value for every option. */
export type OptionValues = {
  readonly [Name in OptionName]: (typeof OPTIONS)[Name] extends Option<infer T, infer D>
    ? Widen<T, D>
    : never;
};
type Widen<T, D> = null extends D ? T | null : T;

/** Headings of `--help`, each with the first option below it. */
export const OPTION_HEADINGS: Partial<Record<OptionName, string>> = {
  host: 'Network:',
  configPath: 'Configuration and data:',
  apiKey: 'Keys and the default resource:',
  upstream: 'Upstream:',
  deployments: 'Deployments, batches and files:',
  logLevel: 'Log:',
  simulatorLatencyMs: 'Simulator:',
};

export const OPTION_NAMES = Object.keys(OPTIONS) as OptionName[];

export const defaults = (): OptionValues =>
  // Each option's default is of its own type.
  Object.fromEntries(OPTION_NAMES.map((name) => [name, OPTIONS[name].default])) as unknown as OptionValues;

export const envName = (name: OptionName): string =>
  `OFFPEAK_${OPTIONS[name].flag.replaceAll('-', '_').toUpperCase()}`;

/** Path of keys in the file. Undefined: the file does not have the option. */
export function yamlPath(name: OptionName): string[] | undefined {
  const { flag, yaml }: { flag: string; yaml?: string | null } = OPTIONS[name];
  if (yaml === null) return undefined;
  return yaml ? yaml.split('.') : [flag.replaceAll(/-(.)/g, (_, letter: string) => letter.toUpperCase())];
}

export function commandsOf(name: OptionName): readonly OptionCommand[] {
  const { commands }: Pick<Option<unknown, unknown>, 'commands'> = OPTIONS[name];
  return commands ?? ['serve'];
}

export const optionsOf = (command: OptionCommand): OptionName[] =>
  OPTION_NAMES.filter((name) => commandsOf(name).includes(command));
