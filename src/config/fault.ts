/** A fault of the configuration, and its place: `--port`, `OFFPEAK_PORT`, `offpeak.yaml:12`. */
export interface Fault {
  readonly source: string;
  readonly message: string;
}

/** The configuration cannot be applied; nothing was changed. */
export class ConfigError extends Error {
  override name = 'ConfigError';
  readonly faults: readonly Fault[];
  constructor(faults: readonly Fault[]) {
    super(faultsText(faults));
    this.faults = faults;
  }
}

/** Each fault has a line of its own. */
export function faultsText(faults: readonly Fault[]): string {
  const lines = faults.map(({ source, message }) => `\n  ${source}: ${message}`);
  return `the configuration has ${lines.length === 1 ? 'a fault' : 'faults'}:${lines.join('')}`;
}
