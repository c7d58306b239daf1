import { behaviourOf } from '../../app/behaviour.ts';
import { type AppConfig, resolveConfig } from '../../config/config.ts';
import { faultsText } from '../../config/fault.ts';
import { isFromKubernetes } from '../../config/kubernetes.ts';
import { loadConfig, type Sources } from '../../config/load.ts';
import type { OptionCommand } from '../../config/option.ts';
import { envName, OPTION_NAMES } from '../../config/options.ts';
import type { ValueName, Values } from '../../config/sections.ts';
import { note } from '../terminal/print.ts';
import { CliError, EXIT } from './exit.ts';

/** Raw values of table options, as `loadConfig` takes them. */
export type TableFlags = Sources['flags'];

export interface Configured {
  readonly values: Values;
  readonly given: ReadonlySet<ValueName>;
  readonly config: AppConfig;
  /** The file that was read; null: there was none. */
  readonly file: string | null;
}

/** The options of a command, or an end with every fault of theirs. */
export async function configure(command: OptionCommand, flags: TableFlags): Promise<Configured> {
  const loaded = await loadConfig({ command, flags, env: process.env, cwd: process.cwd() });
  tellIgnored(process.env);
  if (!loaded.ok) throw new CliError(faultsText(loaded.faults), EXIT.usage);
  // Before a command makes anything: a faulty script is a fault of the options.
  await behaviourOf(loaded.values);
  return { ...loaded, config: resolveConfig(loaded.values, loaded.at) };
}

/** Kubernetes gives the pods of a Service named `offpeak` variables that look like options of ours. */
function tellIgnored(env: NodeJS.ProcessEnv): void {
  const options = OPTION_NAMES.map(envName).filter((variable) => isFromKubernetes(variable, env[variable]));
  if (options.length === 0) return;
  note(`${options.join(', ')}: set by Kubernetes for a Service of that name, and ignored as an option.`);
}
