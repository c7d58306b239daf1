import { resolve } from 'node:path';
import { createApp, type App } from '../app.ts';
import type { AppConfig } from '../config/config.ts';
import { ConfigError } from '../config/fault.ts';
import type { ValueName } from '../config/sections.ts';
import { DEFAULT_RESOURCE_ID } from '../contract/scope.ts';
import { DataDirError } from '../core/data-dir.ts';
import type { Log } from '../core/log.ts';
import { StoreError } from '../stores/state/ports.ts';
import { detectLocalServers } from '../upstream/detect.ts';
import { configure } from './configure.ts';
import { CliError, EXIT, type ExitCode } from './exit.ts';
import { openLog } from './log.ts';
import type { TableFlags } from './program.ts';
import { codeOf, reasonOf } from './reason.ts';
import { createReload, reloadSignal } from './reload.ts';
import { COMMAND, EXAMPLE, EXAMPLE_DEPLOYMENT, exampleArgument } from './self.ts';
import { die, stopSignal } from './stop.ts';
import { note, print, printJson } from './terminal.ts';

const DRAIN_MS = 30_000;

/** Runs the service until a signal comes, then lets what is in flight finish. */
export async function serve(table: TableFlags, { json }: { json: boolean }): Promise<ExitCode> {
  const stopped = stopSignal();
  const hangup = reloadSignal();
  const configured = await configure('serve', table);
  const { config, given } = configured;
  const log = openLog(config.logLevel);
  const app = await start(config, log);
  try {
    const { url } = await app.listen().catch((error: unknown) => {
      const advice = codeOf(error) === 'EADDRINUSE' ? ' Choose another with --port; 0 takes a free one.' : '';
      const message = `cannot listen on ${config.host}:${config.port}: ${reasonOf(error)}.${advice}`;
      throw new CliError(message, EXIT.failed, { cause: error });
    });
    const started = { app, config, url, deployments: await deploymentsOf(app, config) };
    if (json) printJson(startedJson(started));
    else print(banner(started, given));
    if (!json && usesOnlyTheDefault(given)) await hintAtLocalServers(Number(new URL(url).port));
    hangup.reloadWith(createReload(app, configured, { flags: table, log }));
    note(
      `${await stopped}: finishing what is in flight, ${DRAIN_MS / 1000} s at most; once more ends it at once`,
    );
  } finally {
    await app.close({ drainMs: DRAIN_MS });
  }
  return EXIT.ok;
}

async function start(config: AppConfig, log: Log): Promise<App> {
  try {
    return await createApp(config, { log, onFatal: die });
  } catch (error) {
    if (error instanceof ConfigError) throw new CliError(error.message, EXIT.usage, { cause: error });
    if (error instanceof DataDirError) throw new CliError(error.message, EXIT.failed, { cause: error });
    if (!(error instanceof StoreError)) throw error;
    const exitCode = error.reason === 'connection' ? EXIT.unreachable : EXIT.failed;
    throw new CliError(error.message, exitCode, { cause: error });
  }
}

interface Started {
  readonly app: App;
  readonly config: AppConfig;
  readonly url: string;
  /** Those of the default resource. */
  readonly deployments: readonly Served[];
}

interface Served {
  readonly name: string;
  readonly model: string;
  /** Their addresses. */
  readonly upstreams: readonly string[];
}

async function deploymentsOf({ control }: App, { upstreams }: AppConfig): Promise<Served[]> {
  const views = await control.listDeployments({ resourceId: DEFAULT_RESOURCE_ID, actor: 'cli' });
  return views.map(({ name, model, servedBy }) => ({
    name,
    model,
    upstreams: upstreams
      .filter(
        (one) =>
          servedBy.includes(one.name) &&
          (one.only === null ||
            (one.only.resourceId === DEFAULT_RESOURCE_ID && one.only.deployment === name)),
      )
      .map((one) => (one.kind === 'http' ? one.url : one.kind)),
  }));
}

function startedJson({ app, config, url, deployments }: Started): unknown {
  return {
    url,
    pid: process.pid,
    api_key: app.firstKeys.apiKey,
    admin_key: app.firstKeys.adminKey,
    data_dir: resolve(config.dataDir),
    tls_certificate: app.localCertPath,
    deployments,
    resources: config.resources.map(({ name }) => name),
  };
}

function banner({ app, config, url, deployments }: Started, given: ReadonlySet<ValueName>): string {
  const { apiKey, adminKey } = app.firstKeys;
  const key = apiKey ?? (given.has('apiKey') ? 'as configured' : 'the one shown at the first start');
  const others = config.resources.slice(1).map(({ name }) => name);
  const rows = [
    ['key', key],
    ['', keyAdvice(apiKey, given)],
    ...(adminKey === null
      ? []
      : [
          ['admin key', adminKey],
          ['', 'Opens the control plane: resources, deployments, quota. Not shown again either.'],
        ]),
    ['deployments', deployments.map(describe).join(`\n${' '.repeat(INDENT)}`) || 'none yet'],
    ...(others.length > 0 ? [['resources', `default, ${others.join(', ')}`]] : []),
    ['data', resolve(config.dataDir)],
    ...(app.localCertPath === null
      ? []
      : [
          ['certificate', app.localCertPath],
          ['', `Clients must trust it: export NODE_EXTRA_CA_CERTS='${app.localCertPath}'`],
        ]),
  ];
  const trust = app.localCertPath === null ? '' : ` --cacert '${app.localCertPath}'`;
  return `
Offpeak is ready at ${url}

${rows.map(([name = '', value = '']) => `  ${name.padEnd(INDENT - 2)}${value}`).join('\n')}

${deployments.some(({ name }) => name === EXAMPLE_DEPLOYMENT) ? tryIt({ key: apiKey ?? 'KEY', url, trust }) : deployFirst({ adminKey, url })}
`;
}

const tryIt = ({ key, url, trust }: { key: string; url: string; trust: string }): string => `Try it:
  export OFFPEAK_API_KEY=${key} OFFPEAK_ENDPOINT=${url}
  ${COMMAND} batches create --file ${exampleArgument()} --watch
or upload with curl:
  curl${trust} "${url}/openai/files?api-version=2024-10-21" -H "api-key: $OFFPEAK_API_KEY" \\
    -F purpose=batch -F "file=@${EXAMPLE};type=application/json"`;

/** The example names a deployment that is not there. */
const deployFirst = ({ adminKey, url }: { adminKey: string | null; url: string }): string => `Deploy a model:
  export OFFPEAK_ADMIN_KEY=${adminKey ?? 'ADMIN_KEY'} OFFPEAK_ENDPOINT=${url}
  ${COMMAND} models
  ${COMMAND} deployments create ${EXAMPLE_DEPLOYMENT} --model MODEL --capacity 50`;

const INDENT = 15;

function keyAdvice(firstKey: string | null, given: ReadonlySet<ValueName>): string {
  if (firstKey !== null) return 'Made just now and not shown again: keep it.';
  return given.has('apiKey')
    ? 'Callers send it as api-key.'
    : 'Lost? Start with --api-key KEY to set another.';
}

const describe = ({ name, model, upstreams }: Served): string =>
  `${name} (${model}) → ${upstreams.join(', ')}`;

const usesOnlyTheDefault = (given: ReadonlySet<ValueName>): boolean =>
  !(['upstream', 'upstreams', 'deployments', 'resources'] as const).some((name) => given.has(name));

async function hintAtLocalServers(ownPort: number): Promise<void> {
  note('Answers are simulated. Name a model server with --upstream URL --deployment NAME=MODEL.');
  for (const { name, baseUrl, models } of await detectLocalServers({ skipPort: ownPort })) {
    // The line is there to be copied into a shell, so a name that a shell could misread stays out.
    const model = models.find((candidate) => /^[\w.:/@-]+$/.test(candidate)) ?? 'MODEL';
    note(
      `  ${name} runs here: ${COMMAND} serve --upstream ${baseUrl} --deployment ${EXAMPLE_DEPLOYMENT}=${model}`,
    );
  }
}
