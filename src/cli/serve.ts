import { resolve } from 'node:path';
import { createApp, type App } from '../app.ts';
import { resolveConfig, type AppConfig, type DeploymentConfig } from '../config/config.ts';
import type { OptionName } from '../config/options.ts';
import { DataDirError } from '../core/data-dir.ts';
import { StoreError } from '../stores/state/ports.ts';
import { detectLocalServers } from '../upstream/detect.ts';
import { configure } from './configure.ts';
import { CliError, EXIT, type ExitCode } from './exit.ts';
import { createLog } from './log.ts';
import type { TableFlags } from './program.ts';
import { codeOf, reasonOf } from './reason.ts';
import { COMMAND, EXAMPLE, exampleArgument } from './self.ts';
import { die, stopSignal } from './stop.ts';
import { note, print, printJson } from './terminal.ts';

const DRAIN_MS = 30_000;

/** Runs the service until a signal comes, then lets what is in flight finish. */
export async function serve(table: TableFlags, { json }: { json: boolean }): Promise<ExitCode> {
  const { values, given } = await configure('serve', table);
  const config = resolveConfig(values);
  const stopped = stopSignal();
  const app = await start(config);
  try {
    const { url } = await app.listen().catch((error: unknown) => {
      const advice = codeOf(error) === 'EADDRINUSE' ? ' Choose another with --port; 0 takes a free one.' : '';
      const message = `cannot listen on ${config.host}:${config.port}: ${reasonOf(error)}.${advice}`;
      throw new CliError(message, EXIT.failed, { cause: error });
    });
    if (json) printJson(startedJson(app, config, url));
    else print(banner(app, config, { url, given }));
    if (!json && usesOnlyTheDefault(given)) await hintAtLocalServers(Number(new URL(url).port));
    note(
      `${await stopped}: finishing what is in flight, ${DRAIN_MS / 1000} s at most; once more ends it at once`,
    );
  } finally {
    await app.close({ drainMs: DRAIN_MS });
  }
  return EXIT.ok;
}

async function start(config: AppConfig): Promise<App> {
  try {
    return await createApp(config, { log: createLog(config.logLevel), onFatal: die });
  } catch (error) {
    if (error instanceof DataDirError) throw new CliError(error.message, EXIT.failed, { cause: error });
    if (!(error instanceof StoreError)) throw error;
    const exitCode = error.reason === 'connection' ? EXIT.unreachable : EXIT.failed;
    throw new CliError(error.message, exitCode, { cause: error });
  }
}

function startedJson({ firstKey }: App, config: AppConfig, url: string): unknown {
  return {
    url,
    pid: process.pid,
    api_key: firstKey,
    data_dir: resolve(config.dataDir),
    deployments: config.deployments.map(({ name, model, upstreams }) => ({
      name,
      model,
      upstreams: upstreams.map((upstream) => (upstream.kind === 'http' ? upstream.url : upstream.kind)),
    })),
  };
}

function banner(
  { firstKey }: App,
  config: AppConfig,
  { url, given }: { url: string; given: ReadonlySet<OptionName> },
): string {
  const key = firstKey ?? (given.has('apiKey') ? 'as configured' : 'the one shown at the first start');
  return `
Offpeak is ready at ${url}

  key          ${key}
               ${keyAdvice(firstKey, given)}
  deployments  ${config.deployments.map(describeDeployment).join('\n               ')}
  data         ${resolve(config.dataDir)}

Try it:
  export OFFPEAK_API_KEY=${firstKey ?? 'KEY'} OFFPEAK_ENDPOINT=${url}
  ${COMMAND} batches create --file ${exampleArgument()} --watch
or upload with curl:
  curl "${url}/openai/files?api-version=2024-10-21" -H "api-key: $OFFPEAK_API_KEY" \\
    -F purpose=batch -F "file=@${EXAMPLE};type=application/json"
`;
}

function keyAdvice(firstKey: string | null, given: ReadonlySet<OptionName>): string {
  if (firstKey !== null) return 'Made just now and not shown again: keep it.';
  return given.has('apiKey')
    ? 'Callers send it as api-key.'
    : 'Lost? Start with --api-key KEY to set another.';
}

function describeDeployment({ name, model, upstreams }: DeploymentConfig): string {
  const targets = upstreams.map((upstream) => (upstream.kind === 'http' ? upstream.url : 'simulator'));
  return `${name} (${model}) → ${targets.join(', ')}`;
}

const usesOnlyTheDefault = (given: ReadonlySet<OptionName>): boolean =>
  !given.has('upstream') && !given.has('deployments');

async function hintAtLocalServers(ownPort: number): Promise<void> {
  note('Answers are simulated. Name a model server with --upstream URL --deployment NAME=MODEL.');
  for (const { name, baseUrl, models } of await detectLocalServers({ skipPort: ownPort })) {
    // The line is there to be copied into a shell, so a name that a shell could misread stays out.
    const model = models.find((candidate) => /^[\w.:/@-]+$/.test(candidate)) ?? 'MODEL';
    note(
      `  ${name} runs here: ${COMMAND} serve --upstream ${baseUrl} --deployment gpt-4o-batch-deployment=${model}`,
    );
  }
}
