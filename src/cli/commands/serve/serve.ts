import { resolve } from 'node:path';
import { type App, createApp } from '../../../app.ts';
import type { FirstKeys } from '../../../app/first-keys.ts';
import type { AppConfig } from '../../../config/config.ts';
import { ConfigError } from '../../../config/fault.ts';
import type { ValueName } from '../../../config/sections.ts';
import { addressText, isSimulated } from '../../../config/upstream-address.ts';
import { DEFAULT_RESOURCE_ID } from '../../../contract/scope.ts';
import { systemClock } from '../../../core/clock.ts';
import { announce, withdraw } from '../../client/running-service.ts';
import { configure, type TableFlags } from '../../process/configure.ts';
import { CliError, EXIT, type ExitCode } from '../../process/exit.ts';
import { stopSignal } from '../../process/signals.ts';
import { toCliError } from '../../process/store-error.ts';
import { codeOf, reasonOf } from '../../process/system-error.ts';
import { openLog, type OpenLog } from '../../terminal/log.ts';
import { NonBlockingWriter } from '../../terminal/non-blocking-writer.ts';
import { columnsOf } from '../../terminal/print.ts';
import { banner, localServers, type Served, type Started } from './banner.ts';
import { dropFirstKeys, firstKeysFile, writeFirstKeys } from './first-keys.ts';
import { createReload, reloadSignal } from './reload.ts';

const DRAIN_MS = 30_000;
/** The end waits no longer than this for a log that cannot be written. */
const LOG_FLUSH_MS = 1_000;

/** Runs the service until a signal comes, then lets requests in flight finish. */
export async function serve(table: TableFlags, { json = false }: { json?: boolean }): Promise<ExitCode> {
  const stopped = stopSignal();
  const hangup = reloadSignal();
  const configured = await configure('serve', table);
  const { config } = configured;
  const log = openLog(config);
  const startedMs = systemClock.mono();
  let isUp = false;
  const { app, keysFile } = await start(config, log);
  try {
    const { url } = await app.listen().catch((error: unknown) => {
      const advice = codeOf(error) === 'EADDRINUSE' ? ' Choose another with --port; 0 takes a free one.' : '';
      const keys = keysFile === null ? '' : ` The keys that were made are in ${keysFile}.`;
      const message = `cannot listen on ${config.host}:${config.port}: ${reasonOf(error)}.${advice}${keys}`;
      throw new CliError(message, EXIT.failed, { cause: error });
    });
    // Commands find the service by this file, but have other ways as well.
    await announce(config.dataDir, url).catch(() => {});
    const store = config.database === null ? 'sqlite' : 'postgresql';
    isUp = true;
    log.event('service.up', { url, path: resolve(config.dataDir), store });
    const upstreams = await app.checkUpstreams();
    const deployments = await deploymentsOf(app, config);
    const shown = process.stdout.isTTY && keysFile !== null;
    const keptFile = await firstKeysFile(resolve(config.dataDir)).catch(() => keysFile);
    const started = { app, config, url, keysFile: shown ? null : keptFile, upstreams, deployments };
    await show(started, { ...configured, json });
    // If the file cannot be removed, only the owner can read it.
    if (shown) await dropFirstKeys(resolve(config.dataDir), app.firstKeys).catch(() => {});
    hangup.reloadWith(createReload(app, configured, { flags: table, log }));
    log.event('service.stopping', { signal: await stopped, waitMs: DRAIN_MS });
  } finally {
    await withdraw(config.dataDir).catch(() => {});
    await app.close({ drainMs: DRAIN_MS });
    if (isUp) log.event('service.stopped', { durationMs: Math.round(systemClock.mono() - startedMs) });
    await log.flush(LOG_FLUSH_MS);
  }
  return EXIT.ok;
}

interface Start {
  readonly app: App;
  /** The file with the keys that this start made; null: it made none. */
  readonly keysFile: string | null;
}

async function start(config: AppConfig, log: OpenLog): Promise<Start> {
  let keysFile: string | null = null;
  const keepFirstKeys = async (keys: FirstKeys): Promise<void> => {
    // Output that is not a terminal may be kept, sent on and read by others. On a terminal, keys also stay in the file until
    // they are shown, because the start may end before that.
    keysFile = await writeFirstKeys(resolve(config.dataDir), keys);
    const [actor, path] = ['configuration', process.stdout.isTTY ? null : keysFile];
    if (keys.apiKey !== null) log.event('key.made', { resource: DEFAULT_RESOURCE_ID, slot: 1, actor, path });
    if (keys.adminKey !== null) log.event('admin_key.made', { path });
  };
  const onFatal = (error: unknown): void => {
    log.event('service.failed', { error: String(error) });
    process.exit(EXIT.failed);
  };
  try {
    const app = await createApp(config, { log, onFatal, keepFirstKeys });
    return { app, keysFile };
  } catch (error) {
    if (error instanceof ConfigError) throw new CliError(error.message, EXIT.usage, { cause: error });
    throw toCliError(error);
  }
}

/** Prints what started, for people or for scripts. A failure to print it does not stop the service. */
async function show(
  started: Started,
  { given, json }: { readonly given: ReadonlySet<ValueName>; readonly json: boolean },
): Promise<void> {
  const out = new NonBlockingWriter(1, { droppedLine: () => '' });
  if (json) {
    out.write(`${JSON.stringify(startedJson(started), null, process.stdout.isTTY ? 2 : 0)}\n`);
    return;
  }
  const columns = process.stdout.isTTY ? columnsOf(process.stdout) : null;
  out.write(`${banner(started, given, columns)}\n`);
  if (process.stdout.isTTY && usesOnlyTheDefault(given))
    out.write(await localServers(Number(new URL(started.url).port)));
}

async function deploymentsOf({ controlPlane }: App, { resources, upstreams }: AppConfig): Promise<Served[]> {
  const served = resources.map(async ({ id: resource }) => {
    const views = await controlPlane.listDeployments({ resourceId: resource, actor: 'cli' });
    return views.map(({ name, model, servedBy }) => ({
      resource,
      name,
      model,
      upstreams: upstreams
        .filter(({ name: upstream }) => servedBy.includes(upstream))
        .filter(
          ({ onlyFor }) =>
            onlyFor === null || (onlyFor.resourceId === resource && onlyFor.deployment === name),
        ),
    }));
  });
  return (await Promise.all(served)).flat();
}

/** Keys are in it only on a terminal. Elsewhere `keys_file` names the file with keys that this start made. */
function startedJson({ app, config, url, keysFile, upstreams, deployments }: Started): unknown {
  const { apiKey, adminKey } = app.firstKeys;
  const madeFile = apiKey === null && adminKey === null ? null : keysFile;
  return {
    url,
    pid: process.pid,
    ...(madeFile === null && { api_key: apiKey, admin_key: adminKey }),
    keys_file: madeFile,
    data_dir: resolve(config.dataDir),
    tls_certificate: app.localCertPath,
    deployments: deployments.map((one) => ({ ...one, upstreams: one.upstreams.map(addressText) })),
    upstreams,
    simulated: deployments.filter((one) => one.upstreams.some(isSimulated)).map(({ name }) => name),
    resources: config.resources.map(({ id }) => id),
  };
}

const usesOnlyTheDefault = (given: ReadonlySet<ValueName>): boolean =>
  !(['upstream', 'upstreams', 'deployments', 'resources'] as const).some((name) => given.has(name));
