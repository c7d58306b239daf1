import { readSimulatorBehaviour } from '../../app/simulator.ts';
import { type AppConfig, resolveConfig } from '../../config/config.ts';
import { faultsText } from '../../config/fault.ts';
import { isFromKubernetes } from '../../config/kubernetes.ts';
import { loadConfig, type Sources } from '../../config/load.ts';
import type { OptionCommand } from '../../config/option.ts';
import { envName, OPTION_NAMES } from '../../config/options.ts';
import type { ValueName, Values } from '../../config/sections.ts';
import { note } from '../terminal/print.ts';
import { CliError, EXIT } from './exit.ts';

/** Options of the table (config/options.ts) as the command line gave them. */
export type TableFlags = Sources['flags'];

export interface Configured {
  readonly values: Values;
  readonly given: ReadonlySet<ValueName>;
  readonly config: AppConfig;
  /** The file that was read; null: there was none. */
  readonly file: string | null;
}

/** Returns the options of a command, or ends it with all their faults. */
export async function configure(command: OptionCommand, flags: TableFlags): Promise<Configured> {
  const loaded = await loadConfig({ command, flags, env: process.env, cwd: process.cwd() });
  noteIgnored(process.env);
  if (!loaded.ok) throw new CliError(faultsText(loaded.faults), EXIT.usage);
  // A faulty script is a fault of the options, so it must be found before the command makes anything.
  await readSimulatorBehaviour(loaded.values);
  return { ...loaded, config: resolveConfig(loaded.values, loaded.at) };
}

/** Kubernetes gives the pods of a Service named `offpeak` variables that look like options of ours. */
function noteIgnored(env: NodeJS.ProcessEnv): void {
  const options = OPTION_NAMES.map(envName).filter((variable) => isFromKubernetes(variable, env[variable]));
  if (options.length === 0) return;
  note(`${options.join(', ')}: set by Kubernetes for a Service of that name, and ignored as an option.`);
}
