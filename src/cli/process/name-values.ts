import { CliError, EXIT } from './exit.ts';

/** Parses the values of a flag that takes NAME=VALUE. `NAME=` gives the name an empty value. */
export function nameValues(pairs: readonly string[], flag: string): Record<string, string> {
  return Object.fromEntries(
    pairs.map((pair) => {
      const at = pair.indexOf('=');
      if (at < 1) throw new CliError(`${flag} '${pair}': expected NAME=VALUE.`, EXIT.usage);
      return [pair.slice(0, at), pair.slice(at + 1)];
    }),
  );
}
