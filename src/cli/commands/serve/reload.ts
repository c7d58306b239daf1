import { closeSync, openSync } from 'node:fs';
import type { App } from '../../../app.ts';
import { changesOf, reloadable } from '../../../config/changes.ts';
import { resolveConfig } from '../../../config/config.ts';
import { ConfigError } from '../../../config/fault.ts';
import { loadConfig } from '../../../config/load.ts';
import type { Log } from '../../../core/log.ts';
import type { Configured, TableFlags } from '../../process/configure.ts';

/**
 * Reads the configuration again on SIGHUP, once for all signals that came meanwhile. From before the start on: unheard, the
 * signal would end the process. A terminal that is closed sends it too, which asks for a stop.
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
    // It comes twice, and a second SIGTERM would end the process at once.
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

/** Whether a terminal is still there whose end would send the signal. */
function hasTerminal(): boolean {
  try {
    closeSync(openSync('/dev/tty', 'r'));
    return true;
  } catch {
    return false;
  }
}

/** A reload that never rejects: what is wrong is logged, and what was in force stays so. */
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
        // One that is gone would take all that it declared along.
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
