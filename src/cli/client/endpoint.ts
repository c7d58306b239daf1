import { faultsText } from '../../config/fault.ts';
import { isFromKubernetes } from '../../config/kubernetes.ts';
import { misspelt } from '../../config/load.ts';
import { OPTIONS } from '../../config/options.ts';
import { CALLED_AS } from '../process/command-name.ts';
import { CliError, EXIT } from '../process/exit.ts';
import type { Service } from './http.ts';

/** Where a client command sends its requests. `/files` and `/batches` are appended to the base URL. */
export interface Endpoint extends Service {
  readonly style: 'azure' | 'openai';
}

export interface EndpointFlags {
  readonly endpoint?: string | undefined;
  readonly apiKey?: string | undefined;
  readonly apiVersion?: string | undefined;
  /** A resource of a service that has several. It is addressed by path. */
  readonly resource?: string | undefined;
}

/** The api-version of commands and examples in Azure's style. */
export const API_VERSION = '2024-10-21';

/** A service that the user may mean, and what names it. */
interface Candidate {
  readonly url: string;
  readonly source: string;
  readonly owner: Owner;
}

/** Whose variables name the service. Only keys of that owner may be sent there. */
type Owner = 'offpeak' | 'azure' | 'openai';

const KEY_VARIABLE = {
  offpeak: 'OFFPEAK_API_KEY',
  azure: 'AZURE_OPENAI_API_KEY',
  openai: 'OPENAI_API_KEY',
} as const satisfies Record<Owner, string>;

/**
 * Chooses the service, and the key for it. `running` is the service that runs over this directory. If any variable is about
 * Offpeak, the user means Offpeak. If two cloud services are set, neither is chosen.
 * Invariant: a key goes only to the service for which it was set. Otherwise a key of one cloud would leak to another host.
 */
export function resolveEndpoint(
  flags: EndpointFlags,
  env: NodeJS.ProcessEnv,
  running: string | null = null,
): Endpoint {
  refuseMisspelt(env);
  const chosen = flags.endpoint
    ? { url: flags.endpoint, source: '--endpoint', owner: ownerOf(flags.endpoint, env, running) }
    : choose(env, running);
  const base = baseOf(chosen.url, chosen.source);
  const secret = secretFor(flags.apiKey, { env, base, owner: chosen.owner });
  const common = { source: chosen.source, keyHint: secret.hint };
  if (base.endsWith('/v1') || chosen.owner === 'openai') {
    return {
      ...common,
      baseUrl: withResource(base, flags.resource),
      style: 'openai',
      headers: bearer(secret.key ?? secret.token),
      query: {},
    };
  }
  const apiVersion =
    flags.apiVersion ?? (env.AZURE_OPENAI_API_VERSION || env.OPENAI_API_VERSION || API_VERSION);
  return {
    ...common,
    baseUrl: withResource(`${base.replace(/\/openai$/, '')}/openai`, flags.resource),
    style: 'azure',
    headers: secret.key ? { 'api-key': secret.key } : bearer(secret.token),
    query: { 'api-version': apiVersion },
  };
}

/** A misspelt variable would choose another service. */
function refuseMisspelt(env: NodeJS.ProcessEnv): void {
  const faults = misspelt(env);
  if (faults.length > 0) throw new CliError(faultsText(faults), EXIT.usage);
}

function choose(env: NodeJS.ProcessEnv, running: string | null): Candidate {
  const clouds = cloudCandidates(env);
  if (env.OFFPEAK_ENDPOINT)
    return { url: env.OFFPEAK_ENDPOINT, source: 'OFFPEAK_ENDPOINT', owner: 'offpeak' };
  const set = offpeakVariables(env)[0];
  if (running !== null) {
    const same = set === undefined && clouds.find(({ url }) => isSameService(url, running));
    return same || { url: running, source: 'the service of this directory', owner: 'offpeak' };
  }
  if (set !== undefined)
    return { url: localUrl(env), source: `by default, as ${set} is set`, owner: 'offpeak' };
  const [first, second] = clouds;
  if (first && second && !isSameService(first.url, second.url)) {
    throw new CliError(
      `two services could be meant: ${first.url} (${first.source}) and ${second.url} (${second.source}). ` +
        'Choose one with --endpoint URL. Nothing was sent.',
      EXIT.usage,
    );
  }
  return first ?? { url: localUrl(env), source: 'by default', owner: 'offpeak' };
}

function cloudCandidates(env: NodeJS.ProcessEnv): Candidate[] {
  const named: readonly (readonly [string, Owner])[] = [
    ['AZURE_OPENAI_ENDPOINT', 'azure'],
    ['OPENAI_BASE_URL', 'openai'],
  ];
  return named.flatMap(([source, owner]) => {
    const url = env[source];
    return url ? [{ url, source, owner }] : [];
  });
}

/** The variables of Offpeak that are set, for its clients or its service. */
const offpeakVariables = (env: NodeJS.ProcessEnv): string[] =>
  Object.keys(env).filter(
    (variable) =>
      variable.startsWith('OFFPEAK_') &&
      variable !== CALLED_AS &&
      env[variable] &&
      !isFromKubernetes(variable, env[variable]),
  );

function localUrl(env: NodeJS.ProcessEnv): string {
  const port = env.OFFPEAK_PORT?.trim() ?? '';
  return `http://127.0.0.1:${/^[1-9]\d{0,4}$/.test(port) ? port : OPTIONS.port.default}`;
}

/** The owner of a URL that the user typed. */
function ownerOf(url: string, env: NodeJS.ProcessEnv, running: string | null): Owner {
  const own = [env.OFFPEAK_ENDPOINT, running].some((known) => known && isSameService(known, url));
  if (own) return 'offpeak';
  const cloud = cloudCandidates(env).find((candidate) => isSameService(candidate.url, url));
  if (cloud) return cloud.owner;
  return cloudOf(url) ?? 'offpeak';
}

const CLOUDS: readonly (readonly [RegExp, Owner])[] = [
  [/(^|\.)api\.openai\.com$/, 'openai'],
  [
    /\.(openai|cognitiveservices|services\.ai|cognitive|api\.cognitive)\.(azure|microsoft)\.(com|us|cn)$/,
    'azure',
  ],
  [/\.azure-api\.net$/, 'azure'],
];

/** The owner of a public service; undefined: the host is not a known one. */
function cloudOf(url: string): Owner | undefined {
  const host = URL.parse(url)?.hostname ?? '';
  return CLOUDS.find(([pattern]) => pattern.test(host))?.[1];
}

interface Secret {
  readonly key?: string | undefined;
  readonly token?: string | undefined;
  /** What the user can do when the key is refused. */
  readonly hint: string;
}

interface KeyQuestion {
  readonly env: NodeJS.ProcessEnv;
  readonly base: string;
  readonly owner: Owner;
}

function secretFor(given: string | undefined, { env, base, owner }: KeyQuestion): Secret {
  const variable = KEY_VARIABLE[owner];
  if (given) return { key: checked(given, '--api-key'), hint: 'Check the key: --api-key.' };
  const home = homeOf(owner, env);
  const isHome = home === undefined ? isNaturalHome(owner, base) : isSameService(home, base);
  const key = env[variable];
  const token = owner === 'offpeak' && !key ? env.OFFPEAK_TOKEN : undefined;
  const mayGo = isHome && !(owner === 'offpeak' && cloudOf(base) !== undefined);
  if (mayGo && key) return { key: checked(key, variable), hint: `Check the key: --api-key or ${variable}.` };
  if (mayGo && token) {
    return { token: checked(token, 'OFFPEAK_TOKEN'), hint: 'Check the token: OFFPEAK_TOKEN.' };
  }
  const other = [variable, 'OFFPEAK_API_KEY', 'OFFPEAK_TOKEN'].find((name) => env[name]);
  const reason = other === undefined ? 'none is set' : `${other} was set for another service`;
  if (cloudOf(base) !== undefined) {
    // Without a key it would receive the whole file, and then answer 401.
    throw new CliError(`no key for ${base}: ${reason}. Give --api-key KEY. Nothing was sent.`, EXIT.usage);
  }
  if (!mayGo) return { hint: `No key was sent: ${reason}. Give --api-key KEY.` };
  return { hint: `No key was sent: give --api-key KEY, or set ${variable}.` };
}

/** The service for which the key of the environment was set; undefined: the environment does not say. */
function homeOf(owner: Owner, env: NodeJS.ProcessEnv): string | undefined {
  if (owner === 'offpeak') return env.OFFPEAK_ENDPOINT || undefined;
  return (owner === 'azure' ? env.AZURE_OPENAI_ENDPOINT : env.OPENAI_BASE_URL) || undefined;
}

const isNaturalHome = (owner: Owner, base: string): boolean => owner === 'offpeak' || cloudOf(base) === owner;

/** Whether two URLs have the same host and port. All names of this machine are one host. */
function isSameService(a: string, b: string): boolean {
  const [one, other] = [serviceOf(a), serviceOf(b)];
  return one !== null && one === other;
}

function serviceOf(text: string): string | null {
  const url = URL.parse(text);
  if (!url) return null;
  const isLocal = /^(localhost|.*\.localhost|127(\.\d+){3}|\[::1\])$/.test(url.hostname);
  return `${isLocal ? 'localhost' : url.hostname}:${url.port || url.protocol}`;
}

export interface ControlFlags {
  readonly endpoint?: string | undefined;
  readonly adminKey?: string | undefined;
}

const ARM_API_VERSION = '2025-09-01';

/** The control plane of an Offpeak service. Variables of cloud services are never used for it. */
export function resolveControl(
  flags: ControlFlags,
  env: NodeJS.ProcessEnv,
  running: string | null = null,
): Service {
  refuseMisspelt(env);
  const [url, source] = flags.endpoint
    ? [flags.endpoint, '--endpoint']
    : env.OFFPEAK_ENDPOINT
      ? [env.OFFPEAK_ENDPOINT, 'OFFPEAK_ENDPOINT']
      : running === null
        ? [localUrl(env), 'by default']
        : [running, 'the service of this directory'];
  // The control plane is at the root of the service.
  const baseUrl = baseOf(url, source).replace(/(\/openai)?(\/v1)?$/, '');
  const home = homeOf('offpeak', env);
  const isHome = cloudOf(baseUrl) === undefined && (home === undefined || isSameService(home, baseUrl));
  const variable = env.OFFPEAK_ADMIN_KEY ? 'OFFPEAK_ADMIN_KEY' : 'OFFPEAK_TOKEN';
  const key = flags.adminKey ?? (isHome ? env[variable] : undefined);
  return {
    baseUrl,
    source,
    headers: bearer(key && checked(key, flags.adminKey === undefined ? variable : '--admin-key')),
    query: { 'api-version': ARM_API_VERSION },
    keyHint:
      (key ? '' : 'No key was sent. ') +
      'Check the admin key, --admin-key or OFFPEAK_ADMIN_KEY, or the token, OFFPEAK_TOKEN. The service made its ' +
      'admin key at its first start, and printed where it is. The key of a resource does not open the control plane.',
  };
}

/** Refuses text that no header can carry, or that is an example's placeholder: it is no key. */
function checked(secret: string, source: string): string {
  const key = secret.trim();
  const isPlaceholder = /…|\.\.\.$|^<.*>$/.test(key);
  if (!isPlaceholder && /^[\x21-\x7e]+$/.test(key)) return key;
  const what = isPlaceholder ? 'the placeholder of an example' : 'text with characters that no key has';
  throw new CliError(
    `${source} is no key: it is ${what}. Set it to the key itself. Nothing was sent.`,
    EXIT.usage,
  );
}

function baseOf(text: string, source: string): string {
  const url = URL.parse(text);
  if (!url || !/^https?:$/.test(url.protocol)) {
    throw new CliError(`${source}: '${text}' is not a URL. Give one like http://127.0.0.1:8080.`, EXIT.usage);
  }
  return (url.origin + url.pathname).replace(/\/+$/, '');
}

/** Puts the resource before the path of the API: `/team-a/openai`, `/team-a/v1`. */
function withResource(baseUrl: string, resource: string | undefined): string {
  if (resource === undefined) return baseUrl;
  if (!/^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$/i.test(resource)) {
    throw new CliError(
      `--resource '${resource}': expected its name: letters, digits and hyphens.`,
      EXIT.usage,
    );
  }
  return baseUrl.replace(/(\/openai)?(\/v1)?$/, (api) => `/${resource.toLowerCase()}${api}`);
}

const bearer = (secret: string | undefined): Record<string, string> =>
  secret ? { authorization: `Bearer ${secret}` } : {};
