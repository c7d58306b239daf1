import type { OptionCommand, OptionValues } from '../config/options.ts';
import { loadConfig } from '../config/load.ts';
import { CliError, EXIT } from './exit.ts';
import type { TableFlags } from './program.ts';

/** The options of a command, or an end with every fault of theirs. */
export async function configure(
  command: OptionCommand,
  flags: TableFlags,
): Promise<{ values: OptionValues; given: ReadonlySet<keyof OptionValues> }> {
  const loaded = await loadConfig({ command, flags, env: process.env, cwd: process.cwd() });
  if (loaded.ok) return loaded;
  const faults = loaded.faults.map(({ source, message }) => `\n  ${source}: ${message}`);
  throw new CliError(
    `the configuration has ${faults.length === 1 ? 'a fault' : 'faults'}:${faults.join('')}`,
    EXIT.usage,
  );
}
