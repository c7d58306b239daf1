import { closeSync, openSync } from 'node:fs';
import type { App } from '../../../app.ts';
import { changesOf, reloadable } from '../../../config/changes.ts';
import { resolveConfig } from '../../../config/config.ts';
import { ConfigError } from '../../../config/fault.ts';
import { loadConfig } from '../../../config/load.ts';
import type { Log } from '../../../core/log.ts';
import type { Configured, TableFlags } from '../../process/configure.ts';

/**
 * A reload goes this way to the requests that follow it: `createReload` → `App.apply` → `Engine.redeploy` →
 * `Dispatchers.refresh` → `Dispatcher.update`. A request in flight ends at the server to which it was sent.
 *
 * This listens for SIGHUP, and reloads once for all signals that come during a reload. It must listen before the service
 * starts, because SIGHUP ends a process that does not. A terminal sends SIGHUP too when it is closed: then the service stops.
 */
export function reloadSignal(): { reloadWith(reload: () => Promise<void>): void } {
  const terminal = hasTerminal();
  let reload: (() => Promise<void>) | null = null;
  let asked = 0;
  let running = false;
  const run = async () => {
    if (running || reload === null) return;
    running = true;
    for (let done = 0; done < asked;) {
      done = asked;
      await reload();
    }
    running = false;
    asked = 0;
  };
  let closed = false;
  process.on('SIGHUP', () => {
    // A closed terminal sends the signal twice, and a second SIGTERM would end the process at once.
    if (closed) return;
    closed = terminal && !hasTerminal();
    if (closed) {
      process.kill(process.pid, 'SIGTERM');
      return;
    }
    asked += 1;
    void run();
  });
  return {
    reloadWith(given) {
      reload = given;
      void run();
    },
  };
}

/** Whether the process has a terminal, which would send the signal when it is closed. */
function hasTerminal(): boolean {
  try {
    closeSync(openSync('/dev/tty', 'r'));
    return true;
  } catch {
    return false;
  }
}

/** Makes a reload that never rejects. It logs faults, and then the configuration in force stays in force. */
export function createReload(
  app: Pick<App, 'apply' | 'checkUpstreams'>,
  started: Configured,
  { flags, log }: { readonly flags: TableFlags; readonly log: Log },
): () => Promise<void> {
  let inForce: Pick<Configured, 'values' | 'config'> = started;
  const refuse = (faults: readonly { readonly source: string; readonly message: string }[]) => {
    for (const { source, message } of faults)
      log.event('configuration.fault', { option: source, reason: message });
    log.event('configuration.refused', { faults: faults.length });
  };
  return async () => {
    try {
      const loaded = await loadConfig({
        command: 'serve',
        flags,
        env: process.env,
        cwd: process.cwd(),
        // Without this, a file that is gone would remove everything that it declared.
        needsFile: started.file !== null,
      });
      if (!loaded.ok) return refuse(loaded.faults);
      const values = reloadable(inForce.values, loaded.values);
      const next = { values, config: resolveConfig(values, loaded.at) };
      await app.apply(next.config);
      const { needRestart } = changesOf(inForce, { ...next, values: loaded.values });
      const { applied } = changesOf(inForce, next);
      for (const change of applied) log.event('configuration.changed', { change });
      for (const option of needRestart) log.event('configuration.restart_needed', { option });
      log.event('configuration.read', { count: applied.length });
      inForce = next;
      await app.checkUpstreams();
    } catch (error) {
      if (error instanceof ConfigError) return refuse(error.faults);
      log.event('configuration.not_applied', { error: String(error) });
    }
  };
}
