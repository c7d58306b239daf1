import type { Kind } from './values.ts';

/** Commands that take options of the table. */
export type OptionCommand = 'serve' | 'run' | 'simulator' | 'verify';

export interface Option<T, D> {
  /** `--flag`, `OFFPEAK_FLAG`, and, unless `yaml` says otherwise, `flag` in camel case in the file. */
  readonly flag: string;
  /** Dotted path in the file; null: not in the file. */
  readonly yaml?: string | null;
  readonly kind: Kind<T>;
  /** Stands for the value in `--help`; null: a switch. */
  readonly placeholder: string | null;
  /** The flag may be given several times. */
  readonly repeatable?: boolean;
  readonly default: D;
  /** How the default reads where its value says too little. */
  readonly defaultText?: string;
  readonly help: string;
  /** A changed value is applied on SIGHUP; others need a restart. */
  readonly reloads?: true;
  readonly commands: readonly OptionCommand[];
}

export const option = <T, const D extends T | null>(entry: Option<T, D>): Option<T, D> => entry;
